"""Opening an upload: plain, or gzip unpacked into a temporary file within the limits."""

import gzip
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from datafiles.limits import Limits
from datafiles.refusal import plain, refuse
from datafiles.sniff import HEAD, looks_like

BLOCK = 2**20
_EMPTY = "Upload a file with at least one row."


@contextmanager
def opened(path: Path, gzipped: bool, limits: Limits) -> Iterator[BinaryIO]:
    """The file's content, unpacked and seekable, at its start, under a name. Refuses missing, empty, oversized and broken files."""
    try:
        file = path.open("rb")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise refuse(f"the file cannot be read: {error.strerror}", "Check its path and permissions.") from error
    with file:
        size = path.stat().st_size
        if size == 0:
            raise refuse("the file is empty (0 bytes)", _EMPTY)
        if not gzipped:
            limits.check_unpacked(size, size)
            yield file
            return
        # A file, not memory: the API unpacks for many people at once.
        with tempfile.NamedTemporaryFile() as temporary:
            unpacked = cast(BinaryIO, temporary)
            _unpack(file, size, unpacked, limits)
            unpacked.flush()  # for those who open it by its name
            unpacked.seek(0)
            yield unpacked


def _unpack(file: BinaryIO, size: int, unpacked: BinaryIO, limits: Limits) -> None:
    head = file.read(HEAD)
    if not head.startswith(b"\x1f\x8b"):
        raise refuse(
            f"the file says .gz but is not gzip; it starts like {looks_like(head)}", "Compress it with gzip, or drop the .gz ending."
        )
    file.seek(0)
    try:
        with gzip.GzipFile(fileobj=file) as stream:
            while block := stream.read(BLOCK):
                unpacked.write(block)
                limits.check_unpacked(unpacked.tell(), size)
    except EOFError as error:
        raise refuse("the gzip file ends too early: it is truncated", "Compress and upload it again.") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise refuse(f"the gzip file is damaged: {plain(error)}", "Compress and upload it again.") from error
    if unpacked.tell() == 0:
        raise refuse("the gzip file holds nothing (0 bytes)", _EMPTY)
