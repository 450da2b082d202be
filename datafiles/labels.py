"""Labels as classes: their names in order, and the index of each row's class.

Names are text whatever the column holds, so that a label 3 from an .npz and a label 3 from a .csv are the same class.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.errors import InvalidData
from datafiles.refusal import listed, refuse, shown

MAX_CLASSES = 10_000
MAX_NAME = 200  # characters; longer is text to read, not the name of a class
EXACT = 2**53  # up to here every whole float64 is that very integer

Coded = tuple[list[str], npt.NDArray[np.int64]]  # distinct names in class order, and for each row [rows] the index into them


def holds_lists(values: npt.NDArray[Any]) -> bool:
    """Whether a column holds lists of text, each a tuple."""
    return values.dtype == object and len(values) > 0 and isinstance(values[0], tuple)


def class_names(values: npt.NDArray[Any]) -> list[str] | None:
    """The distinct labels among values [rows] in class order, None where they are not classes. Of lists of text: what stands in them."""
    if holds_lists(values):
        values = np.array(sorted({word for row in values for word in row}), dtype=object)
        if not len(values):
            return None
    coded = _coded(values)
    if coded is None:
        return None
    names, _ = coded
    return None if len(names) > MAX_CLASSES or any(len(name) > MAX_NAME for name in names) else names


def encode_labels(values: npt.NDArray[Any], classes: Sequence[str], where: str) -> npt.NDArray[np.int64]:
    """The class index of each of values [rows]. Raises InvalidData at the first that is none of `classes`; `where` says whose rows."""
    coded = None if holds_lists(values) else _coded(values)
    if coded is None:
        raise refuse(f"{where}: the labels are arrays or fractions, not one class for each row", "Name the column that holds the class.")
    names, codes = coded
    if "" in names:
        raise _without(where, int(np.flatnonzero(codes == names.index(""))[0]))
    known = {name: i for i, name in enumerate(classes)}
    encoded = np.array([known.get(name, -1) for name in names], dtype=np.int64)[codes]
    unknown = np.flatnonzero(encoded < 0)
    if unknown.size:
        row = int(unknown[0])
        raise _unknown(where, row, names[codes[row]], classes)
    return encoded


def encode_lists(values: npt.NDArray[Any], classes: Sequence[str], where: str) -> list[list[int]]:
    """The class indices of each of values [rows], lists of text. Raises InvalidData at the first that is none of `classes`."""
    known = {name: i for i, name in enumerate(classes)}
    for row, names in enumerate(values):
        if "" in names:
            raise _without(where, row)
        odd = next((name for name in names if name not in known), None)
        if odd is not None:
            raise _unknown(where, row, odd, classes)
    return [[known[name] for name in names] for names in values]


def _without(where: str, row: int) -> InvalidData:
    return refuse(f"{where}: row {row + 1} has an empty label", "Give every row a label, or remove those without.")


def _unknown(where: str, row: int, name: str, classes: Sequence[str]) -> InvalidData:
    detail = f"{where}: row {row + 1} has the label {shown(name)}, which is none of the {len(classes)} classes ({listed(classes)})"
    return refuse(detail, "Remove these rows, or use training rows that show every class.")


def _coded(values: npt.NDArray[Any]) -> Coded | None:
    coder = _CODERS.get(values.dtype.kind)
    return coder(values) if coder is not None and values.ndim == 1 else None


def _booleans(values: npt.NDArray[Any]) -> Coded:
    names, codes = _integers(values.astype(np.int8))
    return [("false", "true")[int(name)] for name in names], codes


def _integers(values: npt.NDArray[Any]) -> Coded:
    distinct, codes = np.unique(values, return_inverse=True)
    return [str(value) for value in distinct.tolist()], codes.astype(np.int64, copy=False)


def _floats(values: npt.NDArray[Any]) -> Coded | None:
    """Whole floats are integers that some tool widened; others measure something and are no classes."""
    wide = values.astype(np.float64, copy=False)
    if not ((np.abs(wide) <= EXACT) & (wide == np.floor(wide))).all():
        return None
    return _integers(wide.astype(np.int64))


def _text(values: npt.NDArray[Any]) -> Coded:
    words = values.tolist()
    names = sorted(set(words))
    index = {name: i for i, name in enumerate(names)}
    return names, np.fromiter((index[word] for word in words), dtype=np.int64, count=len(words))


_CODERS: dict[str, Callable[[npt.NDArray[Any]], Coded | None]] = {
    "b": _booleans,
    "i": _integers,
    "u": _integers,
    "f": _floats,
    "U": _text,
    "O": _text,
}
