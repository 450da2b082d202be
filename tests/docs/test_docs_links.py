"""Links between pages lead somewhere, and no page names a machine it was written on."""

import re
from pathlib import Path

import pytest
from docs_pages import DOCS, ROOT, pages

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them: lower case, punctuation gone, spaces as hyphens."""
    found = HEADING.findall(without_blocks(page.read_text("utf-8")))
    return {"".join(c for c in heading.lower() if c.isalnum() or c in " -_").replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", [*pages(), ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_docs_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for link in LINK.findall(without_blocks(page.read_text("utf-8"))):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []


def test_docs_every_page_is_on_the_map() -> None:
    text = (DOCS / "index.md").read_text("utf-8")
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in LINK.findall(text)}
    assert {page for page in DOCS.rglob("*.md") if page.name != "index.md"} - linked == set()


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_docs_pages_name_no_machine(page: Path) -> None:
    """Paths below /tmp, /work, /root or somebody's home, and addresses of this network, are of no use to a reader."""
    found = re.findall(
        r"/(?:work|root|tmp|home(?!/you/))/\S+|\b(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d+){2,3}\b", page.read_text("utf-8")
    )
    assert found == []


def test_docs_what_the_map_of_the_code_names_is_there() -> None:
    """ "Where is …?" of ARCHITECTURE.md: each file exists, and the first of a row holds the names beside it."""
    rows = re.findall(r"^\| [^|]+ \| (`[^|]+) \| ([^|]*)\|$", (ROOT / "ARCHITECTURE.md").read_text("utf-8"), re.MULTILINE)
    assert len(rows) > 15
    for where, names in rows:
        files = [path for path in re.findall(r"`([^`]+)`", where) if "/" in path]
        assert all((ROOT / path).exists() for path in files), where
        named = re.findall(r"`([^`]+)`", names)
        held = "".join((ROOT / path).read_text("utf-8") for path in files if path.endswith(".py")) if named else ""
        assert all(re.search(rf"\b{name}\b", held) for name in named), (where, names)
