"""Files packed with gzip: every format may be, within the same limits."""

import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datafiles import FORMATS, Limits

CSV = b"a,label\n1,x\n2,y\n"


@pytest.mark.parametrize("name", ["a.csv.gz", "A.CSV.GZ"])
def test_a_packed_file_reads_like_the_plain_one(upload, name):
    data = upload(name, gzip.compress(CSV))
    assert data.format == "csv"
    assert data.splits["train"].columns["a"].tolist() == [1, 2]


def parquet():
    buffer = io.BytesIO()
    pq.write_table(pa.table({"a": [1, 2], "label": ["x", "y"]}), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("format", [format for format in FORMATS if format != "txt"])  # which has one column and no label
def test_every_format_may_be_packed(upload, npz, format):
    contents = {
        "npz": lambda: npz(a=[1, 2], label=["x", "y"]),
        "csv": lambda: CSV,
        "jsonl": lambda: b'{"a": 1, "label": "x"}\n{"a": 2, "label": "y"}\n',
        "parquet": parquet,
    }
    plain = contents[format]()
    data = upload(f"a.{format}.gz", gzip.compress(plain))
    assert data.format == format
    assert data.columns() == upload(f"a.{format}", plain).columns()
    assert data.splits["train"].columns["a"].tolist() == [1, 2]
    assert data.classes() == ["x", "y"]


def test_several_gzip_parts_are_one_file(upload):
    assert upload("a.csv.gz", gzip.compress(CSV) + gzip.compress(b"3,z\n")).splits["train"].rows == 3


def test_what_is_not_gzip_is_refused(refusal):
    assert refusal("a.csv.gz", CSV) == "the file says .gz but is not gzip; it starts like text"


def test_gzip_without_the_ending_is_refused(refusal):
    assert refusal("a.csv", gzip.compress(CSV)) == "the file says .csv but starts like gzip"


def test_truncated_and_damaged_gzip_is_refused(refusal):
    content = gzip.compress(CSV * 100)
    assert "ends too early" in refusal("a.csv.gz", content[:-9])
    assert "damaged: CRC check failed" in refusal("a.csv.gz", content[:-8] + b"\0" * 8)
    assert "damaged" in refusal("a.csv.gz", content + b"trailing rubbish")
    assert "damaged" in refusal("a.csv.gz", content[:20] + b"\xff" * 20 + content[40:])


def test_gzip_of_nothing_is_refused(refusal):
    assert "holds nothing" in refusal("a.csv.gz", gzip.compress(b""))


def test_a_bomb_is_refused_on_the_way(refusal):
    content = gzip.compress(b"0\n" * (50 * 2**20))
    assert "65 MiB or more: over 200 times the size" in refusal("a.csv.gz", content)
    assert "unpacks to 3 MiB or more; at most 2 MiB" in refusal("a.csv.gz", content, Limits(max_bytes=2 * 2**20))
