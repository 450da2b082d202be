"""The threat model names tests, and they are there."""

import re

from docs_pages import DOCS, ROOT

PAGE = (DOCS / "security.md").read_text("utf-8")


def test_docs_every_test_that_the_threat_model_names_exists() -> None:
    sources = {path.name: path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    there = {name for text in sources.values() for name in re.findall(r"^def (test_\w+)\(", text, re.MULTILINE)} | sources.keys()
    named = set(re.findall(r"`(test_\w+(?:\.py)?)`", PAGE))
    assert len(named) > 30 and named - there == set()


def test_docs_every_threat_has_an_answer_and_a_test() -> None:
    rows = [line.strip("|").split(" | ") for line in PAGE.split("## Behind")[0].splitlines() if line.startswith("| ")]
    threats = [row for row in rows if row[0].strip() not in ("threat", "---")]
    assert len(threats) > 15
    assert [row[0] for row in threats if len(row) != 3 or not row[1].strip() or "`test_" not in row[2]] == []
