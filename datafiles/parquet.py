"""Parquet, through Arrow: every column keeps its number type, bool or text; lists of one shape become arrays."""

from typing import BinaryIO

from datafiles.checks import check_names
from datafiles.limits import TEXT_BYTES, Limits
from datafiles.parquet_columns import TEXT, TEXTS, Column, Kind, kind_of
from datafiles.parquet_layout import AGAIN, Chunk, read_layout
from datafiles.refusal import plain, refuse, shown
from datafiles.table import Array, Table
from datafiles.thrift import DamagedError

BATCH_BYTES = 32 * 2**20  # unpacked at once, beside the array that is filled
BUFFER = 2**20  # read at once; Arrow would read a whole column of a row group otherwise
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
    texts = [name for name, kind in kinds.items() if kind == TEXT]
    for name in texts:
        if chunks[name].delta is not None:  # Arrow makes no dictionary of these, and would write every repetition out
            hint = "Write text plain or with a dictionary, as pandas and Arrow do by themselves."
            raise refuse(f"the text of column {shown(name)} is written as {chunks[name].delta}", hint)
    source = pq.ParquetFile(file, read_dictionary=texts, pre_buffer=False, buffer_size=BUFFER, page_checksum_verification=True)
    arrays: dict[str, Array] = {}
    for name, kind in kinds.items():  # one after the other: each that is open takes megabytes beside its array
        column = Column(name, kind, layout.rows, limits)
        groups = list(range(layout.groups))
        at_once = max(1, BATCH_BYTES * layout.rows // max(chunks[name].values * POINTER, chunks[name].size))
        # Arrow's dictionary of a text grows until it is asked for other row groups.
        for some in [[group] for group in groups] if kind.dtype is None else [groups]:
            for batch in source.iter_batches(batch_size=at_once, row_groups=some, columns=[name]):
                column.fill(batch.column(name))
        arrays[name] = column.whole()
    return arrays


def _check_sizes(kinds: dict[str, Kind], chunks: dict[str, Chunk], rows: int, size: int, limits: Limits) -> None:
    numbers = sum(chunks[name].values * kind.dtype.itemsize for name, kind in kinds.items() if kind.dtype is not None)
    texts = rows * sum(kind.dtype is None for kind in kinds.values()) + sum(chunks[name].values for name in kinds if kinds[name] == TEXTS)
    limits.check_unpacked(sum(chunk.size for chunk in chunks.values()), size)
    limits.check_arrays(numbers + texts * TEXT_BYTES)
    # However long a run of one value is, it takes no room in the file.
    limits.check_unpacked(numbers + texts * POINTER, size)
