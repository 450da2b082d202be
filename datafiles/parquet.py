"""Parquet, through Arrow: every column keeps its number type, bool or text; lists of one shape become arrays.

Nothing is unpacked before the footer and the headers of all pages have said how much it will be, and agree.
"""

from typing import TYPE_CHECKING, Any, BinaryIO

from contract.errors import InvalidData
from datafiles.checks import check_names
from datafiles.limits import TEXT_BYTES, Limits
from datafiles.parquet_columns import Column, Kind, kind_of
from datafiles.parquet_pages import Chunk, DamagedError, PageCounter
from datafiles.refusal import plain, refuse, shown, size_text
from datafiles.sniff import HEAD, looks_like
from datafiles.table import Array, Table

if TYPE_CHECKING:
    import pyarrow.parquet as pq

MAGIC, ENCRYPTED = b"PAR1", b"PARE"
LARGEST_FOOTER = 16 * 2**20  # bytes; Arrow takes many times that for it, and 10,000 columns in one row group need about 5 MiB
BATCH_BYTES = 16 * 2**20  # unpacked at once, beside the arrays that are filled
POINTER = 8
AGAIN = "Upload it again; if that does not help, save it again."
DELTAS = ("DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY")  # Arrow cannot keep repeated texts as one out of these


def read(file: BinaryIO, limits: Limits) -> dict[str, Table]:
    """One split, train. Raises InvalidData with the row (from 1) and the column."""
    size = _check_ends(file)
    import pyarrow as pa  # late: the API stays small until the first Parquet file

    try:
        return {"train": Table(_read(file, size, limits))}
    except DamagedError as error:
        raise refuse(f"the Parquet file is damaged: {error}", AGAIN) from error
    # Broken files make Arrow raise all of these; a name that is not UTF-8 is a ValueError.
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise refuse(f"the file cannot be read as Parquet: {plain(error)}", AGAIN) from error


def _check_ends(file: BinaryIO) -> int:
    """The file's size, once it begins and ends like Parquet and its footer fits in between."""
    head = file.read(HEAD)
    size = file.seek(0, 2)
    file.seek(max(0, size - 8))
    length, end = file.read(4), file.read(4)
    footer = int.from_bytes(length, "little")
    if ENCRYPTED in (head[:4], end):
        raise _encrypted()
    if not head.startswith(MAGIC):
        hint = "Save it with df.to_parquet(path, index=False)."
        raise refuse(f"the file says .parquet but is not; it starts like {looks_like(head)}", hint)
    if end != MAGIC or footer + 12 > size:
        raise refuse("the Parquet file ends too early: it is truncated", AGAIN)
    if footer > LARGEST_FOOTER:
        detail = f"the Parquet footer takes {size_text(footer)}; at most {size_text(LARGEST_FOOTER)} are accepted"
        raise refuse(detail, "Save the file with fewer columns, or in fewer row groups.")
    return size


def _read(file: BinaryIO, size: int, limits: Limits) -> dict[str, Array]:
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(file)
    rows = sum(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
    limits.check_columns(metadata.num_columns)
    limits.check_rows(rows)
    schema = pq.ParquetFile(file, metadata=metadata).schema_arrow
    check_names(schema.names)
    kinds = [kind_of(field) for field in schema]
    if rows < 1 or not kinds:
        raise refuse("the file has no rows, or no columns", "Upload a file with at least one row.")
    chunks = _measured(file, metadata, schema.names, kinds, size)
    _check_sizes(kinds, chunks, rows, size, limits)
    # Text comes as a dictionary: a long one that every row repeats is in the file once, and stays one in memory.
    texts = [name for name, kind in zip(schema.names, kinds, strict=True) if kind.dtype is None]
    source = pq.ParquetFile(file, metadata=metadata, read_dictionary=texts, pre_buffer=False, page_checksum_verification=True)
    at_once = max(1, BATCH_BYTES * rows // sum(max(chunk.values * POINTER, chunk.size) for chunk in chunks))
    columns = [Column(name, kind, rows, limits) for name, kind in zip(schema.names, kinds, strict=True)]
    done = 0
    for batch in source.iter_batches(batch_size=at_once):
        if done + len(batch) > rows:
            break
        if len(batch):
            for column, values in zip(columns, batch.columns, strict=True):
                column.fill(values, done)
        done += len(batch)
    if done != rows:
        raise DamagedError(f"it declares {rows:,} rows, but others come out of it")
    return {column.name: column.array for column in columns}


def _measured(file: BinaryIO, metadata: "pq.FileMetaData", names: list[str], kinds: list[Kind], size: int) -> list[Chunk]:
    """For each column what its pages add up to, once they agree with the footer."""
    # A column that is one value or list to Arrow is one chain of pages, so they go by position.
    if metadata.num_columns != len(names):
        raise DamagedError("its schema and its footer speak of different columns")
    counter = PageCounter(file)
    sums = [Chunk(0, 0)] * len(names)
    for group in (metadata.row_group(i) for i in range(metadata.num_row_groups)):
        for i, name in enumerate(names):
            chunk = _chunk(counter, group.column(i), group.num_rows, name, kinds[i], size)
            sums[i] = Chunk(sums[i].values + chunk.values, sums[i].size + chunk.size)
    return sums


def _chunk(counter: PageCounter, column: Any, rows: int, name: str, kind: Kind, size: int) -> Chunk:
    where = f"column {shown(name)}"
    if column.file_path:
        raise refuse(f"{where} lies in another file", "Upload the file that has the rows, not _metadata.")
    if (kind.dtype is None) and (odd := [encoding for encoding in column.encodings if encoding in DELTAS]):
        raise refuse(f"{where} is written as {odd[0]}", "Write text plain or with a dictionary, as pandas, Polars and Arrow do by default.")
    start, length = column.data_page_offset, column.total_compressed_size
    if column.dictionary_page_offset:
        start = min(start, column.dictionary_page_offset)
    if column.num_values < rows or start < len(MAGIC) or length < 0 or start + length > size:
        raise DamagedError(f"what its footer says of {where} makes no sense")
    try:
        chunk = counter.measure(start, length, column.num_values)
    except DamagedError as error:
        raise DamagedError(f"{where}: {error}") from error
    if chunk.values != column.num_values:
        raise DamagedError(f"{where} declares {column.num_values:,} values, but its pages hold {chunk.values:,}")
    return chunk


def _check_sizes(kinds: list[Kind], chunks: list[Chunk], rows: int, size: int, limits: Limits) -> None:
    numbers = sum(chunk.values * kind.dtype.itemsize for kind, chunk in zip(kinds, chunks, strict=True) if kind.dtype is not None)
    texts = rows * sum(kind.dtype is None for kind in kinds)
    limits.check_unpacked(sum(chunk.size for chunk in chunks), size)
    limits.check_arrays(numbers + texts * TEXT_BYTES)
    # However long a run of one value is, it takes no room in the file.
    limits.check_unpacked(numbers + texts * POINTER, size)


def _encrypted() -> InvalidData:
    return refuse("the Parquet file is encrypted", "Save it without encryption.")
