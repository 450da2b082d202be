"""Room on disk: looked for before a large write, and where it runs out all the same, said as what it is."""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from contract.errors import ErrorCode, JobError

MARGIN = 1 << 20  # headers, blocks not filled, and what others write at the same time
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextlib.contextmanager
def writing(what: str, folder: Path, size: int) -> Iterator[None]:
    """Around the writing of `folder`, about `size` bytes: whole, or nothing of it stays behind. JobError when the disk is full,
    before the first byte where the file system tells. Every other failure stays what it is."""
    needed = size + MARGIN
    free = _free(folder)
    if free is not None and free < needed:
        raise _full(what, folder, needed, errno.ENOSPC)
    try:
        yield
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        number = _number(error)
        if number in FULL:
            raise _full(what, folder, needed, number) from error
        raise


@contextlib.contextmanager
def appending(what: str, file: Path, size: int) -> Iterator[None]:
    """Around the writing of `size` more bytes to a file, which may be left with some of them. JobError when the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise _full(what, file, size, error.errno) from error
        raise


def settle(folder: Path) -> None:
    """Brings the files in `folder`, and their names, to the disk."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            settle(path)
        else:
            fsync(path)
    fsync(folder)


def fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _free(folder: Path) -> int | None:
    """Bytes we may still write where `folder` is or will be; None where the file system counts none."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    usage = shutil.disk_usage(there)
    return usage.free if usage.total else None


def _number(error: BaseException) -> int | None:
    """safetensors hides the number of the operating system's error in its message."""
    if isinstance(error, SafetensorError):
        found = re.search(r"\(os error (\d+)\)", str(error))
        return int(found[1]) if found else None
    return error.errno if isinstance(error, OSError) else None


def _full(what: str, folder: Path, needed: int, number: int) -> JobError:
    free = _free(folder)
    left = "an unknown number" if free is None else f"{free:,}"
    return JobError(
        f"{what} could not be written: {os.strerror(number)}. It needs {needed:,} bytes in {folder.parent}, where {left} are free.",
        code=ErrorCode.DISK_FULL,
        hint="Free some space, then `potstill resume`; the last good checkpoint is kept.",
    )
