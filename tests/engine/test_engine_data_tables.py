"""Tables: columns chosen by name, standardised by the training rows alone, labels of any kind."""

import numpy as np
import pytest
import torch
from engine_runs import small
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import InvalidData, InvalidSpec
from contract.spec import Columns
from distill.data import load
from distill.inputs import Inputs
from distill.networks import load as load_network
from distill.networks import scaled
from distill.predict import read_row

TASK = "tabular-classification"


def spec_of(path, source=(), **data):
    given = {"train": {"path": path, **dict(source)}, "max_train_samples": None, "validation": 0.25} | data
    return small(task=TASK, data=given)


def read(path, source=(), **data):
    spec = spec_of(path, source, **data)
    return load(spec, Inputs.local(spec, "/nonexistent"))


def table(columns, rows):
    return "\n".join([columns, *(",".join(map(str, row)) for row in rows)]) + "\n"


def test_columns_are_standardised_by_the_rows_that_train(text):
    """Population mean and deviation of the training rows; validation and test rows are measured with the same ruler."""
    draw = np.random.default_rng(0)
    x = draw.normal([3.0, -50.0, 1e6], [0.1, 20.0, 1e5], (40, 3)).astype(np.float32)
    data = read(text("a.csv", table("a,b,c,label", [[*map(repr, row.tolist()), i % 2] for i, row in enumerate(x)])))
    inner = data.train.features.double().numpy()
    np.testing.assert_allclose(data.scaling.subtract, inner.mean(0), rtol=1e-6)
    np.testing.assert_allclose(data.scaling.divide, inner.std(0), rtol=1e-6)
    assert len(inner) == 30
    seen = scaled(data.train.features, data.scaling)
    torch.testing.assert_close(seen.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.std(0, correction=0), torch.ones(3), atol=1e-4, rtol=0)


@settings(max_examples=50, deadline=None)
@given(st.floats(-(2.0**99), 2.0**99, width=32), st.integers(2, 50))
def test_a_constant_column_is_shifted_to_zero_and_never_divided_by_zero(tmp_path_factory, value, rows):
    """Whatever its value: rounding must not make a deviation of 1e-20 out of nothing and blow up the next row that differs."""
    path = tmp_path_factory.mktemp("constant") / "rows.npz"
    x = np.column_stack([np.full(rows, value, dtype=np.float32), np.arange(rows, dtype=np.float32)])
    np.savez(path, x_train=x, y_train=np.arange(rows) % 2)
    data = read(str(path), validation=0.01)
    assert data.scaling.divide[0] == 1.0
    assert not scaled(data.train.features, data.scaling)[:, 0].any()


@pytest.mark.parametrize(
    ("labels", "classes", "codes"),
    [
        ([10, 9, 2, 10], ["2", "9", "10"], [2, 1, 0, 2]),
        (["b", "a", "b", "c"], ["a", "b", "c"], [1, 0, 1, 2]),
        (["true", "false", "true", "true"], ["false", "true"], [1, 0, 1, 1]),
        ([1.0, 0.0, 1.0, 0.0], ["0", "1"], [1, 0, 1, 0]),
        ([-1, 1, 1, -1], ["-1", "1"], [0, 1, 1, 0]),
    ],
    ids=["numbers by value", "words by letter", "truth", "whole floats", "negative"],
)
def test_labels_become_classes_in_an_order_anyone_can_know(text, labels, classes, codes):
    data = read(text("a.csv", table("x,y", [[i / 2, label] for i, label in enumerate(labels)])))
    assert data.shape.classes == classes
    rows = torch.cat([data.train.features, data.validation.features])[:, 0].argsort()
    assert torch.cat([data.train.labels, data.validation.labels])[rows].tolist() == codes


def test_named_columns_are_used_in_the_order_named(text):
    path = text("a.csv", table("id,a,stars,b", [[f"row{i}", i, "good" if i % 2 else "bad", -i] for i in range(8)]))
    data = read(path, {"columns": {"features": ["b", "a"], "label": "stars"}}, validation=0.2)
    assert data.shape.classes == ["bad", "good"]
    assert torch.equal(data.train.features[:, 0], -data.train.features[:, 1])
    assert (data.train.features[:, 1] >= 0).all()


def separable(names, count=60, seed=0):
    """A table whose class is the sign of column `a`; column `b` says nothing."""
    draw = np.random.default_rng(seed)
    values = {"a": draw.normal(size=count), "b": draw.normal(size=count) * 10 + 100}
    return table(",".join([*names, "label"]), [[*(values[n][i] for n in names), int(values["a"][i] > 0)] for i in range(count)])


def two_files(text, second, **parts):
    data = {"train": {"path": text("train.csv", separable("ab"))}, "test": {"path": text("test.csv", second), "split": "train"}}
    return small(task=TASK, data=data | {"max_train_samples": None}, **parts)


def test_test_columns_are_found_by_name_and_not_by_place(engine, text):
    """Another tool wrote the test file with its columns in another order: the student must not read b where it learned a."""
    student = {"arch": "logistic"}
    training = {"epochs": 60, "optimizer": {"lr": 0.05}}
    expected, found = (
        engine.run(two_files(text, separable(names, seed=1), student=student, training=training)).report for names in ("ab", "ba")
    )
    assert expected["arms"]["model"]["metrics"]["accuracy"]["mean"] > 0.9
    assert found["arms"]["model"]["metrics"] == expected["arms"]["model"]["metrics"]


