"""The name decides the format, and the content has to keep its word."""

import pytest

from contract.errors import InvalidData
from datafiles import FORMATS, Limits, read


@pytest.mark.parametrize("name", ["digits", "digits.feather", "digits.text", "npz", ".gz", "digits.csv.zip", "digits.npz ", ""])
def test_an_unknown_ending_is_refused_with_the_known_ones(refusal, name):
    detail = refusal(name, b"whatever")
    assert f"`{name}`" in detail
    for known in FORMATS:
        assert f".{known}" in detail


def test_a_name_with_escape_codes_is_shown_harmlessly(refusal):
    assert r"`\x1b[2Ja.exe`" in refusal("\x1b[2Ja.exe", b"")


@pytest.mark.parametrize("name", ["a.npz", "a.csv", "a.jsonl", "a.parquet", "a.csv.gz"])
def test_an_empty_file_is_refused(refusal, name):
    assert refusal(name, b"") == "the file is empty (0 bytes)"


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("content", "kind"), [(b"PK\x03\x04", "a zip archive"), (b"\xff\xfea\0,\0", "UTF-16 text"), (b"\x89PNG", "a PNG image")]
)
def test_what_is_not_text_is_called_what_it_is(refusal, ending, content, kind):
    assert f"says .{ending} but starts like {kind}" in refusal(f"a.{ending}", content)


def test_a_file_over_the_limit_is_refused_unread(refusal):
    assert "unpacks to 20 bytes or more; at most 10 bytes" in refusal("a.csv", b"a,b\n" + b"1,2\n" * 4, Limits(max_bytes=10))


def test_a_missing_file_or_a_folder_is_refused(tmp_path):
    for path in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(InvalidData, match="cannot be read") as caught:
            read(path, "a.csv")
        assert caught.value.hint
