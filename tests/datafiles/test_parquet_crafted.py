"""Parquet files that are cut, encrypted, or made to say one thing and hold another: refused before anything is unpacked."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datafiles import Limits


def varint(number):
    """A number as Thrift's compact protocol writes it."""
    number *= 2
    written = b""
    while number > 127:
        written += bytes([number & 127 | 128])
        number >>= 7
    return written + bytes([number])


def parquet(columns, **options):
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, **{"write_statistics": False, "store_schema": False, "compression": "none"} | options)
    return buffer.getvalue()


def altered(content, old, new, within):
    """The number `old` replaced by `new` wherever it stands in the footer, or in the pages; both must take as many bytes."""
    old, new = varint(old), varint(new)
    assert len(old) == len(new)
    border = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    pages, footer = content[:border], content[border:]
    changed = footer.replace(old, new) if within == "footer" else footer
    pages = pages.replace(old, new) if within == "pages" else pages
    assert pages + changed != content
    return pages + changed


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04", "a zip archive"),
        (b"ARROW1\0\0", "Arrow/Feather"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"a,b\n1,2\n", "text"),
        (b"PAR", "text"),
    ],
)
def test_what_is_no_parquet_is_called_what_it_is(refusal, content, kind):
    assert f"the file says .parquet but is not; it starts like {kind}" in refusal("a.parquet", content)


def test_cut_files_are_refused(refusal):
    content = parquet({"a": [1, 2]})
    for size in (4, 8, 12, len(content) // 2, len(content) - 1):
        assert "ends too early" in refusal("a.parquet", content[:size])
    assert "ends too early" in refusal("a.parquet", b"PAR1" + b"\xff\xff\xff\x0f" + b"PAR1")


def test_a_huge_footer_is_not_even_read(refusal):
    content = b"PAR1" + bytes(17 * 2**20) + (17 * 2**20).to_bytes(4, "little") + b"PAR1"
    assert "the Parquet footer takes 17 MiB; at most 16 MiB" in refusal("a.parquet", content)


@pytest.mark.parametrize("plaintext_footer", [True, False])
def test_encrypted_files_are_refused(refusal, plaintext_footer):
    import pyarrow.parquet.encryption as encryption

    class Keys(encryption.KmsClient):
        def __init__(self, _configuration):
            super().__init__()

        def wrap_key(self, key, _master):
            return key.hex()

        def unwrap_key(self, wrapped, _master):
            return bytes.fromhex(wrapped)

    plan = encryption.EncryptionConfiguration(footer_key="f", column_keys={"c": ["a"]}, plaintext_footer=plaintext_footer)
    secrets = encryption.CryptoFactory(Keys).file_encryption_properties(encryption.KmsConnectionConfig(), plan)
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, pa.schema({"a": pa.int64()}), encryption_properties=secrets) as writer:
        writer.write_table(pa.table({"a": [1, 2]}))
    assert "encrypted" in refusal("a.parquet", buffer.getvalue())


def test_a_footer_that_makes_light_of_a_list_is_refused(refusal):
    """300 bytes that say they hold 15 million numbers, and make Arrow unpack 20 million of them; it could be two thousand million."""
    content = altered(parquet({"x": [np.zeros(20_000_000, dtype=np.int64)]}), 20_000_000, 15_000_000, "footer")
    assert len(content) < 400
    said = refusal("a.parquet", content, Limits(max_expansion=10**9))
    assert said == "the Parquet file is damaged: column `x`: declared are 15,000,000 values, but its pages hold 20,000,000"


def test_a_repetitive_file_may_grow_only_so_far(refusal, upload):
    assert "over 200 times the size" in refusal("a.parquet", parquet({"x": np.zeros(10_000_000, dtype=np.int64)}))
    assert "over 200 times the size" in refusal("a.parquet", parquet({"x": ["w"] * 10_000_000}))
    assert upload("a.parquet", parquet({"x": np.zeros(8_000_000, dtype=np.int64)})).splits["train"].rows == 8_000_000


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_text_that_shares_its_beginnings_is_refused(refusal, encoding):
    """100 kB, and then 49 times a few bytes that say "the same again": Arrow would write them all out."""
    content = parquet({"t": ["x" * 100_000] * 50}, use_dictionary=False, column_encoding={"t": encoding})
    assert f"column `t` is written as {encoding}" in refusal("a.parquet", content)


