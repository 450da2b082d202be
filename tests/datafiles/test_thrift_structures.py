"""Thrift's compact protocol, by the examples of its specification, and what is refused rather than understood in two ways."""

import pytest

from datafiles.thrift import BOOLEAN, BYTES, DEEPEST, I32, I64, LIST, STRUCT, DamagedError, Reader, TooShortError, integer, structs


def test_fields_are_known_by_number_and_type():
    # 1: i32 3; 2: i64 -1; 3: "ab"; 5 (two on): true; 6: a structure with 1: i32 0; 40 (written out): list of i32 1, -2
    data = b"\x15\x06\x16\x01\x18\x02ab\x21\x1c\x15\x00\x00\x09\x50\x25\x02\x03\x00rest"
    reader = Reader(data)
    assert reader.struct() == {
        (1, I32): 3,
        (2, I64): -1,
        (3, BYTES): b"ab",
        (5, 1): None,
        (6, STRUCT): {(1, I32): 0},
        (40, LIST): [1, -2],
    }
    assert data[reader.place :] == b"rest"


def test_lists_of_any_length_hold_any_type():
    assert Reader(b"\x19\xf5\x10" + b"\x02" * 16 + b"\x00").struct() == {(1, LIST): [1] * 16}
    assert Reader(b"\x19\x31\x01\x02\x01\x00").struct() == {(1, LIST): [None] * 3}
    assert Reader(b"\x19\x27" + b"\x00" * 16 + b"\x12\x00").struct() == {(1, LIST): [None] * 2, (2, BOOLEAN): None}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x15\x00\x05\x02\x02\x00", "a field twice"),
        (b"\x15\x00\x06\x02\x02\x00", "a field twice"),  # of another type, which Thrift would pass over
        (b"\x05" + b"\xfe\xff\x03" + b"\x00\x15\x00\x00", "one that cannot be"),  # 32,767 and one more, which Thrift takes for -32,768
        (b"\x15\xff\xff\xff\xff\x1f\x00", "too many bits"),
        (b"\x16" + b"\xff" * 10 + b"\x01\x00", "too many bits"),
        (b"\x1b\x00\x00", "type 11"),
        (b"\x1c" * DEEPEST + b"\x00" * (DEEPEST + 1), "nested too deeply"),
        (b"\x19\x19" + b"\x19" * DEEPEST + b"\x00", "nested too deeply"),
    ],
)
def test_what_could_be_understood_in_two_ways_is_refused(data, said):
    with pytest.raises(DamagedError, match=said):
        Reader(data).struct()


@pytest.mark.parametrize("data", [b"", b"\x15", b"\x15\x80", b"\x18\x05ab\x00", b"\x19\xf5\xff\xff\xff\x7f\x00", b"\x17\x00\x00"])
def test_what_does_not_end_says_so(data):
    with pytest.raises(TooShortError):
        Reader(data).struct()


def test_a_number_of_another_type_or_below_zero_is_none():
    for fields in ({}, {(1, I32): 5}, {(1, I64): -5}):
        with pytest.raises(DamagedError, match="missing or negative"):
            integer(fields, 1)


def test_a_list_of_other_things_is_no_list_of_structures():
    assert structs({(1, LIST): [{}, {}]}, 1) == [{}, {}]
    with pytest.raises(DamagedError, match="holds no structures"):
        structs({(1, LIST): [None, None]}, 1)
