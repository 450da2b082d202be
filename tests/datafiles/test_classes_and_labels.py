"""Labels become classes by one rule, whatever format they came in."""

import numpy as np
import pytest

from contract.errors import InvalidData
from datafiles import DataFile, Table, encode_labels


def data(**columns):
    return DataFile("npz", {"train": Table({name: np.asarray(values) for name, values in columns.items()})})


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ([10, 9, 2, 10], ["2", "9", "10"]),
        ([-1, 1], ["-1", "1"]),
        (np.array([2**64 - 1, 1], dtype=np.uint64), ["1", "18446744073709551615"]),
        ([2.0, 10.0, -0.0], ["0", "2", "10"]),
        (np.array([1, 2], dtype=np.float16), ["1", "2"]),
        (["b", "a", "10", "9"], ["10", "9", "a", "b"]),
        (np.array(["b", "a"], dtype=object), ["a", "b"]),
        ([True, False], ["false", "true"]),
        ([True, True], ["true"]),
        ([0.5, 1.0], None),
        ([1e300, 1.0], None),
        ([[1], [2]], None),
        (np.arange(10_001), None),
        (["x" * 201], None),
    ],
)
def test_classes_are_the_sorted_distinct_labels(values, classes):
    assert data(x=[0.5] * len(values), y=values).classes() == classes


def test_exactly_ten_thousand_are_classes():
    assert len(data(y=np.arange(10_000)).classes() or []) == 10_000


def test_label_goes_before_y_and_a_name_before_both():
    table = data(y=[1, 2], label=["a", "b"], stars=[5, 4])
    assert table.classes() == ["a", "b"]
    assert table.classes("stars") == ["4", "5"]
    assert table.classes("moons") is None
    assert data(x=[1]).classes() is None


def test_classes_are_those_of_train():
    splits = {"test": Table({"y": np.array([7])}), "train": Table({"y": np.array([1, 2])})}
    assert DataFile("npz", splits).classes() == ["1", "2"]
    assert DataFile("npz", {"test": splits["test"]}).classes() == ["7"]


@pytest.mark.parametrize(
    ("values", "classes", "codes"),
    [
        (np.array([10, 2, 9], dtype=np.uint8), ["2", "9", "10"], [2, 0, 1]),
        (np.array([1.0, 0.0]), ["0", "1"], [1, 0]),
        (np.array([True, False]), ["false", "true"], [1, 0]),
        (np.array(["b", "a", "b"]), ["a", "b"], [1, 0, 1]),
        (np.array(["2", "1"], dtype=object), ["1", "2"], [1, 0]),
        (np.array([1]), ["0", "1", "2"], [1]),
    ],
)
def test_labels_become_places_in_the_classes(values, classes, codes):
    encoded = encode_labels(values, classes, "data.test")
    assert encoded.dtype == np.int64
    assert encoded.tolist() == codes


def test_every_label_a_file_has_can_be_encoded():
    for values in (np.array([3, 1, 2, 3]), np.array(["z", "a"], dtype=object), np.array([False, True]), np.array([4.0, 2.0])):
        classes = data(y=values).classes()
        assert classes is not None
        assert sorted(set(encode_labels(values, classes, "train").tolist())) == list(range(len(classes)))


def test_an_unknown_label_is_refused_with_its_row():
    with pytest.raises(InvalidData) as caught:
        encode_labels(np.array(["a", "b", "zebra", "yak"], dtype=object), ["a", "b"], "data.test")
    assert caught.value.detail == "data.test: row 3 has the label `zebra`, which is none of the 2 classes (`a`, `b`)"
    assert caught.value.hint


@pytest.mark.parametrize("values", [np.array([0.5]), np.array([np.nan]), np.array([np.inf]), np.zeros((2, 2), dtype=int)])
def test_values_that_are_no_classes_are_refused(values):
    with pytest.raises(InvalidData, match=r"data\.train: the labels are arrays or fractions"):
        encode_labels(values, ["0"], "data.train")
