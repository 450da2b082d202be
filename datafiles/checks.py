"""What must hold of every table, whatever file it came from."""

import re
from collections.abc import Callable, Iterable

import numpy as np

from datafiles.limits import Limits
from datafiles.refusal import refuse, shown
from datafiles.table import Array, DataFile, Table, label_column

LONGEST_NAME = 200
BLOCK = 2**20  # values looked at together, so that the marks stay small beside the data
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # control characters, line separators, half characters


def check_names(names: Iterable[str]) -> None:
    """Refuses column names that are missing, repeated, endless or unprintable."""
    seen: set[str] = set()
    for position, name in enumerate(names, start=1):
        if not name:
            hint = "Name every column in the first line; pandas writes no index column with to_csv(index=False)."
            raise refuse(f"column {position} has no name", hint)
        if len(name) > LONGEST_NAME:
            raise refuse(f"the name of column {position}, {shown(name)}, is longer than {LONGEST_NAME} characters", "Shorten it.")
        if _UNUSABLE.search(name):
            raise refuse(f"the name of column {position}, {shown(name)}, has control characters", "Use printable names.")
        if name in seen:
            raise refuse(f"two columns are called {shown(name)}", "Give every column its own name, in the first line of a table.")
        seen.add(name)


def check(data: DataFile, limits: Limits) -> None:
    """Refuses a file whose splits are empty, uneven or unlike each other, or whose numbers or labels are missing."""
    for split, table in data.splits.items():
        limits.check_columns(len(table.columns))
        _check_rows(split, table, limits)
        for name, values in table.columns.items():
            _check_finite(split, name, values)
        _check_label(split, table)
    data.columns()


def _check_rows(split: str, table: Table, limits: Limits) -> None:
    first = next(iter(table.columns))
    for name, values in table.columns.items():
        if len(values) != table.rows:
            detail = f"split {split}: column {shown(first)} has {table.rows:,} rows but {shown(name)} has {len(values):,}"
            raise refuse(detail, "Every column of a split needs one value for each row.")
    if table.rows == 0:
        raise refuse(f"split {split} has no rows", "Upload a file with at least one row.")
    limits.check_rows(table.rows)


def _check_finite(split: str, name: str, values: Array) -> None:
    if values.dtype.kind != "f":
        return
    row = first_row(values, lambda block: ~np.isfinite(block))
    if row is not None:
        what = "NaN" if np.isnan(values[row]).any() else "infinity"
        raise refuse(f"row {row + 1}, column {shown(name)} of split {split} holds {what}", "Fill in or remove such rows before uploading.")


def _check_label(split: str, table: Table) -> None:
    label = label_column(table)
    if label is None or table.columns[label].dtype.kind not in "OU":
        return
    row = first_row(table.columns[label], lambda block: np.asarray(block == ""))
    if row is not None:
        raise refuse(f"row {row + 1}, column {shown(label)} of split {split} is empty", "Give every row a label, or remove those without.")


def first_row(values: Array, wrong: Callable[[Array], Array]) -> int | None:
    """The index of the first row of values [rows, ...] in which `wrong` marks anything; it maps a block to marks of its shape."""
    step = max(1, BLOCK * len(values) // max(1, values.size))
    for start in range(0, len(values), step):
        marks = wrong(values[start : start + step])
        if marks.any():
            return start + int(marks.reshape(len(marks), -1).any(axis=1).argmax())
    return None
