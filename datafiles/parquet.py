"""Parquet, through Arrow: every column keeps its number type, bool or text; lists of one shape become arrays."""

from typing import BinaryIO

from datafiles.checks import check_names
from datafiles.limits import TEXT_BYTES, Limits
from datafiles.parquet_columns import Column, Kind, kind_of
from datafiles.parquet_layout import AGAIN, Chunk, read_layout
from datafiles.refusal import plain, refuse, shown
from datafiles.table import Array, Table
from datafiles.thrift import DamagedError

BATCH_BYTES = 16 * 2**20  # unpacked at once, beside the arrays that are filled
POINTER = 8


def read(file: BinaryIO, limits: Limits) -> dict[str, Table]:
    """One split, train. Raises InvalidData with the row (from 1) and the column."""
    import pyarrow as pa  # late: the API stays small until the first Parquet file

    try:
        return {"train": Table(_read(file, limits))}
    except DamagedError as error:
        raise refuse(f"the Parquet file is damaged: {error}", AGAIN) from error
    # Broken files make Arrow raise all of these; a name that is not UTF-8 is a ValueError.
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise refuse(f"the file cannot be read as Parquet: {plain(error)}", AGAIN) from error


def _read(file: BinaryIO, limits: Limits) -> dict[str, Array]:
    layout, size = read_layout(file)
    limits.check_rows(layout.rows)
    limits.check_columns(len(layout.columns))
    import pyarrow.parquet as pq

    # From here on nothing may ask pyarrow for `.metadata`: some broken files make it end the process (a plaintext footer with
    # encrypted columns, for one).
    schema = pq.ParquetFile(file).schema_arrow
    check_names(schema.names)
    kinds = {field.name: kind_of(field) for field in schema}
    if layout.rows == 0 or not kinds:
        raise refuse("the file has no rows, or no columns", "Upload a file with at least one row.")
    # A column that is one value or list to Arrow is one chain of pages, so they go by position.
    if len(layout.columns) != len(kinds):
        raise DamagedError("its schema and its row groups have different columns")
    chunks = dict(zip(kinds, layout.columns, strict=True))
    _check_sizes(kinds, chunks, layout.rows, size, limits)
    # Text comes as a dictionary: a long one that every row repeats is in the file once, and stays one in memory.
    texts = [name for name, kind in kinds.items() if kind.dtype is None]
    for name in texts:
        if chunks[name].delta is not None:  # Arrow makes no dictionary of these, and would write every repetition out
            hint = "Write text plain or with a dictionary, as pandas, Polars and Arrow do by themselves."
            raise refuse(f"the text of column {shown(name)} is written as {chunks[name].delta}", hint)
    source = pq.ParquetFile(file, read_dictionary=texts, pre_buffer=False, buffer_size=2**20, page_checksum_verification=True)
    at_once = BATCH_BYTES * layout.rows // sum(max(chunk.values * POINTER, chunk.size) for chunk in layout.columns)
    columns = [Column(name, kind, layout.rows, limits) for name, kind in kinds.items()]
    done = 0
    for batch in source.iter_batches(batch_size=max(1, at_once)):
        done += len(batch)
        if done > layout.rows:
            break
        for column, values in zip(columns, batch.columns if len(batch) else [], strict=False):
            column.fill(values, done - len(batch))
    if done != layout.rows:
        raise DamagedError(f"it declares {layout.rows:,} rows, but others come out of it")
    return {column.name: column.array for column in columns}


def _check_sizes(kinds: dict[str, Kind], chunks: dict[str, Chunk], rows: int, size: int, limits: Limits) -> None:
    numbers = sum(chunks[name].values * kind.dtype.itemsize for name, kind in kinds.items() if kind.dtype is not None)
    texts = rows * sum(kind.dtype is None for kind in kinds.values())
    limits.check_unpacked(sum(chunk.size for chunk in chunks.values()), size)
    limits.check_arrays(numbers + texts * TEXT_BYTES)
    # However long a run of one value is, it takes no room in the file.
    limits.check_unpacked(numbers + texts * POINTER, size)
