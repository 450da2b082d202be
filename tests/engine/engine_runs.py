"""Small jobs through the real engine, and what they left behind."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
import torch
from torch import Tensor

from contract.check import parse_spec
from contract.events import CheckpointSaved, Finished, LogLine, Outcome, PhaseChanged, RunEvent, Step
from contract.spec import JobSpec
from distill import train
from distill.cache import Cache
from distill.device import threads
from distill.inputs import Inputs
from distill.teacher import Outputs, Teacher, infer

Event = TypeVar("Event")

# 90 rows to train on in 6 steps of 16 (the last of 10), 10 rows to validate, 360 to test.
SMALL: dict[str, Any] = {
    "kind": "train",
    "task": "image-classification",
    "data": {"train": "digits", "max_train_samples": 100, "validation": 0.1},
    "student": {"arch": "mlp", "hidden": [8]},
    "training": {"epochs": 3, "batch_size": 16, "optimizer": {"lr": 5e-3}},
}
STEPS = 18


def small(teacher: Path | dict[str, Any] | None = None, **changes: Any) -> JobSpec:
    """SMALL with the given parts: `data` and `training` are added to, others replaced. With a teacher it distils."""
    document: dict[str, Any] = dict(SMALL)
    if teacher is not None:
        document |= {"kind": "distill", "teacher": {"path": str(teacher)} if isinstance(teacher, Path) else teacher}
    for part, value in changes.items():
        document[part] = document[part] | value if part in ("data", "training") else value
    return parse_spec(document)


@dataclass(frozen=True)
class Ran:
    """One attempt: its outcome, what it said, its folder."""

    outcome: Outcome
    events: list[RunEvent]
    folder: Path

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def report(self) -> dict[str, Any]:
        assert isinstance(self.outcome, Finished)
        return self.outcome.report

    @property
    def student(self) -> Path:
        return self.folder / "result" / "student"

    @property
    def weights(self) -> str:
        """sha256 of the student handed out."""
        return digest(self.student / "model.safetensors")

    @property
    def warnings(self) -> list[str]:
        return [line.message for line in self.of(LogLine) if line.level == "warning"]

    @property
    def phases(self) -> list[str]:
        return [str(event.phase) for event in self.of(PhaseChanged)]

    def checkpoint(self, step: int) -> Path:
        return self.folder / "checkpoints" / str(step)

    @property
    def checkpoints(self) -> list[Path]:
        """Newest first, as `run` wants them."""
        return [Path(event.folder) for event in reversed(self.of(CheckpointSaved))]

    def curve(self) -> list[tuple[int, dict[str, float]]]:
        """Every point of the training curves, without what a clock had a say in."""
        return [
            (event.step, {k: v for k, v in event.metrics.items() if k not in ("steps_per_second", "memory_bytes")})
            for event in self.of(Step)
        ]


def whole_steps(ran: Ran) -> list[tuple[int, dict[str, float]]]:
    """The curve without what is measured of a step's first part alone."""
    return [(step, {k: v for k, v in values.items() if not k.startswith("gradient_share/")}) for step, values in ran.curve()]


class Seen(NamedTuple):
    """What an objective was given: logits [N, C] of student and teacher, labels [N]."""

    z_s: Tensor
    y: Tensor
    z_t: Tensor


class Engine:
    """Runs jobs in folders of their own, with one cache of teacher outputs for all."""

    def __init__(self, home: Path, server: Any = None) -> None:
        """server: who speaks to remote teachers, as in `Inputs`."""
        self.home, self.cache, self.attempts, self.server = home, home / "cache", 0, server

    def run(
        self, spec: JobSpec, stop_after: int | None = None, resume: Iterable[Path] = (), emit: Callable[[RunEvent], None] | None = None
    ) -> Ran:
        """stop_after: ask to stop after that many steps of this attempt."""
        self.attempts += 1
        folder, events = self.home / f"attempt-{self.attempts}", list[RunEvent]()
        folder.mkdir(parents=True)
        asked = 0

        def should_stop() -> bool:
            nonlocal asked
            asked += 1
            return stop_after is not None and asked >= stop_after

        inputs = replace(Inputs.local(spec, self.cache), server=self.server)
        outcome = train.run(spec, folder, emit or events.append, should_stop, inputs=inputs, resume_from=list(resume))
        return Ran(outcome, events, folder)


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def outputs_of(folder: Path, cache: Path) -> tuple[Teacher, Callable[[Any], Outputs]]:
    """The teacher in `folder` and its cached inference."""
    teacher = Teacher(folder, Cache(cache), torch.device("cpu"), pytest.fail)
    return teacher, teacher.outputs


class Counted:
    """The real `infer`, keeping how many rows each call was given. Put it in place of distill.teacher.infer."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, network: Any, config: Any, rows: Any, chunks: Any = None) -> torch.Tensor:
        self.rows.append(len(rows) if chunks is None else sum(map(len, chunks)))
        return infer(network, config, rows, chunks)


def stopped_twice(folder, spec):
    """Checkpoints of steps 13 and 7 of the same run, newest first, and the undisturbed student."""
    engine = Engine(folder)
    with threads(1):
        older = engine.run(spec, stop_after=7).checkpoints
        newer = engine.run(spec, stop_after=6, resume=older).checkpoints
        return [newer[0], older[0]], engine.run(spec).weights
