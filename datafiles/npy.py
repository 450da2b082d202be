"""One .npy member, read without trusting it: its header is checked before anything is allocated, and nothing is unpickled."""

import io
import struct
from collections.abc import Callable
from contextlib import suppress
from math import prod
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy_format

from datafiles.checks import first_row
from datafiles.compression import BLOCK
from datafiles.refusal import refuse, shown
from datafiles.table import Array

LONGEST_HEADER = 4096  # bytes; that of a plain array needs about 120
MOST_DIMENSIONS = 8
TRIES = 20
LONGEST_DIMENSION = 2**48
TYPES = "bool, (u)int8 to 64, float16 to 64 and str"
_AGAIN = "Save the file again with np.savez."
_LENGTH = {(1, 0): "<H", (2, 0): "<I"}  # version 3.0 exists only for structured arrays


class Header(NamedTuple):
    """What a member says of itself. `size` is that of its values in bytes."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]
    size: int


def read_array(stream: IO[bytes], size: int, member: str) -> Array:
    """The array [rows, ...] of a member of `size` bytes, native-endian and C-contiguous. Raises InvalidData naming the member."""
    header, length = _read_header(stream, member)
    if length + header.size != size:
        detail = f"{shown(member)} declares {header.size:,} bytes of values (shape {list(header.shape)}) but holds {size - length:,}"
        raise refuse(detail, "The file is truncated or damaged. " + _AGAIN)
    data = np.empty(header.size, dtype=np.uint8)
    filled = 0
    while filled < header.size:
        block = stream.read(min(BLOCK, header.size - filled))
        if not block:
            raise refuse(f"{shown(member)} ends after {filled:,} of {header.size:,} bytes of values", "The file is truncated. " + _AGAIN)
        data[filled : filled + len(block)] = np.frombuffer(block, dtype=np.uint8)
        filled += len(block)
    values = data.view(header.dtype).reshape(header.shape, order="F" if header.fortran_order else "C")
    # Neither of the two copies what np.savez usually writes.
    values = np.ascontiguousarray(values.astype(header.dtype.newbyteorder("="), copy=False))
    _check_values(values, member)
    return values


def _read_header(stream: IO[bytes], member: str) -> tuple[Header, int]:
    """The header and the bytes it took. Its length is checked here, because numpy would read all of it first."""
    start = stream.read(npy_format.MAGIC_LEN)
    if not start.startswith(npy_format.MAGIC_PREFIX) or len(start) < npy_format.MAGIC_LEN:
        raise refuse(f"{shown(member)} is not a .npy array: its first bytes are {start!r}", _AGAIN)
    kind = _LENGTH.get((start[-2], start[-1]))
    if kind is None:
        raise refuse(f"{shown(member)} has .npy version {start[-2]}.{start[-1]}; plain arrays have 1.0 or 2.0", _AGAIN)
    prefix = stream.read(struct.calcsize(kind))
    (length,) = struct.unpack(kind, prefix.ljust(struct.calcsize(kind), b"\0"))
    if length > LONGEST_HEADER:
        raise refuse(f"{shown(member)} has a header of {length:,} bytes; plain arrays need fewer than {LONGEST_HEADER:,}", _AGAIN)
    text = prefix + stream.read(length)
    parse = npy_format.read_array_header_1_0 if kind == "<H" else npy_format.read_array_header_2_0
    try:
        shape, fortran_order, dtype = _parsed(lambda: parse(io.BytesIO(text), max_header_size=LONGEST_HEADER))
    except Exception as error:  # numpy evaluates the header as a literal: whatever that raises, it is no header
        raise refuse(f"the header of {shown(member)} cannot be read", "The file is damaged. " + _AGAIN) from error
    _check_dtype(dtype, member)
    return Header(shape, fortran_order, dtype, _checked_size(shape, dtype, member)), len(start) + len(text)


def _parsed(parse: Callable[[], tuple[Any, Any, Any]]) -> tuple[Any, Any, Any]:
    """`parse()`, tried again where two threads were in each other's way: CPython 3.11 counts the depth of all threads' literals in one
    place, and one that finds the count changed raises SystemError ("AST constructor recursion depth mismatch")."""
    for _ in range(TRIES):
        with suppress(SystemError):
            return parse()
    return parse()


def _check_dtype(dtype: np.dtype[Any], member: str) -> None:
    if dtype.hasobject:
        hint = "Save plain numbers or text: array.astype(np.float32), .astype(np.int64) or .astype(str)."
        raise refuse(f"{shown(member)} holds pickled Python objects, which are never loaded", hint)
    if dtype.kind == "S":
        raise refuse(f"{shown(member)} holds byte strings", "Save text with array.astype(str).")
    if dtype.names is not None or dtype.kind not in "biufU" or dtype.itemsize == 0 or (dtype.kind == "f" and dtype.itemsize > 8):
        raise refuse(f"{shown(member)} holds {shown(str(dtype))} values; {TYPES} are accepted", "Convert the array with .astype(...).")


def _checked_size(shape: tuple[int, ...], dtype: np.dtype[Any], member: str) -> int:
    """The bytes the header declares, in Python's unbounded integers: a crafted shape overflows numpy's."""
    if not shape:
        raise refuse(f"{shown(member)} is a single value, not one for each row", "Save an array whose first axis is the rows.")
    if len(shape) > MOST_DIMENSIONS or not all(0 <= n <= LONGEST_DIMENSION for n in shape):
        raise refuse(f"{shown(member)} declares an impossible shape {shown(str(shape))}", "The file is damaged. " + _AGAIN)
    if 0 in shape:
        raise refuse(f"{shown(member)} has no values: its shape is {list(shape)}", "Save at least one row, and one value in each.")
    return prod(shape) * dtype.itemsize


def _check_values(values: Array, member: str) -> None:
    """Bytes that numpy would take on trust: booleans other than 0 and 1, and numbers that are no characters."""
    if values.dtype.kind == "b":
        row = first_row(values.view(np.uint8), lambda block: block > 1)
    elif values.dtype.kind == "U":
        row = first_row(values.view(np.uint32).reshape(*values.shape, -1), _not_text)
    else:
        return
    if row is not None:
        raise refuse(f"row {row + 1} of {shown(member)} is not valid {'text' if values.dtype.kind == 'U' else 'true/false'}", _AGAIN)


def _not_text(codes: Array) -> Array:
    """Marks in character codes [..., length]: half characters, codes beyond Unicode, and NUL anywhere but in the padding."""
    wrong = (codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF))
    wrong[..., 1:] |= (codes[..., 1:] != 0) & (codes[..., :-1] == 0)
    return wrong
