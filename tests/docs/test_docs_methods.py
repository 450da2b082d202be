"""The page on methods and the page on one's own loss: complete, and true."""

import re
import subprocess
import sys
from typing import Any

import pytest
from docs_pages import DOCS, ROOT, blocks

from contract.check import parse_spec
from contract.document import parse_yaml
from contract.registry import RECIPES

ROW = re.compile(r"^\| `(?P<name>\w+)` \|.*\]\((?P<paper>https://[^)]+)\) \| \[yaml\]\((?P<example>[^)]+)\) \|$", re.MULTILINE)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.key())
def test_docs_every_recipe_has_its_line_its_paper_and_an_example(recipe: Any) -> None:
    lines = {found["name"]: found for found in ROW.finditer((DOCS / "methods.md").read_text())}
    assert set(lines) == {known.key() for known in RECIPES}
    line = lines[recipe.key()]
    assert line["paper"] in recipe.entry()["paper"]
    spec = parse_spec(parse_yaml((DOCS / line["example"]).read_bytes()))
    assert spec.recipe is not None and spec.recipe.name == recipe.key()


def test_docs_teachers_of_the_examples_are_there() -> None:
    folder = ROOT / "examples" / "recipes"
    known = {parse_yaml(path.read_bytes())["name"] for path in [*folder.glob("teachers/*.yaml"), ROOT / "examples" / "messages.yaml"]}
    for path in folder.glob("*.yaml"):
        spec = parse_spec(parse_yaml(path.read_bytes()))
        named = {ref.job for field, ref in spec.refs().items() if field.startswith("teacher")}
        assert named or (spec.recipe is not None and spec.recipe.OWN_TEACHER), path.name
        assert named <= {f"@{name}" for name in known}, path.name


def test_docs_the_loss_of_ones_own_works_as_it_is_told() -> None:
    """All blocks one after the other, in an interpreter of their own; the last one compares with a reference."""
    code = "\n\n".join(block.text for block in blocks(DOCS / "how-to" / "your-own-loss.md") if block.language == "python")
    assert len([line for line in code.splitlines() if line.strip()]) - code.count("import") <= 30
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr
