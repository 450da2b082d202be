"""What every format becomes: splits of equally long columns."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from contract.column import Column
from contract.columns import LABELS
from contract.errors import InvalidData
from datafiles.labels import class_names, holds_lists
from datafiles.refusal import refuse, shown

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


def texts_in(values: Array) -> int:
    return sum(map(len, values)) + len(values) if holds_lists(values) else values.size


def _characters(values: Array) -> float | None:
    """Of a row, where it holds text; words of a list with what stands between them."""
    if values.dtype.kind not in "OU" or not len(values):
        return None
    every = (" ".join(row) for row in values) if holds_lists(values) else values.tolist()
    return round(sum(map(len, every)) / len(values), 1)


def _type(values: Array) -> str:
    if holds_lists(values):
        return "strings"
    return "string" if values.dtype.kind in "OU" else str(values.dtype.name)


@dataclass(frozen=True)
class Table:
    """One split. Every array is [rows, ...]; text is a `str` or object array, lists of text an object array of tuples, numbers are
    native-endian and C-contiguous."""

    columns: dict[str, Array]

    @property
    def rows(self) -> int:
        return len(next(iter(self.columns.values())))

    def describe(self) -> list[Column]:
        return [Column(name=name, type=_type(values), shape=list(values.shape[1:])) for name, values in self.columns.items()]


@dataclass(frozen=True)
class DataFile:
    """A file that was read and checked; `format` is one of FORMATS, whether or not it was gzipped."""

    format: str
    splits: dict[str, Table]

    @property
    def _train(self) -> Table:
        return self.splits.get("train") or next(iter(self.splits.values()))

    def columns(self) -> list[Column]:
        """The columns of the train split (or of the only one). Raises InvalidData where another split's differ."""
        columns = self._train.describe()
        for split, table in self.splits.items():
            _same_columns(columns, table.describe(), split)
        return columns

    def counted(self) -> list[Column]:
        """The same, with how long texts are."""
        return [column.model_copy(update={"characters": _characters(self._train.columns[column.name])}) for column in self.columns()]

    def classes(self, label: str | None = None) -> list[str] | None:
        """The distinct labels of the train split, sorted (numbers by value, text by letter), as text; of lists what stands in them.

        `label` names the column; not said, it is `label`, else `y`. None where there is no such column or it names no
        classes: arrays, fractions, more than 10,000 distinct values, labels over 200 characters.
        """
        values = self._train.columns.get(label or label_column(self._train) or "")
        return None if values is None else class_names(values)


def label_column(table: Table) -> str | None:
    """The column taken for the label when nobody says which."""
    return next((name for name in LABELS if name in table.columns), None)


def _same_columns(train: list[Column], other: list[Column], split: str) -> None:
    theirs = {column.name: column for column in other}
    for column in train:
        twin = theirs.pop(column.name, None)
        if twin is None:
            raise _unequal(f"split {split} lacks the column {shown(column.name)} that train has")
        if twin != column:
            detail = f"column {shown(column.name)} holds {_kind(column)} in train but {_kind(twin)} in {split}"
            raise _unequal(detail)
    for name in theirs:
        raise _unequal(f"split {split} has a column {shown(name)} that train lacks")


def _unequal(detail: str) -> InvalidData:
    return refuse(detail, "Give every split the same columns with the same number type and shape.")


def _kind(column: Column) -> str:
    return f"{column.type} of shape {column.shape}" if column.shape else column.type
