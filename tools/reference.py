"""Writes docs/reference/ from the code:   python tools/reference.py

What the code can say (fields, defaults, limits, help texts, routes) is read from it. What it cannot say stands in `docgen/`, in
tables that must match the code exactly: a field, code or setting that is new there stops this script until it is described.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]  # run from anywhere, also where nothing is installed

from docgen import api, cli, errors, registry, settings, spec  # noqa: E402

from contract.schema import SCHEMAS  # noqa: E402

SOURCES = {"spec": spec, "api": api, "cli": cli, "settings": settings, "errors": errors, "registry": registry}
NOTICE = "<!-- Made by tools/reference.py (`make docs`). Change the code it is made from, not this page. -->\n\n"


def pages() -> dict[str, str]:
    """Every page of the reference, by file name, and the documents for machines."""
    words = {f"{name}.md": NOTICE + re.sub("\n{3,}", "\n\n", source.page()).strip() + "\n" for name, source in SOURCES.items()}
    documents = {"openapi.json": api.document(), **{f"{name}.schema.json": make() for name, make in SCHEMAS.items()}}
    return words | {name: json.dumps(found, indent=1, ensure_ascii=False) + "\n" for name, found in documents.items()}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
