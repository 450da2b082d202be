"""Bytes under their SHA-256, in a folder or any store fsspec knows."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from fsspec.core import url_to_fs

from contract.errors import PotstillError
from models.objects import Objects, telling

CHUNK = 1 << 20
AHEAD = 8 << 20  # bytes asked of an object store at a time
SHELF = "outputs"  # folder of what workers keep for each other, by names of their own
ASIDE = "aside"  # folder of blobs that are being deleted: models/teardown.py decides what becomes of them
T = TypeVar("T")


class DamagedError(PotstillError):
    """The bytes in the store are not those that were put there."""


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Blobs:
    """`put` is idempotent and atomic: a blob is either whole or not there. Nothing deletes a blob where it lies: it is laid aside
    first, and whoever asks for it meanwhile still finds it."""

    def __init__(self, url: str, linked_for: int = 0, nearby: Path | None = None) -> None:
        """linked_for: seconds for which `link` is good; 0: it gives none. nearby: folder for copies of what is fetched from elsewhere."""
        try:
            fs, root = url_to_fs(url)
        except ImportError as error:  # fsspec's names of the package
            hint = "pip install 'potstill[s3]'" if url.startswith("s3") else "Install the package that it names."
            raise PotstillError(f"POTSTILL_ARTIFACTS_URL: {url.partition(':')[0]} cannot be read here: {error}.", hint=hint) from error
        fs.dircache.use_listings_cache = False  # others write to the store too
        self.root = str(root).rstrip("/")
        self.local = Path(self.root) if "file" in _protocols(fs) else None
        self.fs: Any = fs if self.local is not None else Objects(fs)
        self.linked_for = linked_for
        self.nearby = nearby if self.local is None else None

    def put(self, source: Path, sha256: str | None = None) -> tuple[str, int]:
        """Stores the file's bytes; returns (sha256, size in bytes). Local stores link instead of copying where they can, and look
        into a blob that is there already: a damaged one is replaced."""
        sha256 = sha256 or sha256_of(source)
        size = source.stat().st_size
        target = self.path(sha256)
        if self._holds(target, sha256, size):
            return sha256, size
        if self.local is None:
            self.fs.put_file(str(source), target)
            return sha256, size
        folder = Path(target).parent
        folder.mkdir(parents=True, exist_ok=True)
        with _whole_or_not(Path(target)) as temporary:
            _link(source, temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        _fsync_folder(folder)
        return sha256, size

    def fetch(self, sha256: str, target: Path, *, verify: bool = True) -> None:
        """Puts the blob's bytes at `target`; FileNotFoundError when it is gone, DamagedError when its bytes have changed. A file
        that is there already stays as it is. `verify=False` is for files that are verified by who reads them and of which no copy is
        kept nearby."""
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            return
        copy = self.nearby / sha256[:2] / sha256 if self.nearby is not None and verify else None
        with _whole_or_not(target) as temporary:
            if copy is not None and _copied(copy, sha256, temporary):
                return
            get = self.fs.get_file if self.local is None else lambda path, to: _link(Path(path), Path(to))
            self._reach(sha256, lambda path: get(path, str(temporary)))
            if verify and (found := sha256_of(temporary)) != sha256:
                raise DamagedError(f"stored as {sha256[:12]}…, its SHA-256 is now {found[:12]}…")
            if copy is not None:
                copy.parent.mkdir(parents=True, exist_ok=True)
                with suppress(OSError), _whole_or_not(copy) as place:
                    _link(temporary, place)

    def open(self, sha256: str) -> BinaryIO:
        more = {} if self.local is not None else {"block_size": AHEAD}
        file: BinaryIO = self._reach(sha256, lambda path: self.fs.open(path, "rb", **more))
        return file

    def read_range(self, sha256: str, start: int, stop: int) -> Iterator[bytes]:
        """Bytes start … stop−1 in chunks."""
        with self.open(sha256) as file, telling() if self.local is None else nullcontext():
            file.seek(start)
            left = stop - start
            while left > 0:
                chunk = file.read(min(CHUNK, left))
                if not chunk:
                    return
                left -= len(chunk)
                yield chunk

    def read(self, sha256: str) -> bytes:
        """All of a small one."""
        found: bytes = self._reach(sha256, self.fs.cat_file)
        return found

    def link(self, sha256: str, **headers: str) -> str | None:
        """An address that is good for a while and gives the bytes without us, with these headers (`ResponseContentType` and the like, as
        S3 calls them); None where the store has none to give or none is wanted."""
        if not self.linked_for or not isinstance(self.fs, Objects) or not self.fs.speaks_s3:
            return None
        address: str = self._reach(sha256, lambda path: self.fs.url(path, expires=self.linked_for, **headers))
        return address

    def exists(self, sha256: str, size: int) -> bool:
        try:
            return bool(self._reach(sha256, self.fs.info)["size"] == size)
        except FileNotFoundError:
            return False

    def path(self, sha256: str) -> str:
        return f"{self.root}/{sha256[:2]}/{sha256}"

    def unfinished(self, older: float) -> Iterator[tuple[int, Callable[[], None]]]:
        """Sendings in parts that were cut off and that nobody went on with for so many seconds: their bytes, and what forgets them."""
        return self.fs.unfinished(self.root, older) if isinstance(self.fs, Objects) else iter(())

    # ---- what workers keep for each other

    def shelve(self, name: str, source: Path) -> None:
        self.fs.put_file(str(source), self.on_shelf(name))

    def unshelve(self, name: str, target: Path) -> bool:
        """Whether it was there; who reads it looks whether it is whole."""
        try:
            with _whole_or_not(target) as temporary:
                self.fs.get_file(self.on_shelf(name), str(temporary))
        except FileNotFoundError:
            return False
        return True

    def on_shelf(self, name: str) -> str:
        return f"{self.root}/{SHELF}/{name[:2]}/{name}"

    # ---- taking away, in two steps

    def lay_aside(self, sha256: str) -> str | None:
        """Moves the blob out of its place, to a name that only this call knows; None when it is not there."""
        aside = f"{self.root}/{ASIDE}/{sha256}.{uuid.uuid4().hex}"
        try:
            if self.local is not None:
                self.fs.makedirs(f"{self.root}/{ASIDE}", exist_ok=True)
                Path(self.path(sha256)).rename(aside)
                return aside
            self.fs.cp_file(self.path(sha256), aside)
        except FileNotFoundError:
            return None
        self.discard(self.path(sha256))
        return aside

    def bring_back(self, aside: str) -> None:
        """Undoes `lay_aside`, unless the same bytes have been put again: those may be the better ones."""
        self._restore(aside)
        self.discard(aside)

    def discard(self, path: str) -> None:
        with suppress(FileNotFoundError):  # somebody else came to the same end
            self.fs.rm_file(path)

    def _restore(self, aside: str) -> None:
        sha256 = aside.rsplit("/", 1)[1].partition(".")[0]
        target = self.path(sha256)
        if self.fs.exists(target):
            return
        with suppress(FileNotFoundError):
            if self.local is None:
                self.fs.cp_file(aside, target)
                return
            with _whole_or_not(Path(target)) as temporary:
                _link(Path(aside), temporary)

    def _reach(self, sha256: str, use: Callable[[str], T]) -> T:
        """`use(path)`. A blob that was laid aside is put back first: whoever asks for it has a row that refers to it, and the
        process that should bring it back may be dead."""
        try:
            return use(self.path(sha256))
        except FileNotFoundError:
            with suppress(FileNotFoundError):
                for aside in self.fs.ls(f"{self.root}/{ASIDE}", detail=False):
                    if aside.rsplit("/", 1)[1].startswith(sha256):
                        self._restore(aside)
            return use(self.path(sha256))

    def _holds(self, target: str, sha256: str, size: int) -> bool:
        try:
            return self.fs.info(target)["size"] == size and (self.local is None or sha256_of(Path(target)) == sha256)
        except FileNotFoundError:
            return False


@contextmanager
def _whole_or_not(target: Path) -> Iterator[Path]:
    """A place beside `target` that becomes it at the end of the block; on an exception (a full disk, say) nothing stays behind."""
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _copied(copy: Path, sha256: str, target: Path) -> bool:
    """Whether the copy was there, and whole; used now, it is not the first to go."""
    try:
        _link(copy, target)
        if sha256_of(target) == sha256:
            os.utime(copy)
            return True
        copy.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    target.unlink(missing_ok=True)
    return False


def anew(path: Path) -> Path:
    """The path with nothing at it: a file that was put may be a second name of the stored bytes, and writing into it would change those."""
    path.unlink(missing_ok=True)
    return path


def _link(source: Path, target: Path) -> None:
    """A second name for the same bytes; a copy where that cannot be."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
