"""JSON lines: types per column, lists of one shape, and the line and column of what is wrong."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from contract.column import Column
from datafiles import Limits
from datafiles.jsonl import CHUNK_ROWS

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
NAMES = st.text("abcdefg äß_-.", min_size=1, max_size=20)
COLUMN = st.sampled_from([st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), WORDS])


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@st.composite
def tables(draw):
    rows = draw(st.integers(1, 6))
    columns = {
        name: draw(st.lists(draw(COLUMN), min_size=rows, max_size=rows))
        for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    }
    shape = (rows, *draw(hnp.array_shapes(max_dims=3, max_side=3)))
    columns["array"] = draw(
        hnp.arrays(draw(st.sampled_from(["int64", "float64"])), shape, elements={"allow_nan": False, "allow_infinity": False})
    ).tolist()
    return columns


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(columns=tables())
def test_any_table_comes_back_the_same(upload, columns):
    content = lines(*(dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)))
    read = upload("a.jsonl", content).splits["train"].columns
    assert {name: values.tolist() for name, values in read.items()} == columns


def test_every_column_gets_its_own_type(upload):
    data = upload(
        "a.jsonl", lines({"n": 1, "f": 0.5, "b": True, "t": "é", "x": [[1, 2]]}, {"x": [[3, 4.5]], "t": "", "b": False, "f": 2, "n": -1})
    )
    assert data.format == "jsonl"
    assert data.columns() == [
        Column(name="n", type="int64", shape=[]),
        Column(name="f", type="float64", shape=[]),
        Column(name="b", type="bool", shape=[]),
        Column(name="t", type="string", shape=[]),
        Column(name="x", type="float64", shape=[1, 2]),
    ]
    assert data.splits["train"].columns["f"].tolist() == [0.5, 2.0]
    assert data.splits["train"].columns["x"].tolist() == [[[1.0, 2.0]], [[3.0, 4.5]]]


def test_blank_lines_line_ends_and_byte_order_mark_do_no_harm(upload):
    assert upload("a.jsonl", '\ufeff{"a": 1}\r\n\r\n  \n{"a": 2}').splits["train"].columns["a"].tolist() == [1, 2]


def test_types_meet_across_chunks(upload, refusal):
    many = lines({"a": 1}) * CHUNK_ROWS
    column = upload("a.jsonl", many + lines({"a": 0.5})).splits["train"].columns["a"]
    assert column.dtype == np.float64
    assert column[-1] == 0.5
    late = CHUNK_ROWS + 1
    assert f"line {late}, column `a` holds text where others hold numbers" in refusal("a.jsonl", many + lines({"a": "x"}))
    assert f"line {late}, column `a` holds lists of numbers of shape [1]" in refusal("a.jsonl", many + lines({"a": [1]}))
    assert f"line {late} lacks `a` and has `b` too" in refusal("a.jsonl", many + lines({"b": 1}))
    assert f"line {late + 1}, column `a` is null" in refusal("a.jsonl", many + lines({"a": 1}, {"a": None}))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ('{"a": 1, "b": 2', "line 3 is not JSON"),
        ("[1, 2]", "line 3 is a JSON list, not an object"),
        ("3", "line 3 is a JSON int, not an object"),
        ("{}", "line 3 is an empty object"),
        ('{"a": 1}', "line 3 lacks `b`"),
        ('{"a": 1, "b": 2, "c": 3}', "line 3 has `c` too"),
        ('{"a": 1, "b": 2, "a": 3}', "line 3 cannot be used: the key `a` is there twice"),
        ('{"a": NaN, "b": 2}', "line 3 cannot be used: NaN"),
        ('{"a": -Infinity, "b": 2}', "line 3 cannot be used: -Infinity"),
        ('{"a": 1e999, "b": 2}', "line 3, column `a` holds a number beyond what a float can be: infinity"),
        ('{"a": 1, "b": null}', "line 3, column `b` is null"),
        ('{"a": 1, "b": "two"}', "line 3, column `b` holds text where others hold numbers"),
        ('{"a": 1, "b": true}', "line 3, column `b` holds true/false where others hold numbers"),
        ('{"a": 1, "b": [2]}', "line 3, column `b` holds lists where others hold numbers"),
        ('{"a": 1, "b": {"c": 2}}', "line 3, column `b` holds objects"),
        ('{"a": 9223372036854775808, "b": 2}', "line 3, column `a` holds an integer beyond 64 bits"),
        ('{"a": -9223372036854775809, "b": 2}', "line 3, column `a` holds an integer beyond 64 bits"),
        ('{"a": ' + "9" * 5000 + ', "b": 2}', "line 3 cannot be used"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + ', "b": 2}', "line 3 is nested too deeply"),
        (b'{"a": 1, "b": "\xe9"}', "line 3 is not UTF-8 at byte 16"),
    ],
)
def test_a_bad_line_is_refused_with_its_number(refusal, bad, said):
    bad = bad.encode() if isinstance(bad, str) else bad
    assert said in refusal("a.jsonl", b'{"a": 1, "b": 2}\n\n' + bad + b'\n{"a": 1, "b": 2}\n')


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ([1, 2], [1, 2, 3], "line 2, column `x` holds a list of 3 where others have 2"),
        ([[1, 2], [3, 4]], [[1, 2], [3]], "line 2, column `x` holds a list of 1 where others have 2"),
        ([[1], [2]], [1, 2], "line 2, column `x` holds numbers inside a list where others hold lists"),
        ([1, 2], [1, "2"], "line 2, column `x` holds text inside a list"),
        ([1, 2], [1, None], "line 2, column `x` is null inside a list"),
        ([1, 2], [1, True], "line 2, column `x` holds true/false inside a list"),
        ([True], [False], "line 1, column `x` holds true/false inside a list"),
        ([1, 2], [1, 2**63], "line 2, column `x` holds an integer beyond 64 bits"),
        ([0.5, 2], [1, 2**63], "line 2, column `x` holds an integer beyond 64 bits"),
        ([0.5, 2], [1, 10**400], "line 2, column `x` holds an integer beyond 64 bits"),
        ([], [], "line 1, column `x` holds an empty list"),
        ([[[[[[[[1]]]]]]]], [[[[[[[[1]]]]]]]], "nested deeper than 7"),
        (None, None, "line 1, column `x` is null"),
        ({"a": 1}, {"a": 1}, "line 1, column `x` holds objects"),
        ("a", "\ud800", "line 2, column `x` holds text with a NUL or half a character"),
        ("a", "b\0", "line 2, column `x` holds text with a NUL or half a character"),
    ],
)
def test_values_that_make_no_array_are_refused(refusal, first, second, said):
    assert said in refusal("a.jsonl", lines({"x": first}, {"x": second}))


@pytest.mark.parametrize(
    ("name", "said"), [("", "column 1 has no name"), ("x" * 201, "longer than 200"), ("a\n", "control"), ("\ud800", "control")]
)
def test_names_are_checked(refusal, name, said):
    assert said in refusal("a.jsonl", lines({name: 1}))


def test_an_empty_label_is_refused_with_its_row(refusal):
    assert "row 2, column `label` of split train is empty" in refusal("a.jsonl", lines({"label": "a"}, {"label": ""}))


def test_blank_lines_alone_are_no_rows(refusal):
    assert "no rows" in refusal("a.jsonl", "\n \n")


def test_lines_columns_rows_and_memory_are_bounded(refusal):
    row = lines({"a": 1, "b": "x"})
    assert "line 2 is longer than 100 bytes" in refusal("a.jsonl", row + " " * 101 + row, Limits(max_line_bytes=100))
    assert "2 columns; at most 1" in refusal("a.jsonl", row, Limits(max_columns=1))
    assert "more than 3 rows" in refusal("a.jsonl", row * 4, Limits(max_rows=3))
    assert "as arrays" in refusal("a.jsonl", '{"x":[' + "0," * 999 + "0]}\n", Limits(max_bytes=4000))
