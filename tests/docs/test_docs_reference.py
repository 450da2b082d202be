"""The reference is what the code says now."""

import importlib
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from docs_pages import DOCS, ROOT, blocks, pages
from jsonschema import Draft202012Validator

from contract import schema
from contract.check import parse_spec
from contract.document import parse_yaml
from contract.errors import ErrorCode
from contract.registry import ARCHITECTURES, BUILTINS, LOSSES, RECIPES, TASKS
from contract.spec import JobSpec
from contract.sweep import SweepSpec
from potstill.cli.app import COMMANDS, _load

REFERENCE = DOCS / "reference"


@pytest.fixture(scope="module")
def generator() -> Iterator[Any]:
    """tools/reference.py, as `make docs` runs it: without settings from the environment."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("POTSTILL_")}
    path = list(sys.path)
    sys.path.insert(0, str(ROOT / "tools"))
    yield importlib.import_module("reference")
    sys.path[:] = path
    os.environ.update(kept)


def said(page: str) -> str:
    return (REFERENCE / page).read_text("utf-8")


def test_docs_reference_is_what_the_generator_makes(generator: Any) -> None:
    made = generator.pages()
    assert {path.name for path in REFERENCE.iterdir()} == set(made)
    stale = [name for name, text in made.items() if said(name) != text]
    assert not stale, f"`make docs` has not been run since the code changed: {', '.join(stale)}"


def test_docs_reference_has_every_setting() -> None:
    """Found in the sources, not in the settings classes: a variable read past them would be known to nobody."""
    folders = ("api", "contract", "datafiles", "distill", "migrations", "models", "outward", "potstill", "worker")
    named = {
        name
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        for name in re.findall(r"POTSTILL_[A-Z_]*[A-Z]\b", path.read_text("utf-8"))
    }
    assert named, "no setting was found in the sources"
    assert {name for name in named if f"`{name}`" not in said("settings.md")} == set()


def test_docs_reference_has_every_error_code() -> None:
    """Under a heading of its own: the `type` of a problem ends in #code."""
    assert {str(code) for code in ErrorCode if f"### `{code}`\n" not in said("errors.md")} == set()


def test_docs_reference_has_every_command() -> None:
    found = {f"potstill {name}" for name in COMMANDS}
    for name in COMMANDS:
        found |= {f"potstill {name} {inner}" for inner in getattr(_load(name), "commands", {})}
    assert {command for command in found if f"# `{command}`\n" not in said("cli.md")} == set()


def test_docs_reference_has_every_choice() -> None:
    page = said("registry.md")
    kinds = {"architecture": ARCHITECTURES, "loss": LOSSES, "recipe": RECIPES}
    found = {f"### `{choice.key()}` ({kind})" for kind, choices in kinds.items() for choice in choices}
    found |= {f"| `{name}` |" for name in (*TASKS, *BUILTINS)}
    assert {entry for entry in found if entry not in page} == set()


def test_docs_reference_has_every_top_field_of_the_spec() -> None:
    assert {name for name in JobSpec.model_fields if f"| `{name}` |" not in said("spec.md")} == set()


@pytest.mark.parametrize("block", [b for p in pages() for b in blocks(p) if b.language == "yaml"], ids=lambda block: block.place)
def test_docs_specs_are_valid(block: Any) -> None:
    """A spec on a page is one that the service takes; what is only a part of one, too, once the rest is there."""
    given = parse_yaml(block.text.encode())
    if "kind" not in given:
        minimal = {"kind": "distill", "task": "image-classification", "data": {"train": "digits"}, "teacher": {"job": "@teacher"}}
        given = {**minimal, "student": {"arch": "logistic"}, **given}
    parse_spec(given)


EXAMPLES = ROOT / "examples"
SCHEMAS = {name: Draft202012Validator(make()) for name, make in schema.SCHEMAS.items()}


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_docs_examples_are_valid(path: Any) -> None:
    """In folders, ds_… and mdl_… of capitals stand for ids of the reader's own."""
    spec = parse_yaml(re.sub(rb"\b(ds|mdl)_[A-Z0-9_]+", rb"\1_" + b"0" * 32, path.read_bytes()))
    SCHEMAS[kind(path)].validate(spec)
    for job in map(spec.filled, spec.grid()) if isinstance(spec := _sweep(spec), SweepSpec) else [spec]:
        parse_spec(job)


def kind(path: Any) -> str:
    return "sweep" if "space" in parse_yaml(path.read_bytes()) else "job"


def _sweep(document: dict[str, Any]) -> Any:
    return SweepSpec.model_validate(document) if "space" in document else document


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_docs_examples_name_their_schema_for_editors(path: Any) -> None:
    wanted = os.path.relpath(REFERENCE / f"{kind(path)}.schema.json", path.parent)
    assert path.read_text().splitlines()[0] == f"# yaml-language-server: $schema={wanted}"


def test_docs_every_folder_of_examples_is_on_their_page_and_tells_how_to_run_it() -> None:
    page = (EXAMPLES / "README.md").read_text()
    for folder in (path for path in EXAMPLES.iterdir() if path.is_dir()):
        assert f"[{folder.name}]({folder.name})" in page and "potstill submit" in (folder / "README.md").read_text()


def test_docs_spec_in_the_readme_is_the_example() -> None:
    shown = next(block for block in blocks(ROOT / "README.md") if block.language == "yaml")
    assert parse_yaml(shown.text.encode()) == parse_yaml((ROOT / "examples" / "digits-evidence.yaml").read_bytes())


def test_docs_evidence_page_has_the_words_of_the_verdict() -> None:
    """The page explains each ending that a verdict can have; new words need an explanation."""
    source = (ROOT / "contract" / "evidence.py").read_text("utf-8")
    page = (DOCS / "explanation" / "evidence.md").read_text("utf-8")
    for words in (
        "Distillation helped",
        "Distillation hurt",
        "No evidence that distillation helped",
        "has no interval, so nothing is claimed",
        "Without a control arm it cannot be told what the teacher added",
        "One run:",
        "Against it",
    ):
        assert words in source, f"a verdict no longer says {words!r}"
        assert words in page, f"docs/explanation/evidence.md does not explain {words!r}"
