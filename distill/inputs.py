"""Where the things a spec refers to lie on this machine. The service fills it from its store, `potstill run` from paths."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from contract.errors import InvalidSpec
from contract.registry import BUILTINS
from contract.spec import JobSpec, ModelRef, RemoteTeacher
from datafiles import DataFile
from distill.cache import Cache, Shelf
from distill.server import Server


@dataclass(frozen=True)
class DatasetFile:
    """An uploaded file; `name` is what it was called, whose ending says its format. parts: of data in several files, those of each split,
    under their own names."""

    path: Path
    name: str
    parts: dict[str, list[Path]] = field(default_factory=dict)


@dataclass(frozen=True)
class Inputs:
    cache: Path  # folder of teacher outputs, shared by jobs
    datasets: dict[str, DatasetFile] = field(default_factory=dict)  # by the source's key
    models: dict[str, Path] = field(default_factory=dict)  # by spec field: "teacher", "student"
    shelf: Shelf | None = None
    server: Callable[[RemoteTeacher], Server] | None = None  # who speaks to a remote teacher
    read: dict[str, DataFile] | None = None  # files that were read, where more runs of this process need the same ones
    attempt: str = ""  # a name that no other has
    helping: bool = False  # another's run: only parts of the teacher's outputs are made that nobody is making

    @property
    def kept(self) -> Cache:
        return Cache(self.cache, self.shelf, self.attempt, waits=not self.helping)

    @classmethod
    def local(cls, spec: JobSpec, cache: Path) -> "Inputs":
        """For the engine alone: everything must be a path or built in."""
        datasets, models = {}, {}
        for field_, source in spec.sources().items():
            if source.path is not None:
                datasets[source.path] = DatasetFile(_existing(source.path, f"{field_}.path"), Path(source.path).name)
            elif source.hub is None and source.dataset not in BUILTINS:
                raise InvalidSpec(
                    f"{field_}: {source.dataset} is only known to a service.", param=field_, hint="Give {path: FILE} instead."
                )
        for field_, ref in spec.refs().items():
            if ref.hub is not None:
                continue  # fetched when the run starts
            models[field_] = _local_model(field_, ref)
        return cls(cache, datasets, models)


def _local_model(field_: str, ref: ModelRef) -> Path:
    if ref.path is None:
        raise InvalidSpec(
            f"{field_}: {ref.job or ref.model} is only known to a service.", param=field_, hint="Give {path: FOLDER} instead."
        )
    return _existing(ref.path, f"{field_}.path")


def _existing(path: str, param: str) -> Path:
    found = Path(path).expanduser()
    if not found.exists():
        raise InvalidSpec(f"{param}: there is nothing at {path}.", param=param, hint="Check the path; it is relative to this folder.")
    return found
