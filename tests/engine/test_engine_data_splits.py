"""Which rows train, validate and test: decided by the data and the spec, never by the seed."""

import numpy as np
import pytest
from engine_runs import small
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from contract.check import parse_spec
from contract.errors import InvalidData, InvalidSpec
from distill.data import load
from distill.data.builtin import digits
from distill.inputs import Inputs


def read(spec, tmp_path="/nonexistent"):
    return load(spec, Inputs.local(spec, tmp_path))


def numbers(split):
    """The rows of a set in which each row's only feature is its own number."""
    return [] if split is None else split.features[:, 0].long().tolist()


@pytest.fixture
def numbered(npz):
    """numbered(100, validation=…) is the data of a job whose rows are 0 … 99."""

    def made(count, **data):
        path = npz(x_train=np.arange(count, dtype=np.float32)[:, None], y_train=np.arange(count) % 2)
        return read(small(task="tabular-classification", data={"train": {"path": path}, "max_train_samples": None} | data))

    return made


@pytest.mark.parametrize(
    ("rows", "share", "held"), [(100, 0.1, 10), (100, 0.5, 50), (7, 0.1, 1), (33, 0.25, 8), (2, 0.01, 1), (1000, 0.999, 999)]
)
def test_validation_is_its_share_and_no_row_is_in_both(numbered, rows, share, held):
    """A row that trains and validates makes every student look better than it is."""
    data = numbered(rows, validation=share)
    assert len(data.validation) == held
    assert sorted(numbers(data.train) + numbers(data.validation)) == list(range(rows))
    assert numbers(data.train) == sorted(numbers(data.train))


def test_the_held_out_rows_are_a_shuffle_and_the_same_for_every_seed(npz):
    """Judged on different rows, two seeds cannot be compared; taken from the end, sorted files would hold out one class."""
    path = npz(x_train=np.arange(200, dtype=np.float32)[:, None], y_train=np.repeat([0, 1], 100))
    drawn = []
    for seed in (1, 2):
        spec = small(
            task="tabular-classification",
            data={"train": {"path": path}, "max_train_samples": None, "validation": 0.2},
            training={"seed": seed},
        )
        drawn.append(numbers(read(spec).validation))
    assert drawn[0] == drawn[1]
    assert drawn[0] != list(range(160, 200))
    assert 5 < sum(row >= 100 for row in drawn[0]) < 35  # both classes


def test_more_validation_is_a_superset_of_less(numbered):
    """The last part of one shuffle: a row held out at 10 % is not trained on at 20 %."""
    shares = [set(numbers(numbered(100, validation=share).validation)) for share in (0.1, 0.2, 0.5)]
    assert shares[0] < shares[1] < shares[2]


def test_a_share_that_leaves_nothing_to_train_on_is_refused(numbered):
    with pytest.raises(InvalidSpec, match=r"data\.validation: 0\.9 of 2 rows leaves nothing"):
        numbered(2, validation=0.9)


def test_max_train_samples_takes_the_first_rows_and_only_of_train(npz):
    path = npz(
        x_train=np.arange(50, dtype=np.float32)[:, None],
        y_train=np.arange(50) % 2,
        x_test=np.zeros((20, 1), dtype=np.float32),
        y_test=np.zeros(20, dtype=int),
    )
    data = {"train": {"path": path}, "max_train_samples": 30, "validation": 0.1}
    found = read(small(task="tabular-classification", data=data))
    assert sorted(numbers(found.train) + numbers(found.validation)) == list(range(30))
    assert len(found.test) == 20


def test_more_samples_than_there_are_is_all_of_them(numbered):
    assert len(numbered(10, max_train_samples=10**9, validation=0.5).train) == 5


