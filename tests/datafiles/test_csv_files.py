"""CSV: types per column, and the line, row and column of what is wrong."""

import pytest

from contract.column import Column
from datafiles import Limits
from datafiles.limits import TEXT_BYTES


def values(data, column):
    return data.splits["train"].columns[column].tolist()


def test_every_column_gets_its_own_type(upload):
    data = upload("a.csv", "whole,part,flag,label\n1,0.5,true,cat\n-2,3,False,dog\n")
    assert data.columns() == [
        Column(name="whole", type="int64", shape=[]),
        Column(name="part", type="float64", shape=[]),
        Column(name="flag", type="bool", shape=[]),
        Column(name="label", type="string", shape=[]),
    ]
    assert values(data, "whole") == [1, -2]
    assert values(data, "part") == [0.5, 3.0]
    assert values(data, "flag") == [True, False]
    assert values(data, "label") == ["cat", "dog"]


def test_a_type_found_only_far_down_holds_for_the_whole_column(upload):
    content = "a,label\n" + "1,x\n" * 5000 + "1.5,x\n"
    column = upload("a.csv", content, Limits(max_line_bytes=1000)).splits["train"].columns["a"]
    assert column.dtype == "float64"
    assert column[-1] == 1.5


def test_dates_and_times_stay_the_text_they_were(upload):
    data = upload("a.csv", "day,hour,moment,n\n2024-01-02,12:30:00,2024-01-02T10:00Z,1\n2024-01-03,11:00:00,2024-01-03T10:00Z,2\n")
    assert values(data, "day") == ["2024-01-02", "2024-01-03"]
    assert values(data, "hour") == ["12:30:00", "11:00:00"]
    assert values(data, "moment") == ["2024-01-02T10:00Z", "2024-01-03T10:00Z"]
    assert values(data, "n") == [1, 2]


def test_quoted_cells_may_hold_commas_quotes_and_line_ends(upload):
    data = upload("a.csv", 'text,label\n"a, ""b""\nc",1\n"",0\n')
    assert values(data, "text") == ['a, "b"\nc', ""]


@pytest.mark.parametrize("content", ["\ufeffa,b\n1,2\n", "a,b\r\n1,2\r\n", "a,b\r1,2\r", "a , b\n1,2", "\n\na,b\n\n1,2\n\n"])
def test_byte_order_mark_line_ends_spaces_and_blank_lines_do_no_harm(upload, content):
    data = upload("a.csv", content)
    assert (values(data, "a"), values(data, "b")) == ([1], [2])


def test_one_column_needs_no_comma(upload):
    assert values(upload("a.csv", "y\n1\n2\n"), "y") == [1, 2]


@pytest.mark.parametrize("bad", ["3", "3,4,5"])
def test_ragged_rows_are_refused_with_their_line(refusal, bad):
    cells = "3 cells" if "," in bad else "1 cell"
    assert refusal("a.csv", f"a,b\n1,2\n{bad}\n5,6\n") == f"line 3 has {cells}; the header has 2"
    assert f"line 8 has {cells}" in refusal("a.csv", f'a,b\n\n"x\n\ny",2\n\n1,2\n{bad}\n')
    assert f"line 2002 has {cells}" in refusal("a.csv", "a,b\n" + "1,2\n" * 2000 + bad, Limits(max_line_bytes=100))


def test_names_are_checked(refusal):
    assert "two columns are called `a`" in refusal("a.csv", "a,b,a\n1,2,3\n")
    assert "two columns are called `a`" in refusal("a.csv", "a, a\n1,2\n")
    assert "column 1 has no name" in refusal("a.csv", ",a\n0,1\n")
    assert "column 2 has no name" in refusal("a.csv", "a,\n0,1\n")
    assert "column 1" in refusal("a.csv", "x" * 201 + ",b\n1,2\n")
    assert r"`a\nb`, has control characters" in refusal("a.csv", '"a\nb",c\n1,2\n')


@pytest.mark.parametrize("cell", ["", "NA", "NaN", "null", '""'])
def test_missing_numbers_are_refused_with_row_and_column(refusal, cell):
    content = "age,label\n" + "1,x\n" * 16 + f"{cell},x\n2,x\n"
    assert "row 17, column `age` is empty" in refusal("a.csv", content)


