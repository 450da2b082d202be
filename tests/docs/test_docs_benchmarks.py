"""The pages of the service's figures say what their commands left."""

import copy
import json

import pytest

from benchmarks import scale, service_page
from benchmarks.compare import READERS, Ratio, ratios
from benchmarks.figures import DATA


def test_docs_the_service_page_is_written_from_the_kept_figures() -> None:
    assert service_page.PAGE.read_text() == service_page.text(), "python -m benchmarks.service_page"


def test_docs_the_page_of_sizes_is_written_from_the_kept_figures() -> None:
    assert scale.PAGE.read_text() == scale.text(), "python -m benchmarks.scale"


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [
        (Ratio([2.0, 2.2]), Ratio([1.5, 1.9]), "better"),
        (Ratio([2.0, 2.2]), Ratio([2.1, 2.4]), ""),
        (Ratio([1.0, 1.2]), Ratio([1.3, 1.4]), "worse"),
        (Ratio([1.0, 1.2], -1), Ratio([1.3, 1.4], -1), "better"),
        (Ratio([1.5, 1.6], -1), Ratio([1.3, 1.4], -1), "worse"),
        (Ratio([1.0]), Ratio([1.05, 1.06]), ""),
        (Ratio([1.0]), Ratio([1.2, 1.3]), "worse"),
    ],
)
def test_docs_a_ratio_is_worse_when_all_of_it_is(now: Ratio, before: Ratio, said: str) -> None:
    assert now.against(before) == said


def test_docs_ratios_of_what_was_measured_are_found() -> None:
    records = {path.stem: json.loads(path.read_text()) for path in DATA.glob("*.json")}
    found = ratios(records)
    assert all(any(name.startswith(begin) for name in records) for begin in READERS if begin != "objects")
    assert all(value > 0 for ratio in found.values() for value in ratio.rounds) and len(found) > 50
    slower = copy.deepcopy(records)
    for one in slower["training-text-4"]["rounds"]:
        one["potstill, warm"]["train_cpu_s"] *= 2
    now = ratios(slower)
    worse = {what for what, ratio in now.items() if ratio.against(found[what]) == "worse"}
    assert worse == {what for what in found if what.endswith("/ potstill, warm") and what.startswith("training-text-4")}
