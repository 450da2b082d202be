"""Values out of JSON to an array: all of one kind and, if they are lists, of one shape."""

from itertools import chain
from typing import Any

import numpy as np

from datafiles.checks import first_row
from datafiles.labels import holds_lists
from datafiles.table import Array

MOST_DIMENSIONS = 7  # of one value; with the rows that makes 8, as in .npz
INTEGERS = np.iinfo(np.int64)
KINDS: dict[type, str] = {
    int: "numbers",
    float: "numbers",
    bool: "true/false",
    str: "text",
    list: "lists",
    dict: "objects",
    type(None): "null",
}


class MisfitError(Exception):
    """The value of row `index` (from 0) cannot be used; `what` ends the sentence "line 3, column `x` …"."""

    def __init__(self, index: int, what: str) -> None:
        super().__init__(what)
        self.index, self.what = index, what


def to_array(values: list[Any], before: Array | None = None) -> Array:
    """[rows, ...] of int64, float64, bool or object: text, or tuples of text. Raises MisfitError at the first value that does not go
    with the others. before: earlier rows of the column, which tell of empty lists what they lack."""
    if _of_text(values) or (before is not None and holds_lists(before) and set(map(type, values)) == {list}):
        return _lists_of_text(values)
    flat, shape = values, [len(values)]
    while (types := set(map(type, flat))) == {list}:
        length = len(flat[0])
        if set(map(len, flat)) != {length}:
            odd = next(i for i, value in enumerate(flat) if len(value) != length)
            raise MisfitError(_row(odd, values, flat), f"holds a list of {len(flat[odd])} where others have {length}")
        if length == 0 or len(shape) > MOST_DIMENSIONS:
            raise MisfitError(0, "holds an empty list" if length == 0 else f"holds lists nested deeper than {MOST_DIMENSIONS}")
        flat = list(chain.from_iterable(flat))
        shape.append(length)
    kind = _one_kind(values, flat, types)
    if kind == "text":
        return _text(flat)
    return _numbers(values, flat, types).reshape(shape) if kind == "numbers" else np.array(flat, dtype=np.bool_)


def kind_of(array: Array) -> str:
    """What an array made above holds, to say so: the kind, and the shape of lists."""
    if holds_lists(array):
        return "lists of text"
    kind = {"O": "text", "b": "true/false"}.get(array.dtype.kind, "numbers")
    return f"lists of {kind} of shape {list(array.shape[1:])}" if array.ndim > 1 else kind


def _of_text(values: list[Any]) -> bool:
    return next((type(inner[0]) is str for inner in values if type(inner) is list and inner), False)


def _lists_of_text(values: list[Any]) -> Array:
    odd = next((i for i, value in enumerate(values) if type(value) is not list), None)
    if odd is not None:
        raise MisfitError(odd, f"holds {KINDS[type(values[odd])]} where others hold lists")
    for i, value in enumerate(values):
        inner = next((KINDS[type(each)] for each in value if type(each) is not str), None)
        if inner is not None:
            raise MisfitError(i, f"holds {inner} inside a list where others hold text")
    return lists_of_text(values)


def lists_of_text(values: list[list[str]]) -> Array:
    """[rows] of tuples. Raises MisfitError for text that nothing can store."""
    found = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        _refuse_odd_text(value, i)
        found[i] = tuple(value)
    return found


def _row(position: int, values: list[Any], flat: list[Any]) -> int:
    """The row whose value the one at `position` belongs to, once every row's lists are laid out flat."""
    return position // (len(flat) // len(values))


def _one_kind(values: list[Any], flat: list[Any], types: set[type]) -> str:
    inside = flat is not values
    usable = ("numbers", "lists") if inside else ("numbers", "lists", "true/false", "text")
    first = KINDS[type(flat[0])]
    if first in usable and {KINDS[found] for found in types} == {first}:
        return first
    odd, kind = next((i, KINDS[type(value)]) for i, value in enumerate(flat) if KINDS[type(value)] != first or first not in usable)
    what = "is null" if kind == "null" else f"holds {kind}"
    if inside:
        what += " inside a list"
    if kind in usable:
        what += f" where others hold {first}"
    raise MisfitError(_row(odd, values, flat), what)


def _numbers(values: list[Any], flat: list[Any], types: set[type]) -> Array:
    whole = types == {int}
    try:
        array = np.fromiter(flat, dtype=np.int64 if whole else np.float64, count=len(flat))
        fits = len(types) == 1
    except OverflowError:
        fits = False
    # Only integers are looked at one by one, and only where arrays alone cannot tell.
    wide = None if fits else next((i for i, n in enumerate(flat) if type(n) is int and not INTEGERS.min <= n <= INTEGERS.max), None)
    if wide is not None:
        raise MisfitError(_row(wide, values, flat), "holds an integer beyond 64 bits")
    if not whole:
        endless = first_row(array, lambda block: ~np.isfinite(block))
        if endless is not None:
            raise MisfitError(_row(endless, values, flat), "holds a number beyond what a float can be: infinity")
    return array


def _text(flat: list[str]) -> Array:
    _refuse_odd_text(flat, None)
    return np.array(flat, dtype=object)


def _refuse_odd_text(flat: list[str], row: int | None) -> None:
    together = "".join(flat)
    if "\0" in together or not _encodes(together):
        odd = next(i for i, text in enumerate(flat) if "\0" in text or not _encodes(text))
        raise MisfitError(odd if row is None else row, "holds text with a NUL or half a character")


def _encodes(text: str) -> bool:
    """False for half a surrogate pair, which JSON can spell (\\ud800) and nothing else can store."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
