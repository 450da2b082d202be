"""Parquet: what comes back of each type, and the row and column of what cannot be used."""

import datetime
import decimal
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from contract.column import Column
from datafiles import Limits

NUMBERS = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
NAMES = st.text("abcdefg äß_-.", min_size=1, max_size=20)


def parquet(columns, **options):
    """The bytes of such a file; columns that are no Arrow arrays become some."""
    buffer = io.BytesIO()
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), buffer, **options)
    return buffer.getvalue()


def nested(array, kinds):
    """An array [rows, a, b, …] as lists of lists, each level of one of the kinds of list that Arrow has."""
    flat = pa.array(array.reshape(-1))
    for length, kind in zip(reversed(array.shape[1:]), kinds, strict=False):
        if kind == "fixed":
            flat = pa.FixedSizeListArray.from_arrays(flat, length)
        else:
            ends = range(0, len(flat) + 1, length)
            flat = pa.LargeListArray.from_arrays(pa.array(ends), flat) if kind == "large" else pa.ListArray.from_arrays(list(ends), flat)
    return flat


@st.composite
def files(draw):
    """Columns as they should come back, and as bytes."""
    rows = draw(st.integers(1, 40))
    names = draw(st.lists(NAMES, min_size=3, max_size=5, unique=True))
    sound = {"allow_nan": False, "allow_infinity": False}
    columns, arrow = {}, {}
    for name in names[2:]:
        kind = draw(st.sampled_from(NUMBERS))
        shape = (rows, *draw(hnp.array_shapes(min_dims=0, max_dims=3, max_side=3)))
        columns[name] = draw(hnp.arrays(kind, shape, elements=sound if kind.startswith("float") else None))
        arrow[name] = nested(columns[name], draw(st.lists(st.sampled_from(["list", "large", "fixed"]), min_size=3, max_size=3)))
    for name in names[:2]:
        words = draw(st.lists(WORDS, min_size=rows, max_size=rows))
        columns[name] = np.array(words, dtype=object)
        arrow[name] = pa.array(words, draw(st.sampled_from([pa.string(), pa.large_string(), pa.string_view()])))
        if draw(st.booleans()):
            arrow[name] = pa.array(words).dictionary_encode()
    options = {
        "compression": draw(st.sampled_from(["none", "snappy", "gzip", "zstd", "lz4", "brotli"])),
        "row_group_size": draw(st.integers(1, rows)),
        "data_page_size": draw(st.sampled_from([512, 10**6])),  # at a few bytes Arrow writes empty pages, and cannot read them itself
        "write_batch_size": draw(st.integers(1, rows)),
        "data_page_version": draw(st.sampled_from(["1.0", "2.0"])),
        "use_dictionary": draw(st.booleans()),
        "store_schema": draw(st.booleans()),
        "write_statistics": draw(st.booleans()),
        "write_page_checksum": draw(st.booleans()),
        "version": draw(st.sampled_from(["1.0", "2.4", "2.6"])),
    }
    return columns, parquet(arrow, **options)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(file=files())
def test_any_table_comes_back_the_same_however_it_was_written(upload, file):
    columns, content = file
    read = upload("a.parquet", content).splits["train"].columns
    assert set(read) == set(columns)
    for name, values in columns.items():
        assert read[name].shape == values.shape
        assert read[name].tolist() == values.tolist()
        assert read[name].flags.c_contiguous
        assert read[name].dtype.isnative


def test_every_column_keeps_its_own_type(upload):
    images = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    data = upload(
        "a.parquet",
        parquet({"x": nested(images, ["list"] * 2), "n": [1, 2], "f": np.float32([0.5, 1]), "b": [True, False], "y": ["é", "b"]}),
    )
    assert data.format == "parquet"
    assert data.columns() == [
        Column(name="x", type="uint8", shape=[2, 2]),
        Column(name="n", type="int64", shape=[]),
        Column(name="f", type="float32", shape=[]),
        Column(name="b", type="bool", shape=[]),
        Column(name="y", type="string", shape=[]),
    ]
    assert list(data.splits) == ["train"]
    assert data.classes() == ["b", "é"]
    assert (data.splits["train"].columns["x"] == images).all()


def test_categories_are_their_values(upload):
    content = parquet(
        {"word": pa.array(["b", "a", "b"]).dictionary_encode(), "number": pa.DictionaryArray.from_arrays([1, 0, 1], pa.array([30, 20]))}
    )
    columns = upload("a.parquet", content).splits["train"].columns
    assert columns["word"].tolist() == ["b", "a", "b"]
    assert columns["number"].tolist() == [20, 30, 20]


def test_many_batches_row_groups_and_dictionaries_are_one_table(upload):
    """Large enough for several batches in each row group, with text that outgrows its dictionary on the way."""
    rows = 60_000
    x = np.random.default_rng(0).normal(size=(rows, 50)).astype(np.float32)
    words = [f"{'w' * 30}{i * 7919 % 50_000}" for i in range(rows)]
    content = parquet({"x": nested(x, ["list"]), "text": words}, row_group_size=45_000, dictionary_pagesize_limit=10_000)
    columns = upload("a.parquet", content).splits["train"].columns
    assert (columns["x"] == x).all()
    assert columns["text"].tolist() == words


