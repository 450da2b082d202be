"""CSV with a header line, through Arrow: every column becomes int64, float64, bool or text."""

import re
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

from contract.errors import InvalidData
from datafiles.checks import check_names
from datafiles.limits import TEXT_BYTES, Limits
from datafiles.refusal import plain, refuse, shown
from datafiles.sniff import HEAD, require_text
from datafiles.table import Array, Table
from datafiles.text import check_text, record_lines

if TYPE_CHECKING:
    import pyarrow as pa

KEPT = ("int64", "double", "bool", "string")  # of the types Arrow infers; a date or time stays the text it was
DELIMITERS = {b";": "semicolons", b"\t": "tabs", b"|": "bars"}


def read(file: BinaryIO, limits: Limits) -> dict[str, Table]:
    """One split, train. Raises InvalidData with the line, or the row (from 1, the header not counted) and the column."""
    require_text(file.read(HEAD), ".csv")
    check_text(file, _count_columns(file, limits), limits)
    table = _parse(file, limits, {})
    check_names(name.strip() for name in table.column_names)
    if table.num_rows == 0:
        raise _no_rows()
    kinds = dict(zip(table.column_names, map(str, table.schema.types), strict=True))
    odd = [name for name, kind in kinds.items() if kind not in (*KEPT, "null")]
    if odd:
        table = _parse(file, limits, dict.fromkeys(odd, "string"))
    limits.check_arrays(table.num_rows * TEXT_BYTES * sum(str(kind) == "string" for kind in table.schema.types))
    return {"train": Table({name.strip(): _array(name.strip(), table.column(name)) for name in kinds})}


def _count_columns(file: BinaryIO, limits: Limits) -> int:
    """The number of cells in the header, bounded before Arrow makes a column of each."""
    file.seek(0)
    head = file.read(limits.max_line_bytes)
    found = re.search(rb"([^\r\n]+)([\r\n]?)", head)
    if found is None:
        raise _no_rows()
    header, end = found.groups()
    if b"," not in header:
        for delimiter, spoken in DELIMITERS.items():
            if delimiter in header:
                raise refuse(
                    f"the header line has no commas but {spoken}", f"Save the file with commas, not {spoken}, between the columns."
                )
    count = header.count(b",") + 1
    limits.check_columns(count)
    if not end:  # Arrow would complain of an empty block either way
        raise _too_long(limits) if len(head) == limits.max_line_bytes else _no_rows()
    return count


def _parse(file: BinaryIO, limits: Limits, types: dict[str, str]) -> "pa.Table":
    from pyarrow import ArrowInvalid, OSFile, csv  # late: the API stays small until the first CSV

    ragged: list[Any] = []

    def on_ragged(row: Any) -> str:
        ragged.append(row)
        return "error"

    def attempt(threads: bool) -> "pa.Table":
        return csv.read_csv(
            OSFile(file.name),  # its own: after an error Arrow reads ahead for a while, and would move the place of the next attempt
            read_options=csv.ReadOptions(use_threads=threads, block_size=limits.max_line_bytes),
            parse_options=csv.ParseOptions(newlines_in_values=True, invalid_row_handler=on_ragged),
            convert_options=csv.ConvertOptions(column_types=types, strings_can_be_null=False),
        )

    try:
        return attempt(threads=True)
    except ArrowInvalid:
        ragged.clear()
    # Again on one thread: only then does Arrow know the number of the row it stopped at.
    try:
        return attempt(threads=False)
    except ArrowInvalid as error:
        if ragged:
            raise _ragged(ragged[0], file) from error
        if "straddling" in str(error) or "block size" in str(error):
            raise _too_long(limits) from error
        raise refuse(f"the file cannot be read as CSV: {plain(error)}", "Save it again as CSV with a header line.") from error


def _ragged(row: Any, file: BinaryIO) -> InvalidData:
    line = next(islice(record_lines(file), row.number - 1, None), row.number)
    cells = "1 cell" if row.actual_columns == 1 else f"{row.actual_columns} cells"
    hint = "Give every line as many cells as the header, and put cells with commas in quotes."
    return refuse(f"line {line} has {cells}; the header has {row.expected_columns}", hint)


def _too_long(limits: Limits) -> InvalidData:
    return refuse(f"a line is longer than {limits.max_line_bytes:,} bytes", "Shorten it, or use .npz for wide rows.")


def _no_rows() -> InvalidData:
    return refuse("the file has no rows, or only a header", "Upload a file with a header line and at least one row.")


def _array(name: str, values: "pa.ChunkedArray") -> Array:
    if values.null_count == len(values):
        raise refuse(f"column {shown(name)} is empty in every row", "Fill it in, or leave the column out.")
    if values.null_count:
        row = int(values.is_null().to_numpy().argmax()) + 1
        detail = f"row {row}, column {shown(name)} is empty (or says NA, NaN or null)"
        raise refuse(detail, "Fill in the missing values, or remove such rows.")
    array: Array = values.to_numpy()
    return array
