"""What arrays an .npz may hold, and that they come out as they went in."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from contract.column import Column
from datafiles import npy

X = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
Y = np.array([0, 1, 1])

DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
)
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=1, max_dims=4, max_side=5), elements={"allow_nan": False, "allow_infinity": False})


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(x=ARRAYS, compressed=st.booleans(), fortran=st.booleans())
def test_any_plain_array_comes_back_the_same(upload, npz, x, compressed, fortran):
    stored = np.asfortranarray(x) if fortran else x
    values = upload("a.npz", npz(compressed, x=stored)).splits["train"].columns["x"]
    assert np.array_equal(values, x)
    assert values.dtype == x.dtype.newbyteorder("=")
    assert values.dtype.isnative
    assert values.flags.c_contiguous


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    words=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8), min_size=1, max_size=8
    )
)
def test_text_comes_back_the_same(upload, npz, words):
    values = upload("a.npz", npz(y=np.array(words))).splits["train"].columns["y"]
    assert values.tolist() == words


def test_members_named_for_their_split_are_the_columns_of_splits(upload, npz):
    data = upload("digits.npz", npz(x_test=X[:1], y_test=Y[:1], x_val=X[:2], y_val=Y[:2], x_train=X, y_train=Y))
    assert data.format == "npz"
    assert {split: table.rows for split, table in data.splits.items()} == {"train": 3, "validation": 2, "test": 1}
    assert list(data.splits) == ["train", "validation", "test"]
    assert data.columns() == [Column(name="x", type="uint8", shape=[2, 2]), Column(name="y", type="int64", shape=[])]


def test_members_without_a_split_are_train(upload, npz):
    data = upload("a.npz", npz(x=X, y=Y, my_weight=Y * 0.5))
    assert list(data.splits) == ["train"]
    assert list(data.splits["train"].columns) == ["x", "y", "my_weight"]


def test_big_endian_text_is_converted(upload, npz):
    assert upload("a.npz", npz(y=np.array(["ä", "bc"], dtype=">U2"))).splits["train"].columns["y"].tolist() == ["ä", "bc"]


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array([{"a": 1}], dtype=object), "pickled Python objects"),
        (np.array([1 + 2j]), "complex128"),
        (np.array(["2024-01-01"], dtype="datetime64[D]"), "datetime64"),
        (np.array([1], dtype="timedelta64[s]"), "timedelta64"),
        (np.zeros(2, dtype=[("a", "i4"), ("b", "f4")]), "'a'"),
        (np.array([b"ab"]), "byte strings"),
        (np.zeros(2, dtype="V3"), "V3"),
        (np.zeros(2, dtype=np.longdouble), "float128"),
    ],
)
def test_other_types_are_refused_by_name(refusal, npz, array, said):
    detail = refusal("a.npz", npz(x_train=X[: len(array)], odd_train=array))
    assert "`odd_train.npy`" in detail
    assert said in detail


def test_a_pickle_in_an_array_is_never_run(refusal, npz, tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").write_text, ("x",))

    refusal("a.npz", npz(x=np.array([Trap()], dtype=object)))
    assert not (tmp_path / "sprung").exists()


def test_uneven_columns_are_refused_with_both_lengths(refusal, npz):
    detail = refusal("a.npz", npz(x_train=X, y_train=Y, x_test=X, y_test=Y[:2]))
    assert "split test" in detail
    assert "`x` has 3 rows but `y` has 2" in detail


@pytest.mark.parametrize("shape", [(0,), (0, 4), (3, 0)])
def test_arrays_without_values_are_refused(refusal, npz, shape):
    detail = refusal("a.npz", npz(x=np.zeros(shape)))
    assert "`x.npy` has no values" in detail
    assert str(list(shape)) in detail


def test_a_single_number_is_no_column(refusal, npz):
    assert "`x.npy` is a single value" in refusal("a.npz", npz(x=np.array(3)))


@pytest.mark.parametrize(("bad", "said"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_numbers_that_are_none_are_refused_with_their_row(refusal, npz, bad, said):
    x = np.zeros((5000, 300), dtype=np.float32)  # more than one block of the check
    x[4321, 7] = bad
    detail = refusal("a.npz", npz(x_train=np.zeros((2, 300), dtype=np.float32), x_test=x))
    assert f"row 4322, column `x` of split test holds {said}" in detail


def test_an_empty_label_is_refused_with_its_row(refusal, npz):
    assert "row 2, column `label` of split train is empty" in refusal("a.npz", npz(x=X, label=np.array(["a", "", "b"])))


def test_split_columns_must_agree(refusal, npz):
    assert "split test lacks the column `y`" in refusal("a.npz", npz(x_train=X, y_train=Y, x_test=X))
    assert "split test has a column `z`" in refusal("a.npz", npz(x_train=X, x_test=X, z_test=Y))
    detail = refusal("a.npz", npz(x_train=X, x_test=X / 2))
    assert "column `x` holds uint8 of shape [2, 2] in train but float64 of shape [2, 2] in test" in detail
    assert "in train but uint8 of shape [4] in test" in refusal("a.npz", npz(x_train=X, x_test=X.reshape(3, 4)))


def test_rows_are_bounded(refusal, npz):
    from datafiles import Limits

    assert "more than 2 rows" in refusal("a.npz", npz(x=X), Limits(max_rows=2))


def test_a_parser_that_another_thread_disturbed_is_asked_again(upload, npz, monkeypatch):
    parse, calls = npy.npy_format.read_array_header_1_0, []

    def disturbed(*given, **named):
        calls.append(given)
        if len(calls) in (1, 2):
            raise SystemError("AST constructor recursion depth mismatch (before=60, after=57)")
        return parse(*given, **named)

    monkeypatch.setattr(npy.npy_format, "read_array_header_1_0", disturbed)
    assert np.array_equal(upload("a.npz", npz(x=X, y=Y)).splits["train"].columns["x"], X)
    assert len(calls) == 4