def test_a_text_that_many_rows_share_is_one(upload):
    words = upload("a.parquet", parquet({"t": ["x" * 1000] * 5000})).splits["train"].columns["t"]
    assert len({id(word) for word in words}) == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (pa.array([1, None, 3]), "row 2, column `x` is null"),
        (pa.array(["a", "b", None]), "row 3, column `x` is null"),
        (pa.array(["a", None]).dictionary_encode(), "row 2, column `x` is null"),
        (pa.array([[1], None]), "row 2, column `x` is null"),
        (pa.array([[1, 2], [3, None]]), "row 2, column `x` is null inside a list"),
        (pa.array([[[1], [2]], [[3], None]]), "row 2, column `x` is null inside a list"),
        (pa.array([[[1], [2]], [[3], [None]]]), "row 2, column `x` is null inside a list"),
        (pa.array([[1, 2], [3, 4], [5]]), "row 3, column `x` holds a list of 1 where others have 2"),
        (pa.array([[[1], [2]], [[3], [4, 5]]]), "row 2, column `x` holds a list of 2 where others have 1"),
        (pa.array([[], []], pa.list_(pa.int32())), "row 1, column `x` holds an empty list"),
        (pa.array([1.0, float("nan")]), "row 2, column `x` of split train holds NaN"),
        (pa.array([[1.0], [float("inf")]]), "row 2, column `x` of split train holds infinity"),
        (pa.array([None, None]), "column `x` holds `null`"),
        (pa.array([decimal.Decimal("1.5")]), "column `x` holds `decimal128(2, 1)`"),
        (pa.array([datetime.date(2024, 1, 2)]), "column `x` holds `date32[day]`"),
        (pa.array([datetime.datetime(2024, 1, 2)]), "column `x` holds `timestamp[us]`"),
        (pa.array([datetime.time(1)]), "column `x` holds `time64[us]`"),
        (pa.array([datetime.timedelta(1)]), "column `x` holds `duration[us]`"),
        (pa.array([{"a": 1}]), "column `x` holds `struct<a: int64>`"),
        (pa.array([[{"a": 1}]]), "column `x` holds `list<element: struct<a: int64>>`"),
        (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), "column `x` holds `map<string, int64"),
        (pa.array([b"a"]), "column `x` holds `binary`"),
        (pa.array([b"ab"], pa.binary(2)), "column `x` holds `fixed_size_binary[2]`"),
        (pa.array([[["a"]]]), "column `x` holds `list<element: list<element: string>>`"),
        (pa.array([b"a"]).dictionary_encode(), "column `x` holds `dictionary<values=binary"),
        (pa.array(["a\0"]), "row 1, column `x` holds text that is not UTF-8 or has a NUL character"),
    ],
)
def test_values_that_make_no_array_are_refused(refusal, values, said):
    assert said in refusal("a.parquet", parquet({"x": values}))


def test_a_bad_value_far_down_is_named_by_its_row(refusal):
    rows = 3_000_000
    numbers = pa.array(np.arange(rows), mask=np.arange(rows) == 2_999_990)
    assert "row 2,999,991".replace(",", "") in refusal("a.parquet", parquet({"x": numbers}, row_group_size=1_000_000))
    lists = nested(np.zeros((9000, 1000), dtype=np.uint8), ["list"])
    late = pa.chunked_array([lists, nested(np.zeros((10, 7), dtype=np.uint8), ["list"])]).combine_chunks()
    for size in (9000, 1_000_000):
        said = refusal("a.parquet", parquet({"x": late}, row_group_size=size))
        assert "row 9001, column `x` holds" in said
        assert said.endswith(("a list of 7 where others have 1000", "lists of shape [7] where others have [1000]"))


def test_text_that_is_not_utf8_is_refused_with_its_row(refusal):
    for words in ([b"good", b"caf\xe9", b"good"], [b"good", b"\xed\xa0\x80"]):
        assert "row 2, column `x` holds text that is not UTF-8" in refusal("a.parquet", parquet({"x": _claimed_text(words)}))


def _claimed_text(words):
    binary = pa.array(words, pa.binary())
    return pa.StringArray.from_buffers(len(words), binary.buffers()[1], binary.buffers()[2])


def test_names_are_checked(refusal):
    assert "column 2 has no name" in refusal("a.parquet", parquet({"a": [1], "": [2]}))
    twice = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), twice)
    assert "two columns are called `a`" in refusal("a.parquet", twice.getvalue())
    assert "`__index_level_0__` is the row index of pandas" in refusal("a.parquet", parquet({"a": [1], "__index_level_0__": [7]}))


def test_no_rows_or_columns_are_refused(refusal):
    assert "no rows" in refusal("a.parquet", parquet({"a": pa.array([], pa.int64())}))
    assert "no rows, or no columns" in refusal("a.parquet", parquet({}))


def test_an_empty_label_is_refused_with_its_row(refusal):
    assert "row 2, column `label` of split train is empty" in refusal("a.parquet", parquet({"label": ["a", ""]}))


def test_columns_rows_and_memory_are_bounded(refusal):
    assert "2 columns; at most 1" in refusal("a.parquet", parquet({"a": [1], "b": [2]}), Limits(max_columns=1))
    assert "more than 3 rows" in refusal("a.parquet", parquet({"a": [1] * 4}), Limits(max_rows=3))
    assert "its values take 78 KiB" in refusal("a.parquet", parquet({"a": [1] * 10_000}), Limits(max_bytes=50_000))
    assert "as arrays" in refusal("a.parquet", parquet({"a": ["x"] * 1000}), Limits(max_bytes=50_000))
    assert "unpacks to" in refusal(
        "a.parquet", parquet({"a": ["x" * 1000] * 10 + ["y" * 90_000]}, compression="zstd"), Limits(max_bytes=50_000)
    )
