"""English messages of four web applications and their translations: the gettext catalogues inside packages of the index.

Django, Wagtail and Oscar are BSD, Plone's translations GPL; nothing of them is kept here. Messages with placeholders or markup are left
out, and of equal English ones all but the first. Every tenth, by the hash of its English, is for the test; messages of one application
are like each other, so these are easier than new sentences would be.

    python -m benchmarks.results.catalogues fr train.jsonl test.jsonl
"""

import json
import sys
from hashlib import sha256
from pathlib import Path

from distill.data.messages import catalogues, pairs

PACKAGES = ("django", "wagtail", "oscar", "plone.app.locales")


def write(language: str, train: Path, test: Path) -> None:
    """Two files of {"source", "target"} rows."""
    found = pairs(catalogues(PACKAGES, language))
    if not found:
        raise SystemExit(f"No catalogue of {', '.join(PACKAGES)} was found: pip install 'potstill[bench]'.")
    held_out = {source for source in found if sha256(source.lower().encode()).digest()[0] < 256 // 10}
    for path, wanted in ((train, False), (test, True)):
        chosen = [{"source": a, "target": b} for a, b in found.items() if (a in held_out) is wanted]
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen))


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
