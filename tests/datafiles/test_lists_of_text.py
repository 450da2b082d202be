"""Lists of text: words of a sentence, labels of a row. They may be of any length, and empty."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contract.column import Column
from datafiles import Limits, encode_lists
from datafiles.jsonl import CHUNK_ROWS

ROWS = [["a", "bé c"], [], ["a", "a", "d"]]


def jsonl(rows):
    return "".join(json.dumps({"x": row}) + "\n" for row in rows)


def parquet(rows, kind=None, **options):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"x": pa.array(rows, kind or pa.list_(pa.string()))}), buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_each_row_is_a_tuple_and_what_stands_in_them_are_the_classes(upload, name):
    data = upload(name, jsonl(ROWS) if name == "a.jsonl" else parquet(ROWS))
    assert data.splits["train"].columns["x"].tolist() == [tuple(row) for row in ROWS]
    assert data.columns() == [Column(name="x", type="strings", shape=[])]
    assert data.classes("x") == ["a", "bé c", "d"]
    assert encode_lists(data.splits["train"].columns["x"], ["a", "bé c", "d"], "data.test") == [[0, 1], [], [0, 0, 2]]


@pytest.mark.parametrize("kind", [pa.large_list(pa.string()), pa.list_(pa.large_string()), pa.list_(pa.dictionary(pa.int8(), pa.string()))])
def test_however_arrow_keeps_them(upload, kind):
    for options in ({}, {"row_group_size": 2}, {"use_dictionary": False}):
        data = upload("a.parquet", parquet(ROWS, kind, **options))
        assert data.splits["train"].columns["x"].tolist() == [tuple(row) for row in ROWS]


def test_equally_long_ones_stay_lists_and_late_empty_ones_fit(upload):
    data = upload("a.jsonl", jsonl([["a", "b"], ["c", "d"]]))
    assert data.splits["train"].columns["x"].tolist() == [("a", "b"), ("c", "d")]
    late = upload("a.jsonl", jsonl([["a"]] * CHUNK_ROWS + [[]] * 3))
    assert late.splits["train"].columns["x"].tolist()[-4:] == [("a",), (), (), ()]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([["a"], "b"], "line 2, column `x` holds text where others hold lists"),
        ([["a"], [1]], "line 2, column `x` holds numbers inside a list where others hold text"),
        ([["a"], [["b"]]], "line 2, column `x` holds lists inside a list where others hold text"),
        ([["a"], [None]], "line 2, column `x` holds null inside a list where others hold text"),
        ([["a"], ["b\0"]], "line 2, column `x` holds text with a NUL or half a character"),
        ([["a"], ["\ud800"]], "line 2, column `x` holds text with a NUL or half a character"),
        ([[1], ["a"]], "line 2, column `x` holds text inside a list"),
        ([["a"]] * CHUNK_ROWS + ["b"], f"line {CHUNK_ROWS + 1}, column `x` holds text where others hold lists of text"),
        ([[], []], "line 1, column `x` holds an empty list"),
        (
            [["a"]] * CHUNK_ROWS + [[1.5]],
            f"line {CHUNK_ROWS + 1}, column `x` holds numbers inside a list where others hold text",
        ),
    ],
)
def test_what_is_no_list_of_text_is_named(refusal, rows, said):
    assert said in refusal("a.jsonl", jsonl(rows))


def test_parquet_names_the_row(refusal):
    assert "row 2, column `x` is null inside a list" in refusal("a.parquet", parquet([["a"], ["b", None]]))
    assert "row 2, column `x` is null" in refusal("a.parquet", parquet([["a"], None]))
    assert "row 2, column `x` holds text with a NUL" in refusal("a.parquet", parquet([["a"], ["b\0"]]))
    assert "holds `list<element: list<element: string>>`" in refusal("a.parquet", parquet([[["a"]]], pa.list_(pa.list_(pa.string()))))


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_their_memory_is_bounded(refusal, name):
    rows = [["w"] * 100] * 100
    assert "as arrays" in refusal(
        name, jsonl(rows) if name == "a.jsonl" else parquet(rows), Limits(max_bytes=300_000, max_expansion=10_000)
    )


def test_a_label_that_is_no_class_is_named(upload):
    data = upload("a.jsonl", jsonl(ROWS))
    with pytest.raises(Exception, match=r"data.test: row 3 has the label .d., which is none of the 2 classes"):
        encode_lists(data.splits["train"].columns["x"], ["a", "bé c"], "data.test")
