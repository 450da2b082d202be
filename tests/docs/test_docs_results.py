"""The kept results are those of the examples, and the data made for them are what the page says."""

import re
from pathlib import Path

import numpy as np
import pytest
from docs_pages import DOCS

from benchmarks.results import digits, store
from benchmarks.results.parts import PARTS
from benchmarks.results.plan import EXAMPLES, Part, plan


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_docs_results_are_of_the_specs_that_stand_in_the_examples(part: Part) -> None:
    """A spec or a teacher that changed makes what is kept, and the page, a lie."""
    assert [name for name in plan(part).pending if store.read(name)] == [], f"python -m benchmarks.results {part.name} page"
    assert {path.stem for path in (EXAMPLES / part.name).glob("*.yaml")} == set(part.specs)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    draw = np.random.default_rng(1)
    images, labels = draw.integers(0, 256, (1000, 4, 4), np.uint8), draw.integers(0, 10, 1000, np.uint8)
    np.savez(tmp_path / "in.npz", x_train=images, y_train=labels, x_test=images[:100], y_test=labels[:100])
    return tmp_path / "in.npz"


def test_docs_noisy_labels_are_wrong_in_that_share_and_a_smaller_share_is_part_of_a_larger(archive: Path, tmp_path: Path) -> None:
    right = np.load(archive)
    less, more = (np.load(digits.noisy(archive, share, tmp_path / f"{share}.npz")) for share in (0.1, 0.4))
    assert [(found["y_train"] != right["y_train"]).sum() for found in (less, more)] == [100, 400]
    lies = less["y_train"] != right["y_train"]
    assert (more["y_train"][lies] == less["y_train"][lies]).all()
    assert len(np.unique((more["y_train"].astype(int) - right["y_train"]) % 10)) == 10, "every other digit is named"
    for name in ("x_train", "x_test", "y_test"):
        assert (more[name] == right[name]).all()


def test_docs_a_digit_put_last_is_cut_off_whole_by_counting_rows(archive: Path, tmp_path: Path) -> None:
    right, found = np.load(archive), np.load(digits.last(archive, 3, tmp_path / "last.npz"))
    before = right["y_train"] != 3
    assert (found["x_train"][: before.sum()] == right["x_train"][before]).all()
    assert (found["y_train"][: before.sum()] == right["y_train"][before]).all()
    assert (found["y_train"][before.sum() :] == 3).all() and len(found["y_train"]) == 1000
    assert (found["y_test"] == right["y_test"]).all()


def test_docs_the_rows_of_a_digit_alone_are_the_test_sets(archive: Path, tmp_path: Path) -> None:
    right, found = np.load(archive), np.load(digits.only(archive, 3, tmp_path / "only.npz"))
    assert (found["x"] == right["x_test"][right["y_test"] == 3]).all() and set(found["y"].tolist()) == {3}


def test_docs_answers_have_their_figures_from_the_results() -> None:
    """Every figure with a decimal point, and every count of errors, stands in docs/results.md as well."""
    answers, results = ((DOCS / name).read_text("utf-8") for name in ("explanation/questions.md", "results.md"))
    figures = set(re.findall(r"[+−]?\d+\.\d+", re.sub(r"\]\([^)]*\)", "", answers))) | {"281", "247", "315", "39"}
    assert len(figures) > 25
    assert {figure for figure in figures if figure.lstrip("+−") not in results} == set()
