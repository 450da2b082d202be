"""Plain text: each line that is not blank is a row of the one column `text`."""

from functools import partial
from typing import BinaryIO

import numpy as np

from datafiles.limits import TEXT_BYTES, Limits
from datafiles.refusal import refuse
from datafiles.sniff import HEAD, require_text
from datafiles.table import Table
from datafiles.text import UTF8_HINT


def read(file: BinaryIO, limits: Limits) -> dict[str, Table]:
    """One split, train. Raises InvalidData with the line."""
    require_text(file.read(HEAD), ".txt")
    file.seek(0)
    found: list[str] = []
    for number, line in enumerate(iter(partial(file.readline, limits.max_line_bytes + 1), b""), start=1):
        if len(line) > limits.max_line_bytes:
            raise refuse(f"line {number} is longer than {limits.max_line_bytes:,} bytes", "Break it into several lines.")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise refuse(f"line {number} is not UTF-8 (its byte {error.start + 1})", UTF8_HINT) from None
        if "\0" in text:
            raise refuse(f"line {number} has a NUL character", UTF8_HINT)
        if text:
            found.append(text)
            limits.check_rows(len(found))
            limits.check_arrays(len(found) * TEXT_BYTES)
    if not found:
        raise refuse("the file has no text, only blank lines", "Write one text on each line.")
    return {"train": Table({"text": np.array(found, dtype=object)})}
