"""Files of teacher outputs, under keys made of content: what one job had computed, any other with the same key reads."""

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from contract.errors import JobError, PotstillError
from distill import disk

T = TypeVar("T")
Tensors = dict[str, Tensor]
Shapes = Mapping[str, tuple[int | None, ...]]  # None: of whatever length
How = Literal["built", "hit"]


class Shelf(Protocol):
    """Where workers of other hosts find what was kept by one. Both raise PotstillError where it cannot be reached."""

    def unshelve(self, name: str, target: Path) -> bool: ...
    def shelve(self, name: str, source: Path) -> None: ...


@dataclass(frozen=True)
class Cache:
    """This machine's folder, and a shelf shared with others where there is one."""

    folder: Path
    shelf: Shelf | None = None
    attempt: str = ""  # of whose run this is; what others built to help it counts as its own
    waits: bool = True  # for what another process is building; who only helps does not


class ElsewhereError(Exception):
    """All that is missing is being built by others, and that is not waited for."""


class Part(NamedTuple):
    """Tensors under `key`, which have these shapes, and what makes them."""

    key: str
    shapes: Shapes
    build: Callable[[], Tensors]


class Built(NamedTuple):
    """How much of what was asked for had to be built here: 0 to 1."""

    share: float

    @classmethod
    def of(cls, found: Sequence[How]) -> "Built":
        return cls(found.count("built") / len(found))

    @classmethod
    def mean(cls, several: Sequence["Built"]) -> "Built":
        return cls(sum(each.share for each in several) / len(several))

    @property
    def how(self) -> How:
        return "built" if self.share else "hit"

    def told(self) -> dict[str, object]:
        """share: where others built the rest."""
        return {"cache": self.how, **({"share": round(self.share, 4)} if 0 < self.share < 1 else {})}


def all_kept(cache: Cache, parts: Sequence[Part], warn: Callable[[str], None]) -> tuple[list[Tensors], Built]:
    """One that another process is building just now is left to it, and the next is taken: runs that start together and need the same
    share the work. Hosts have no locks in common, but a shelf, and begin at parts of their own."""
    begin = int.from_bytes(os.urandom(4), "big") % len(parts)
    cache = replace(cache, shelf=_WhileThere(cache.shelf)) if cache.shelf is not None else cache
    found: dict[int, tuple[Tensors, How]] = {}
    for wait in (False, True)[: 1 + cache.waits]:
        for number in [*range(begin, len(parts)), *range(begin)]:
            if number not in found and (one := _kept(cache, parts[number], warn, wait)) is not None:
                found[number] = one
    if len(found) < len(parts):
        raise ElsewhereError
    return [found[number][0] for number in range(len(parts))], Built.of([how for _, how in found.values()])


def kept(cache: Cache, key: str, shapes: Shapes, build: Callable[[], Tensors], warn: Callable[[str], None]) -> tuple[Tensors, How]:
    """The tensors under `key`, which have these shapes; built and written where they are not there, or not whole."""
    found = _kept(cache, Part(key, shapes, build), warn, wait=cache.waits)
    if found is None:
        raise ElsewhereError
    return found


def _kept(cache: Cache, part: Part, warn: Callable[[str], None], wait: bool) -> tuple[Tensors, How] | None:
    """None where another process is at it, and that is not waited for."""
    path = place(cache, part.key)
    with _one_at_a_time(path, wait) as ours:
        if not ours:
            return None
        known = _read(path, part.shapes)
        if known is None and _unshelved(cache.shelf, path, warn):
            known = _read(path, part.shapes)
        if known is not None:
            with contextlib.suppress(OSError):
                os.utime(path)  # what was not used for longest is the first to go
            tensors, helped = known
            return tensors, "built" if helped and helped == cache.attempt else "hit"
        built = part.build()
        try:
            _write(path, built, "" if cache.waits else cache.attempt)
        except (JobError, OSError, SafetensorError) as error:  # it saves work, and is worth no job
            warn(f"the run goes on with the teacher's outputs in memory: {error}")
            return built, "built"
    _shelve(cache.shelf, path, warn)  # others of this machine read it meanwhile
    return built, "built"


def place(cache: Cache, key: str) -> Path:
    """Where what is kept under `key` lies on this machine."""
    return cache.folder / key[:2] / f"{key}.safetensors"


@dataclass
class _WhileThere:
    """A shelf that is not asked again once it could not be reached: each time somebody would wait for it."""

    shelf: Shelf
    away: bool = False

    def unshelve(self, name: str, target: Path) -> bool:
        return not self.away and self._asked(lambda: self.shelf.unshelve(name, target))

    def shelve(self, name: str, source: Path) -> None:
        if not self.away:
            self._asked(lambda: self.shelf.shelve(name, source))

    def _asked(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except (PotstillError, OSError):
            self.away = True
            raise


def _unshelved(shelf: Shelf | None, path: Path, warn: Callable[[str], None]) -> bool:
    """What cannot be had from there is built here: a shelf saves work, and is worth no job either."""
    if shelf is None:
        return False
    try:
        path.unlink(missing_ok=True)
        return shelf.unshelve(path.name, path)
    except (PotstillError, OSError) as error:
        warn(f"the teacher is asked here, whatever others have kept, and they will not find the answers: {error}")
        return False


def _shelve(shelf: Shelf | None, path: Path, warn: Callable[[str], None]) -> None:
    if shelf is None:
        return
    try:
        shelf.shelve(path.name, path)
    except (PotstillError, OSError) as error:
        warn(f"other hosts will ask the teacher themselves: {error}")


@contextlib.contextmanager
def _one_at_a_time(path: Path, wait: bool) -> Iterator[bool]:
    """Whether it is this process's turn, which without waiting it may not be. Where no lock can be had, it is everybody's."""
    with contextlib.ExitStack() as held:
        ours = True
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = held.enter_context(path.with_suffix(".lock").open("a"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                ours = False
        yield ours


def _read(path: Path, shapes: Shapes) -> tuple[Tensors, str] | None:
    """Mapped into memory, not copied; and which attempt was helped by it, if any. None where there is no file, or one that a crash of the
    machine tore or a disk changed."""
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            said = file.metadata() or {}
    except (OSError, SafetensorError):
        return None
    if found.keys() != shapes.keys() or not all(_fits(found[name], shape) for name, shape in shapes.items()):
        return None
    return (found, said.get("helped", "")) if _digest(found) == said.get("sha256") else None


def _fits(tensor: Tensor, shape: tuple[int | None, ...]) -> bool:
    return tensor.ndim == len(shape) and all(asked in (None, there) for asked, there in zip(shape, tensor.shape, strict=True))


def _digest(tensors: Tensors) -> str:
    found = sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()


def _write(path: Path, tensors: Tensors, helped: str) -> None:
    """Whole or not at all: two jobs that build the same outputs at once both succeed, and write the same bytes."""
    for left in path.parent.glob(f".{path.stem}.*"):  # by a crash; there may be one for each
        shutil.rmtree(left, ignore_errors=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}")
    whole = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    with disk.writing("The cache of teacher outputs", temporary, sum(tensor.nbytes for tensor in whole.values())):
        temporary.mkdir()
        save_file(whole, temporary / path.name, metadata={"sha256": _digest(whole), **({"helped": helped} if helped else {})})
        os.replace(temporary / path.name, path)  # noqa: PTH105 - the atomic rename is the point
    temporary.rmdir()