def test_missing_truth_values_are_refused(refusal):
    assert "row 2, column `a` is empty" in refusal("a.csv", "a,b\ntrue,1\n,2\n")


def test_a_column_without_any_value_is_refused(refusal):
    assert refusal("a.csv", "a,b\n1,\n2,\n") == "column `b` is empty in every row"


def test_infinity_is_refused_with_row_and_column(refusal):
    assert "row 2, column `a` of split train holds infinity" in refusal("a.csv", "a,b\n1.5,1\ninf,2\n")
    assert "row 1, column `a` of split train holds infinity" in refusal("a.csv", "a,b\n1e999,1\n")


@pytest.mark.parametrize("label", ["label", "y"])
def test_empty_labels_are_refused(refusal, label):
    assert f"row 2, column `{label}` of split train is empty" in refusal("a.csv", f"a,{label}\n1,cat\n2,\n3,dog\n")


def test_empty_text_that_is_no_label_is_just_empty(upload):
    assert values(upload("a.csv", "text,label\nhello,1\n,0\n"), "text") == ["hello", ""]


@pytest.mark.parametrize(("delimiter", "spoken"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_another_delimiter_is_refused_by_name(refusal, delimiter, spoken):
    assert refusal("a.csv", f"a{delimiter}b\n1{delimiter}2,5\n") == f"the header line has no commas but {spoken}"


@pytest.mark.parametrize("content", ["a,b\n", "a,b", "a,b\n\n\n", "\n\n"])
def test_a_header_alone_is_refused(refusal, content):
    assert "no rows" in refusal("a.csv", content)


def test_broken_utf8_is_refused_with_line_and_byte(refusal):
    assert refusal("a.csv", b"a,b\n1,x\n2,caf\xe9\n") == "line 3 is not UTF-8 (byte 13 of the file)"
    assert refusal("a.csv", b"a,b\n1,x\xc3") == "line 2 is not UTF-8 (byte 7 of the file)"
    # A character that the end of a block cuts in two is whole, unless its second half is wrong.
    far = b"a,b\n1," + b"x" * (2**20 - 7)
    assert refusal("a.csv", far + b"\xc3x\n") == f"line 2 is not UTF-8 (byte {2**20 - 1} of the file)"


def test_characters_across_blocks_are_whole(upload):
    assert values(upload("a.csv", "a,b\n1," + "x" * (2**20 - 7) + "é\n"), "b")[0].endswith("xé")


def test_nul_characters_are_refused_with_their_line(refusal):
    assert refusal("a.csv", b"a,b\n" + b"1,x\n" * 200 + b"2,\0\n") == "line 202 has a NUL character"


def test_a_quote_left_open_does_not_swallow_the_rest(refusal):
    assert refusal("a.csv", 'a,b\n1,x\n2,"y\n3,z\n4,w\n') == 'a quote (") that opens in line 3 is never closed'


def test_what_was_refused_is_read_again_from_its_start(refusal):
    """Arrow reads ahead after an error, on a thread of its own: that moved the place of the second attempt, once in forty times."""
    for _ in range(100):
        assert "a line is longer" in refusal("a.csv", "a,b\n1," + "x" * 500 + "\n" + "3\n" * 500, Limits(max_line_bytes=100))


def test_lines_columns_rows_and_memory_are_bounded(refusal):
    assert "a line is longer than 100 bytes" in refusal("a.csv", "a,b\n1," + "x" * 500 + "\n2,y\n", Limits(max_line_bytes=100))
    assert "a line is longer than 100 bytes" in refusal("a.csv", "a," + "b" * 500 + "\n2,y\n", Limits(max_line_bytes=100))
    assert "a line is longer than 100 bytes" in refusal("a.csv", "a,b\n1," + "x" * 500 + "\n" + "3\n" * 500, Limits(max_line_bytes=100))
    assert "10,001 columns; at most 10,000" in refusal("a.csv", "," * 10_000 + "\n")
    assert "more than 3 rows" in refusal("a.csv", "a,b\n" + "1,2\n" * 4, Limits(max_rows=3))
    assert "its values take 976 KiB" in refusal("a.csv", "a,b\n" + "1,2\n" * 62_500, Limits(max_bytes=500_000))
    words = Limits(max_bytes=1000 * TEXT_BYTES - 1)
    assert "as arrays" in refusal("a.csv", "b\n" + "x\n" * 1000, words)
