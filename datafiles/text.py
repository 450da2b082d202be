"""A quick pass over a text table before it is parsed: what a parser would take without a word."""

import codecs
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from datafiles.compression import BLOCK
from datafiles.limits import Limits
from datafiles.refusal import refuse

UTF8_HINT = "Save the file as plain UTF-8 text."


def check_text(file: BinaryIO, columns: int, limits: Limits) -> None:
    """Refuses broken UTF-8, NUL characters, a quote that swallows the rest of the file, and more cells than fit as numbers."""
    file.seek(0)
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines = quotes = size = 0
    block = b"start"
    while block:
        block = file.read(BLOCK)
        size += len(block)
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            # error.object also holds the bytes of a character that the block before had begun.
            line = lines + error.object[: error.start].count(b"\n") + 1
            place = size - len(error.object) + error.start
            raise refuse(f"line {line} is not UTF-8 (byte {place} of the file)", UTF8_HINT) from None
        if b"\0" in block:
            raise refuse(f"line {lines + block[: block.index(0)].count(10) + 1} has a NUL character", UTF8_HINT)
        lines += max(block.count(b"\n"), block.count(b"\r"))
        quotes += block.count(b'"')
        limits.check_arrays(lines * columns * 8)  # "0," takes two bytes in the file and eight in an array
    if quotes % 2:
        *_, line = record_lines(file)
        hint = 'Close it; inside a cell a quote is written twice ("") and the cell put in quotes.'
        raise refuse(f'a quote (") that opens in line {line} is never closed', hint)


def record_lines(file: BinaryIO) -> Iterator[int]:
    """The line in which each record starts, the header's first. Blank lines are no records; a record goes on over line ends in quotes."""
    file.seek(0)
    line, fresh, quoted = 1, True, False
    for piece in iter(partial(file.readline, BLOCK), b""):
        if fresh and not quoted and piece.strip(b"\r\n"):
            yield line
        quoted ^= piece.count(b'"') % 2 == 1
        fresh = piece.endswith(b"\n")
        line += fresh