def test_the_first_rows_may_lack_a_class_that_the_file_has(npz):
    """The number of outputs must not hang on how much of a sorted file is used."""
    path = npz(x_train=np.zeros((9, 1)), y_train=[0, 0, 0, 1, 1, 1, 2, 2, 2])
    data = {"train": {"path": path}, "max_train_samples": 3, "validation": 0.4}
    assert read(small(task="tabular-classification", data=data)).shape.classes == ["0", "1", "2"]


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 1437), st.floats(0.01, 0.5))
def test_digits_of_any_size_are_whole(count, share):
    data = read(small(data={"max_train_samples": count, "validation": share}))
    _, labels = digits()["train"]
    assert len(data.train) + len(data.validation) == count
    both = np.concatenate([data.train.labels.numpy(), data.validation.labels.numpy()])
    assert np.array_equal(np.bincount(both, minlength=10), np.bincount(labels[:count], minlength=10))
    assert (data.test_name, len(data.test)) == ("test", 360)


def test_digits_are_split_as_scikit_learn_would():
    found = load_digits()
    rows = np.arange(len(found.target))
    for name, part in zip(("train", "test"), train_test_split(rows, test_size=0.2, stratify=found.target, random_state=0), strict=True):
        images, labels = digits()[name]
        assert np.array_equal(images, found.images[np.sort(part)]) and np.array_equal(labels, found.target[np.sort(part)])


def test_digits_test_rows_are_not_among_the_training_rows():
    train, test = ({image.tobytes() for image in digits()[split][0]} for split in ("train", "test"))
    assert len(train & test) == 0


def test_without_test_rows_the_validation_rows_judge_and_the_report_says_so(numbered):
    data = numbered(20, validation=0.25)
    assert data.test_name == "validation"
    assert numbers(data.test) == numbers(data.validation)


def test_without_either_there_is_nothing_to_measure_on(numbered):
    with pytest.raises(InvalidSpec, match=r"data\.test: there is nothing to measure on") as caught:
        numbered(20, validation=None)
    assert caught.value.param == "data.test"
    assert "data.validation" in (caught.value.hint or "")


@pytest.mark.parametrize("field", ["train", "test"])
def test_a_split_that_is_not_there_is_named_with_those_that_are(field):
    data = {"train": "digits", "test": "digits"} | {field: {"dataset": "digits", "split": "holdout"}}
    with pytest.raises(InvalidSpec, match=rf"data\.{field}: there is no split 'holdout'; there are train, test"):
        read(small(data=data))


def test_a_test_row_of_a_class_that_training_never_showed_is_refused(npz):
    """It would count as wrong whatever the student says."""
    path = npz(x_train=np.zeros((4, 1)), y_train=[0, 1, 0, 1], x_test=np.zeros((2, 1)), y_test=[1, 7])
    with pytest.raises(InvalidData, match=r"data\.test: row 2 has the label `7`"):
        read(small(task="tabular-classification", data={"train": {"path": path}, "validation": None}))


def test_a_test_file_of_one_split_needs_no_word_about_it(engine, tmp_path):
    for name, rows in (("train", 40), ("test", 7)):
        lines = "".join(f"{number % 5},{number % 2}\n" for number in range(rows))
        (tmp_path / f"{name}.csv").write_text(f"x,label\n{lines}")
    data = {"train": {"path": str(tmp_path / "train.csv")}, "test": {"path": str(tmp_path / "test.csv")}}
    spec = {"kind": "train", "task": "tabular-classification", "data": data, "student": {"arch": "logistic"}, "training": {"epochs": 1}}
    report = engine.run(parse_spec(spec)).report
    assert (report["split"], report["rows"]) == ("test", 7)
    with pytest.raises(InvalidSpec, match=r"data\.test: there is no split 'test'"):
        engine.run(parse_spec({**spec, "data": {**data, "test": data["train"]}}))


def test_what_is_trained_on_is_not_what_is_measured_on():
    """The split to train on was named: the one to measure on is another all the same."""
    named = read(small(data={"train": {"dataset": "digits", "split": "train"}}))
    assert (named.test_name, len(named.test)) == ("test", 360)
    assert named.test.digest() == read(small()).test.digest()
    turned = {"train": {"dataset": "digits", "split": "test"}, "max_train_samples": None}
    with pytest.raises(InvalidSpec, match=r"data\.test: there is nothing to measure on"):
        read(small(data={**turned, "validation": None}))
    assert read(small(data={**turned, "validation": 0.1})).test_name == "validation"