def other_columns(names):
    return table(",".join([*names, "label"]), [[*range(len(names)), i % 2] for i in range(8)])


def test_one_more_test_column_is_no_harm(engine, text):
    """It is not asked for."""
    assert engine.run(two_files(text, other_columns("abc"))).outcome.type == "finished"


@pytest.mark.parametrize("names", ["a", "ac"])
def test_test_columns_that_do_not_fit_are_refused_before_anything_is_trained(engine, text, names):
    """Found only after the last epoch it would cost the whole run."""
    spec, events = two_files(text, other_columns(names)), []
    with pytest.raises(InvalidSpec, match=r"data\.test"):
        engine.run(spec, emit=events.append)
    assert [event.type for event in events] == ["phase"]


def test_test_images_of_another_size_are_refused_before_anything_is_trained(engine, npz):
    spec = small(
        data={
            "train": {"path": npz("a.npz", x_train=np.zeros((8, 4, 4)), y_train=np.arange(8) % 2)},
            "test": {"path": npz("b.npz", x_train=np.zeros((8, 5, 5)), y_train=np.arange(8) % 2), "split": "train"},
            "max_train_samples": None,
        }
    )
    events = []
    with pytest.raises(InvalidSpec, match=r"data\.test: its rows have shape"):
        engine.run(spec, emit=events.append)
    assert [event.type for event in events] == ["phase"]


def test_arrays_in_a_table_are_laid_out_flat(npz):
    x = np.arange(8 * 6, dtype=np.float32)
    for shape in [(8, 6), (8, 2, 3), (8, 1, 1, 6), (8, 1, 2, 3)]:
        data = read(npz(x_train=x.reshape(shape), y_train=np.arange(8) % 2))
        assert data.shape.shape == (6,)
        assert data.train.features.shape == (6, 6)


def test_one_class_is_refused(engine, text):
    """There is nothing to tell apart, and every accuracy would be 1."""
    with pytest.raises(InvalidSpec, match="only one class") as caught:
        engine.run(spec_of(text("a.csv", table("x,y", [[i, "same"] for i in range(8)]))))
    assert caught.value.param == "data.train"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", ""])
def test_missing_and_infinite_numbers_are_refused_with_their_row(text, value):
    """One NaN makes every weight NaN after one step."""
    with pytest.raises(InvalidData, match="row 3, column `a`"):
        read(text("a.csv", table("a,y", [[0.5, 0], [1.5, 1], [value, 0], [2.5, 1]])))


def test_nan_in_an_npz_is_refused_too(npz):
    x = np.ones((4, 2))
    x[1, 1] = np.nan
    with pytest.raises(InvalidData, match="row 2, column `x` of split train holds NaN"):
        read(npz(x_train=x, y_train=[0, 1, 0, 1]))


def test_words_among_the_features_are_refused_with_the_column(text):
    with pytest.raises(InvalidSpec, match=r"column 'name' holds text"):
        read(text("a.csv", table("name,x,y", [["eve", 1, 0], ["bob", 2, 1]])))


def test_numbers_that_only_a_float64_holds_are_refused(text):
    """As float32 they would be infinite, and the standardised column NaN."""
    with pytest.raises(InvalidData, match="beyond what a float32 holds") as caught:
        read(text("a.csv", table("a,y", [[i * 1e300, i % 2] for i in range(8)])))
    assert caught.value.param == "data.train"


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_the_same_rows_in_any_format_give_the_same_student(engine, text, npz, ending):
    x, y = np.random.default_rng(0).normal(size=(40, 3)).round(3), np.arange(40) % 3
    if ending == "csv":
        path = text("a.csv", table("a,b,c,y", [[*row, label] for row, label in zip(x, y, strict=True)]))
    else:
        path = text("a.jsonl", "".join(f'{{"x": {row.tolist()}, "y": {label}}}\n' for row, label in zip(x, y, strict=True)))
    assert engine.run(spec_of(path)).weights == engine.run(spec_of(npz(x_train=x, y_train=y))).weights


def test_a_network_gets_its_columns_in_the_order_it_learned_them(engine, text):
    """Whoever measures it, follows it or asks it about a row may have them in another."""
    student = {"arch": "logistic"}
    training = {"epochs": 60, "optimizer": {"lr": 0.05}}
    ran = engine.run(two_files(text, separable("ab", seed=1), student=student, training=training))
    _, config = load_network(ran.student)
    assert config.features == ["a", "b"]
    ways = {names: text(f"{names}.csv", separable(names, seed=1)) for names in ("ab", "ba")}
    reports = []
    for path in ways.values():
        data = {"train": {"path": path}, "test": {"path": path, "split": "train"}, "max_train_samples": None, "validation": None}
        reports.append(engine.run(small(kind="evaluate", task=TASK, data=data, student={"path": str(ran.student)}, training={})).report)
    assert reports[0]["arms"] | {"model": None} == reports[1]["arms"] | {"model": None}
    right = [report["arms"]["model"]["metrics"]["accuracy"]["mean"] for report in reports]
    assert right[0] == right[1] > 0.9
    rows = [read_row(f"{path}:3", TASK, Columns(), config.features) for path in ways.values()]
    assert rows[0].equal(rows[1])


def test_rows_without_a_label_are_no_class(text):
    path = text("stars.csv", "review,stars\n1,pos\n2,\n3,neg\n4,pos\n")
    with pytest.raises(InvalidData, match=r"row 2 has an empty label"):
        read(path, {"columns": {"label": "stars"}})
