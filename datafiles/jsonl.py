"""JSON lines: one object for each row, all with the same keys; values are numbers, true/false, text or lists of numbers or text."""

import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any, BinaryIO, NamedTuple, NoReturn

import numpy as np

from contract.errors import InvalidData
from datafiles.checks import check_names
from datafiles.limits import TEXT_BYTES, Limits
from datafiles.refusal import listed, plain, refuse, shown
from datafiles.sniff import HEAD, require_text
from datafiles.table import Array, Table, texts_in
from datafiles.text import UTF8_HINT
from datafiles.values import MisfitError, kind_of, to_array

CHUNK_ROWS = 4096
CHUNK_BYTES = 2**20  # values take several times the room in Python that they take in an array, so few are held at once
HINT = 'Write one object on each line, all with the same keys: {"x": [0.5, 1], "y": 3}.'


class Chunk(NamedTuple):
    """Some successive rows, and the line of each."""

    rows: list[dict[str, Any]]
    lines: list[int]


def read(file: BinaryIO, limits: Limits) -> dict[str, Table]:
    """One split, train. Raises InvalidData with the line and column."""
    require_text(file.read(HEAD), ".jsonl")
    file.seek(0)
    parts: dict[str, list[Array]] = {}
    rows = size = 0
    for chunk in _chunks(file, limits):
        parts = parts or {name: [] for name in chunk.rows[0]}
        for name, before in parts.items():
            array = _column(name, chunk, before)
            size += texts_in(array) * TEXT_BYTES if array.dtype == object else array.nbytes
            before.append(array)
        rows += len(chunk.rows)
        limits.check_rows(rows)
        limits.check_arrays(size)
    if not parts:
        raise refuse("the file has no rows, only blank lines", HINT)
    # Joined, whole numbers become float64 if any part of the column has fractions. Each column's parts are let go as it is done.
    return {"train": Table({name: np.concatenate(parts.pop(name)) for name in list(parts)})}


def _chunks(file: BinaryIO, limits: Limits) -> Iterator[Chunk]:
    chunk, size = Chunk([], []), 0
    first: dict[str, Any] = {}
    for number, line in enumerate(iter(partial(file.readline, limits.max_line_bytes + 1), b""), start=1):
        if len(line) > limits.max_line_bytes:
            raise refuse(
                f"line {number} is longer than {limits.max_line_bytes:,} bytes", "Write one object on each line, or use .npz for wide rows."
            )
        if not line.strip():
            continue
        row = _parse(line, number)
        if not first:
            limits.check_columns(len(row))
            check_names(row)
            first = row
        if row.keys() != first.keys():
            raise _other_keys(row, first, number)
        chunk.rows.append(row)
        chunk.lines.append(number)
        size += len(line)
        if len(chunk.rows) == CHUNK_ROWS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = Chunk([], []), 0
    if chunk.rows:
        yield chunk


def _parse(line: bytes, number: int) -> dict[str, Any]:
    where = f"line {number}"
    try:
        row = _DECODER.decode(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise refuse(f"{where} is not UTF-8 at byte {error.start + 1}", UTF8_HINT) from None
    except json.JSONDecodeError as error:
        raise refuse(f"{where} is not JSON: {error.msg} at character {error.colno}", HINT) from None
    except RecursionError:
        raise refuse(f"{where} is nested too deeply", HINT) from None
    except ValueError as error:  # from the hooks below, or an integer of thousands of digits
        raise refuse(f"{where} cannot be used: {plain(error)}", HINT) from None
    if not isinstance(row, dict) or not row:
        found = "an empty object" if row == {} else f"a JSON {type(row).__name__}"
        raise refuse(f"{where} is {found}, not an object with columns", HINT)
    return row


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON's own reader would keep the last of two equal keys and not say so."""
    row = dict(pairs)
    if len(row) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {shown(twice)} is there twice")
    return row


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number to learn from")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def _other_keys(row: dict[str, Any], first: dict[str, Any], number: int) -> InvalidData:
    lacking, extra = ([name for name in a if name not in b] for a, b in ((first, row), (row, first)))
    parts = [f"lacks {listed(lacking)}" if lacking else "", f"has {listed(extra)} too" if extra else ""]
    return refuse(f"line {number} {' and '.join(filter(None, parts))}: other keys than the first row", HINT)


def _column(name: str, chunk: Chunk, before: list[Array]) -> Array:
    try:
        array = to_array([row[name] for row in chunk.rows], before[0] if before else None)
        # The rows of a chunk agree with each other by now, so the first of them is the first that differs from earlier ones.
        if before and kind_of(array) != kind_of(before[0]):
            raise MisfitError(0, f"holds {kind_of(array)} where others hold {kind_of(before[0])}")
    except MisfitError as misfit:
        raise refuse(f"line {chunk.lines[misfit.index]}, column {shown(name)} {misfit.what}", HINT) from None
    return array
