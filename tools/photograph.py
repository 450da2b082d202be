"""Photographs of a job's page for the README:   python tools/photograph.py JOB   (of the service that `potstill` finds)

Needs a Chromium on this machine; writes docs/assets/page-light.png and page-dark.png.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from potstill import Client

ASSETS = Path(__file__).resolve().parents[1] / "docs" / "assets"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def main(job: str) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no Chromium here")
    with Client() as client, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for scheme in ("light", "dark"):
            page = browser.new_context(color_scheme=scheme, viewport={"width": 1100, "height": 900}).new_page()
            page.goto(client.keys.login_link())
            page.goto(f"{client.url}/jobs/{job}")
            page.wait_for_selector(".chart .main-svg")
            page.wait_for_timeout(500)  # until plotly has settled
            page.screenshot(path=ASSETS / f"page-{scheme}.png")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
