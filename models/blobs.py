"""Bytes under their SHA-256, in a folder or any store fsspec knows."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from fsspec.core import url_to_fs

CHUNK = 1 << 20


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Blobs:
    """`put` is idempotent and atomic: a blob is either whole or not there."""

    def __init__(self, url: str) -> None:
        fs, root = url_to_fs(url)
        self.fs: Any = fs
        self.root = str(root).rstrip("/")
        self.local = Path(self.root) if "file" in _protocols(fs) else None

    def put(self, source: Path, sha256: str | None = None) -> tuple[str, int]:
        """Stores the file's bytes; returns (sha256, size in bytes). Local stores link instead of copying where they can."""
        sha256 = sha256 or sha256_of(source)
        size = source.stat().st_size
        target = self._path(sha256)
        if self._size(target) == size:
            return sha256, size
        if self.local is None:
            self.fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            self.fs.put_file(str(source), target)
            return sha256, size
        folder = Path(target).parent
        folder.mkdir(parents=True, exist_ok=True)
        with _whole_or_not(Path(target)) as temporary:
            try:
                os.link(source, temporary)
            except OSError:
                shutil.copyfile(source, temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        _fsync_folder(folder)
        return sha256, size

    def fetch(self, sha256: str, target: Path) -> None:
        """Puts the blob's bytes at `target`; FileNotFoundError when it is gone. A file that is there already stays as it is."""
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            return
        with _whole_or_not(target) as temporary:
            if self.local is None:
                self.fs.get_file(self._path(sha256), str(temporary))
                return
            try:
                os.link(self._path(sha256), temporary)
            except FileNotFoundError:
                raise
            except OSError:
                shutil.copyfile(self._path(sha256), temporary)

    def open(self, sha256: str) -> BinaryIO:
        file: BinaryIO = self.fs.open(self._path(sha256), "rb")
        return file

    def read_range(self, sha256: str, start: int, stop: int) -> Iterator[bytes]:
        """Bytes start … stop−1 in chunks."""
        with self.open(sha256) as file:
            file.seek(start)
            left = stop - start
            while left > 0:
                chunk = file.read(min(CHUNK, left))
                if not chunk:
                    return
                left -= len(chunk)
                yield chunk

    def exists(self, sha256: str, size: int) -> bool:
        return self._size(self._path(sha256)) == size

    def delete(self, sha256: str) -> None:
        if self.fs.exists(self._path(sha256)):
            self.fs.rm_file(self._path(sha256))

    def _path(self, sha256: str) -> str:
        return f"{self.root}/{sha256[:2]}/{sha256}"

    def _size(self, path: str) -> int | None:
        try:
            return int(self.fs.info(path)["size"])
        except FileNotFoundError:
            return None


@contextmanager
def _whole_or_not(target: Path) -> Iterator[Path]:
    """A place beside `target` that becomes it at the end of the block; on an exception (a full disk, say) nothing stays behind."""
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
