"""Files of teacher outputs, under keys made of content: what one job had computed, any other with the same key reads."""

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from contract.errors import JobError, PotstillError
from distill import disk

Tensors = dict[str, Tensor]
Shapes = Mapping[str, tuple[int | None, ...]]  # None: of whatever length


class Shelf(Protocol):
    """Where workers of other hosts find what was kept by one. Both raise PotstillError where it cannot be reached."""

    def unshelve(self, name: str, target: Path) -> bool: ...
    def shelve(self, name: str, source: Path) -> None: ...


@dataclass(frozen=True)
class Cache:
    """This machine's folder, and a shelf shared with others where there is one."""

    folder: Path
    shelf: Shelf | None = None


def kept(
    cache: Cache, key: str, shapes: Shapes, build: Callable[[], Tensors], warn: Callable[[str], None]
) -> tuple[Tensors, Literal["built", "hit"]]:
    """The tensors under `key`, which have these shapes; built and written where they are not there, or not whole."""
    path = place(cache, key)
    with _one_at_a_time(path):
        known = _read(path, shapes)
        if known is None and _unshelved(cache.shelf, path, warn):
            known = _read(path, shapes)
        if known is not None:
            with contextlib.suppress(OSError):
                os.utime(path)  # what was not used for longest is the first to go
            return known, "hit"
        built = build()
        try:
            _write(path, built)
        except (JobError, OSError, SafetensorError) as error:  # it saves work, and is worth no job
            warn(f"the run goes on with the teacher's outputs in memory: {error}")
            return built, "built"
    _shelve(cache.shelf, path, warn)  # others of this machine read it meanwhile
    return built, "built"


def place(cache: Cache, key: str) -> Path:
    """Where what is kept under `key` lies on this machine."""
    return cache.folder / key[:2] / f"{key}.safetensors"


def _unshelved(shelf: Shelf | None, path: Path, warn: Callable[[str], None]) -> bool:
    """What cannot be had from there is built here: a shelf saves work, and is worth no job either."""
    if shelf is None:
        return False
    try:
        path.unlink(missing_ok=True)
        return shelf.unshelve(path.name, path)
    except (PotstillError, OSError) as error:
        warn(f"the teacher is asked here, whatever others have kept: {error}")
        return False


def _shelve(shelf: Shelf | None, path: Path, warn: Callable[[str], None]) -> None:
    if shelf is None:
        return
    try:
        shelf.shelve(path.name, path)
    except (PotstillError, OSError) as error:
        warn(f"other hosts will ask the teacher themselves: {error}")


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Runs of one job start together: the second waits for the first's pass. Where no lock can be had, each makes it."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = held.enter_context(path.with_suffix(".lock").open("a"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(path: Path, shapes: Shapes) -> Tensors | None:
    """Mapped into memory, not copied. None where there is no file, or one that a crash of the machine tore or a disk changed."""
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            written = (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        return None
    if found.keys() != shapes.keys() or not all(_fits(found[name], shape) for name, shape in shapes.items()):
        return None
    return found if _digest(found) == written else None


def _fits(tensor: Tensor, shape: tuple[int | None, ...]) -> bool:
    return tensor.ndim == len(shape) and all(asked in (None, there) for asked, there in zip(shape, tensor.shape, strict=True))


def _digest(tensors: Tensors) -> str:
    found = sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()


def _write(path: Path, tensors: Tensors) -> None:
    """Whole or not at all: two jobs that build the same outputs at once both succeed, and write the same bytes."""
    for left in path.parent.glob(f".{path.stem}.*"):  # by a crash; there may be one for each
        shutil.rmtree(left, ignore_errors=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}")
    whole = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    with disk.writing("The cache of teacher outputs", temporary, sum(tensor.nbytes for tensor in whole.values())):
        temporary.mkdir()
        save_file(whole, temporary / path.name, metadata={"sha256": _digest(whole)})
        os.replace(temporary / path.name, path)  # noqa: PTH105 - the atomic rename is the point
    temporary.rmdir()
