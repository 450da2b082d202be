"""The registry of faults. A module `faults_*.py` beside this one registers its own; `faults()` loads them all.

    @fault("worker_kill", "kill -9 of a worker at a random step or a named point", fast=4, long=300)
    def worker_kill(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
        yield from each("worker_kill", seeds, lambda: Deployment(folder / …), one_trial)

`one_trial(world, random, trial)` breaks something, waits for the end and fills in the trial. What it raises is a violation, and
the next trial gets a fresh deployment; otherwise trials share one, because starting it costs more than most of them.
"""

import importlib
import random
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar


@dataclass
class Trial:
    fault: str
    seed: int
    violations: list[str] = field(default_factory=list)
    recovery_seconds: list[float] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def expect(self, promise: bool, words: str) -> None:
        if not promise:
            self.violations.append(words)


Run = Callable[[Path, Iterable[int]], Iterator[Trial]]


@dataclass(frozen=True)
class Fault:
    name: str
    words: str  # what is done, in one line
    fast_trials: int  # in the tests
    long_trials: int  # in `make chaos`
    run: Run


FAULTS: dict[str, Fault] = {}


def fault(name: str, words: str, *, fast: int, long: int) -> Callable[[Run], Run]:
    def register(run: Run) -> Run:
        FAULTS[name] = Fault(name, words, fast, long, run)
        return run

    return register


def faults() -> dict[str, Fault]:
    for path in sorted(Path(__file__).parent.glob("faults_*.py")):
        importlib.import_module(path.stem)
    return FAULTS


def fast(name: str, folder: Path) -> list[Trial]:
    """The fast set of one fault, none of whose promises was broken."""
    chosen = faults()[name]
    trials = list(chosen.run(folder, range(chosen.fast_trials)))
    assert len(trials) == chosen.fast_trials > 0
    broken = [(trial.seed, trial.facts, trial.violations) for trial in trials if trial.violations]
    assert not broken, broken
    return trials


class Closable(Protocol):
    def close(self) -> None: ...


World = TypeVar("World", bound=Closable)


def each(name: str, seeds: Iterable[int], make: Callable[[], World], one: Callable[[World, random.Random, Trial], None]) -> Iterator[Trial]:
    world: World | None = None
    try:
        for seed in seeds:
            trial = Trial(name, seed)
            try:
                world = world or make()
                one(world, random.Random(f"{name} {seed}"), trial)
            except Exception as error:  # noqa: BLE001 - whatever it is, the trial has failed
                where = traceback.extract_tb(error.__traceback__)[-1]
                trial.violations.append(f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})")
                if world is not None:
                    world.close()
                    world = None
            yield trial
    finally:
        if world is not None:
            world.close()
