"""English messages of four web applications and their translations: the gettext catalogues inside packages of the index.

Django, Wagtail and Oscar are BSD, Plone's translations GPL; nothing of them is kept here. Messages with placeholders or markup are left
out, and of equal English ones all but the first. Every tenth, by the hash of its English, is for the test; messages of one application
are like each other, so these are easier than new sentences would be.

    python -m benchmarks.results.catalogues fr train.jsonl test.jsonl
"""

import importlib.util
import json
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

PACKAGES = ("django", "wagtail", "oscar", "plone.app.locales")
MARKUP = frozenset("<>{}%\n&$_|\\")
LONGEST = 200  # characters


def pairs(language: str) -> dict[str, str]:
    """English → `language`, as the catalogues have it, capitals and all."""
    import polib  # of the bench extra; other parts do without

    found: dict[str, str] = {}
    for catalogue in sorted(_catalogues(language)):
        for entry in polib.mofile(str(catalogue)):
            source, target = entry.msgid.strip(), entry.msgstr.strip()
            if not MARKUP & {*source, *target} and 2 <= len(source) <= LONGEST and 2 <= len(target) <= LONGEST and source != target:
                found.setdefault(source, target)
    if not found:
        raise SystemExit(f"No catalogue of {', '.join(PACKAGES)} was found: pip install 'potstill[bench]'.")
    return found


def write(language: str, train: Path, test: Path) -> None:
    """Two files of {"source", "target"} rows."""
    found = pairs(language)
    held_out = {source for source in found if sha256(source.lower().encode()).digest()[0] < 256 // 10}
    for path, wanted in ((train, False), (test, True)):
        chosen = [{"source": a, "target": b} for a, b in found.items() if (a in held_out) is wanted]
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen))


def _catalogues(language: str) -> Iterator[Path]:
    for package in PACKAGES:
        try:
            found = importlib.util.find_spec(package)
        except ModuleNotFoundError:  # the package above it
            continue
        for folder in (found.submodule_search_locations or []) if found is not None else []:
            yield from Path(folder).rglob(f"{language}/LC_MESSAGES/*.mo")


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