def test_headers_of_pages_that_make_no_sense_are_refused(refusal):
    content = parquet({"x": list(range(1000))}, use_dictionary=False)
    assert "declared are 1,000 values, but its pages hold 1,001" in refusal("a.parquet", altered(content, 1000, 1001, "pages"))
    assert "its pages end too early" in refusal("a.parquet", altered(content, 1000, 999, "pages"))
    start = 4
    for header in (b"\xff" * 30, b"\x15\x01" * 3, b"\x19\x00", b"\x1c" * 30, b"\x05\x02\x00\x05\x02\x00"):
        broken = content[:start] + header + content[start + len(header) :]
        assert "damaged: column `x`: " in refusal("a.parquet", broken)


def test_text_that_its_dictionary_lacks_is_refused(refusal):
    content = parquet({"t": ["a", "b"]})
    assert content.count(b"L\x15\x04") == 1  # the header of the dictionary: two values
    assert "column `t` has text that its dictionary lacks" in refusal("a.parquet", content.replace(b"L\x15\x04", b"L\x15\x00"))


def test_bad_text_in_a_dictionary_is_refused_also_where_no_row_uses_it(refusal):
    content = parquet({"t": pa.array(["good", "caff", "good"])}).replace(b"caff", b"caf\xe9")
    assert "row 2, column `t` holds text that is not UTF-8" in refusal("a.parquet", content)
    unused = pa.DictionaryArray.from_arrays([0, 0], pa.array(["good", "caff"]))
    content = parquet({"t": unused}).replace(b"caff", b"caf\xe9")
    assert "column `t` has text that no row uses" in refusal("a.parquet", content)


def test_a_file_of_countless_pages_is_refused(refusal, monkeypatch):
    monkeypatch.setattr("datafiles.parquet_layout.MOST_PAGES", 50)
    content = parquet({"x": list(range(1000))}, use_dictionary=False, data_page_size=1, write_batch_size=10)
    assert "more than 50 pages" in refusal("a.parquet", content)


def test_a_metadata_file_without_rows_is_refused(refusal):
    metadata = pq.read_metadata(io.BytesIO(parquet({"x": [1, 2]})))
    metadata.set_file_path("part-0.parquet")
    buffer = io.BytesIO()
    metadata.write_metadata_file(buffer)
    assert "its rows lie in other files" in refusal("a.parquet", buffer.getvalue())


def test_flipped_values_are_found_where_the_writer_left_checksums(refusal):
    x = np.random.default_rng(0).integers(0, 2**60, 100)
    content = bytearray(parquet({"x": x}, use_dictionary=False, write_page_checksum=True))
    content[content.index(x.tobytes()) + 5] ^= 1
    assert "CRC" in refusal("a.parquet", bytes(content))


CHILD = """
import sys
from pathlib import Path
import pyarrow.parquet
from datafiles import read
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) // 1024
before = peak()
read(Path(sys.argv[1]), "a.parquet")
print(peak() - before)
"""


def test_reading_takes_little_more_than_the_arrays(tmp_path: Path):
    """One row group of 100 MiB, in a process of its own: one copy of the values, and a batch with what Arrow needs for it."""
    values = np.random.default_rng(0).integers(0, 255, 100 * 2**20, dtype=np.uint8)
    path = tmp_path / "stored"
    lists = pa.FixedSizeListArray.from_arrays(pa.array(values), 16)
    pq.write_table(pa.table({"x": lists}), path, row_group_size=len(lists), compression="none")
    result = subprocess.run([sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, check=True)
    assert int(result.stdout) < 100 + 170, "a second copy of the values would make 300 with what Arrow's threads hold"
