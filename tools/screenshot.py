"""docs/assets/dashboard-light.png and -dark.png: the page of the demo's student, photographed in a real Chromium.

.venv/bin/python tools/screenshot.py
"""

import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from potstill.cli.demo import STUDENT, TEACHER, _service

ASSETS = Path(__file__).resolve().parents[1] / "docs" / "assets"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WINDOW = {"width": 1180, "height": 860}
COLOURS = 128  # a page has few


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="potstill-demo-") as home, _service(Path(home)) as client, sync_playwright() as playwright:
        teacher = client.jobs.submit(TEACHER)
        data = {**STUDENT["data"], "validation": 0.1}  # for the chart beside the loss
        student = client.jobs.submit({**STUDENT, "data": data, "teacher": {"job": teacher.id}}).wait()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport=WINDOW)
        page.set_default_timeout(120_000)
        page.goto(client.keys.login_link())
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.goto(f"{client.url}/jobs/{student.id}")
            page.wait_for_selector(".chart .main-svg")
            shot = ASSETS / f"dashboard-{scheme}.png"
            page.screenshot(path=shot)
            Image.open(shot).convert("RGB").quantize(COLOURS).save(shot, optimize=True)
            sys.stdout.write(f"{shot}: {shot.stat().st_size / 1000:.0f} kB\n")
        browser.close()


if __name__ == "__main__":
    main()
