"""Columns of Arrow to arrays: which types there are, and the row of a value that cannot be used."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from contract.errors import InvalidData
from datafiles.limits import Limits
from datafiles.refusal import refuse, shown
from datafiles.table import Array
from datafiles.text import UTF8_HINT
from datafiles.thrift import DamagedError
from datafiles.values import MOST_DIMENSIONS, MisfitError, lists_of_text

if TYPE_CHECKING:
    import pyarrow as pa

INDEX = "__index_level_"
ACCEPTED = "numbers, true/false, text and lists of numbers or text"


class Kind(NamedTuple):
    """`dtype` is None for text; `depth` is how many lists are around a value, of text at most one."""

    dtype: np.dtype[Any] | None
    depth: int


TEXT, TEXTS = Kind(None, 0), Kind(None, 1)


def kind_of(field: "pa.Field") -> Kind:
    """What a column is. Raises InvalidData for what cannot be learned from, by name."""
    from pyarrow import types

    if field.name.startswith(INDEX):
        raise refuse(f"column {shown(field.name)} is the row index of pandas, not data", "Save it with df.to_parquet(path, index=False).")
    inner, depth = field.type, 0
    while types.is_list(inner) or types.is_large_list(inner) or types.is_fixed_size_list(inner):
        inner, depth = inner.value_type, depth + 1
    if depth > MOST_DIMENSIONS:
        raise refuse(f"column {shown(field.name)} holds lists nested deeper than {MOST_DIMENSIONS}", "Flatten them.")
    value = inner.value_type if types.is_dictionary(inner) else inner
    if types.is_boolean(value) or types.is_integer(value) or types.is_floating(value):
        return Kind(np.dtype(value.to_pandas_dtype()), depth)
    if depth <= 1 and (types.is_string(value) or types.is_large_string(value) or types.is_string_view(value)):
        return Kind(None, depth)
    raise refuse(f"column {shown(field.name)} holds {shown(str(field.type))}; {ACCEPTED} are accepted", _cure(inner))


def _cure(kind: "pa.DataType") -> str:
    from pyarrow import types

    if types.is_decimal(kind):
        return "Save the column as float64."
    if types.is_temporal(kind):
        return "Save the column as text, or as a number such as seconds."
    if types.is_struct(kind) or types.is_map(kind):
        return "Give each part a column of its own; an image is a list of lists of numbers, or belongs into an .npz."
    if types.is_null(kind):
        return "Fill the column in, or leave it out."
    return "Convert the column, or leave it out."


class Column:
    """An array for all rows, filled piece by piece, so that there is never a second copy of it."""

    def __init__(self, name: str, kind: Kind, rows: int, limits: Limits) -> None:
        self._name, self._kind, self._rows, self._limits = name, kind, rows, limits
        self._done = 0
        self._array: Array = np.empty(0)
        self._dictionary: Any = None
        self._words: Array = np.empty(0, dtype=object)

    def fill(self, values: "pa.Array") -> None:
        """Puts the values of the next rows where they belong."""
        if len(values) == 0:
            return
        if self._done + len(values) > self._rows:
            raise self._odd_rows()
        self._refuse_null(values, len(values), "is null")
        part = self._numbers(values) if self._kind.dtype is not None else self._lists(values) if self._kind.depth else self._text(values)
        if self._done == 0:
            self._limits.check_arrays(self._rows * part[0].nbytes if part.ndim > 1 else 0)
            self._array = np.empty((self._rows, *part.shape[1:]), dtype=part.dtype)
        if part.shape[1:] != self._array.shape[1:]:
            raise self._misfit(0, f"holds lists of shape {list(part.shape[1:])} where others have {list(self._array.shape[1:])}")
        self._array[self._done : self._done + len(part)] = part
        self._done += len(part)

    def whole(self) -> Array:
        if self._done != self._rows:
            raise self._odd_rows()
        return self._array

    def _numbers(self, values: "pa.Array") -> Array:
        """[rows, ...] of the column's type: list after list is laid flat, each as long as the others."""
        from pyarrow import compute

        flat, shape = values, [len(values)]
        for _ in range(self._kind.depth):
            lengths = compute.list_value_length(flat).to_numpy(zero_copy_only=False)
            length = int(lengths[0])
            odd = int((lengths != length).argmax())
            if lengths[odd] != length:
                raise self._misfit(_row(odd, flat, values), f"holds a list of {lengths[odd]} where others have {length}")
            if length == 0:
                raise self._misfit(0, "holds an empty list")
            flat = flat.flatten()
            shape.append(length)
            self._refuse_null(flat, len(values), "is null inside a list")
        array: Array = flat.to_numpy(zero_copy_only=False)
        return array.reshape(shape)

    def _lists(self, values: "pa.ListArray") -> Array:
        """[rows] of tuples of `str`."""
        rows = values.to_pylist()
        null = next((i for i, row in enumerate(rows) if None in row), None)
        if null is not None:
            raise self._misfit(null, "is null inside a list", "Fill in the missing values, or remove such rows.")
        try:
            return lists_of_text(rows)
        except MisfitError as misfit:
            raise self._misfit(misfit.index, misfit.what, UTF8_HINT) from None

    def _text(self, values: "pa.DictionaryArray") -> Array:
        """[rows] of `str`; rows with the same text share it."""
        codes, dictionary = values.indices.to_numpy(), values.dictionary
        if codes.min() < 0 or codes.max() >= len(dictionary):  # Arrow lets it pass where the dictionary says it is shorter
            raise DamagedError(f"column {shown(self._name)} has text that its dictionary lacks")
        # From batch to batch a dictionary grows at its end.
        known = len(self._words)
        if not (known and dictionary.slice(0, known).equals(self._dictionary)):
            known, self._words = 0, self._words[:0]
        words = [_decode(word) for word in dictionary.slice(known).cast("binary").to_pylist()]
        if None in words:
            bad = np.isin(codes, known + np.flatnonzero([word is None for word in words]))
            if not bad.any():
                raise DamagedError(f"column {shown(self._name)} has text that no row uses, and that is not UTF-8")
            raise self._misfit(int(bad.argmax()), "holds text that is not UTF-8 or has a NUL character", UTF8_HINT)
        self._dictionary, self._words = dictionary, np.concatenate([self._words, np.array(words, dtype=object)])
        return np.asarray(self._words[codes])

    def _refuse_null(self, flat: "pa.Array", rows: int, what: str) -> None:
        if flat.null_count:
            place = int(flat.is_null().to_numpy(zero_copy_only=False).argmax())
            raise self._misfit(place // (len(flat) // rows), what, "Fill in the missing values, or remove such rows.")

    def _odd_rows(self) -> DamagedError:
        return DamagedError(f"column {shown(self._name)} has other rows than the {self._rows:,} that are declared")

    def _misfit(self, row: int, what: str, hint: str = "Give every row a list of the same length.") -> InvalidData:
        return refuse(f"row {self._done + row + 1}, column {shown(self._name)} {what}", hint)


def _decode(word: bytes) -> str | None:
    try:
        return None if b"\0" in word else word.decode()
    except UnicodeDecodeError:
        return None


def _row(place: int, flat: "pa.Array", values: "pa.Array") -> int:
    """The row whose value the one at `place` belongs to, once every row's lists are laid flat."""
    return place // (len(flat) // len(values))
