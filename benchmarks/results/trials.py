"""A sweep of 24 students beside the same 24 as separate jobs, in wall time: what trying values costs.

Every way gets a fresh service of two slots, with an empty cache of teacher outputs, and the same teacher, whose training is not counted.
The ways take turns, three rounds of them.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.results import store
from benchmarks.results.plan import EXAMPLES, filled
from benchmarks.results.store import Record
from benchmarks.results.words import table
from benchmarks.service import running
from contract.sweep import SweepSpec
from potstill import Client
from potstill.job import Job
from potstill.specs import load

NAME = "sweep-students"
ROUNDS = 3
SECONDS = 3600.0
HALVING = {"first_epochs": 1, "factor": 3}

Outcome = tuple[int, float]  # passes of the teacher over all rows, and the best student's share right of the validation rows


def measure(mnist: Path) -> None:
    if store.read(NAME) is not None:
        print(f"sweep: all there; delete {store.DATA / NAME}.json to run it again", flush=True)
        return
    spec = load(EXAMPLES / "sweep" / "students.yaml")
    found: dict[str, list[Record]] = {name: [] for name in WAYS}
    with TemporaryDirectory() as folder:
        teacher = _teacher(mnist, Path(folder) / "teacher")
        for turn in range(ROUNDS):
            order = list(WAYS.items())
            for name, way in order[turn:] + order[:turn]:
                found[name].append(_once(way, spec, teacher, mnist))
                print(f"sweep, {name}: {found[name][-1]}", flush=True)
    store.write(NAME, {"spec": spec, "ways": found})


def _teacher(mnist: Path, folder: Path) -> Path:
    with running(slots=store.SLOTS) as (client, _):
        job = client.jobs.submit(filled(load(EXAMPLES / "sweep" / "teacher.yaml"), {"ds_MNIST": client.datasets.upload(mnist).id}))
        return Path(job.wait(timeout=SECONDS).pull(folder))


def _once(way: Callable[[Client, Record], Outcome], spec: Record, teacher: Path, mnist: Path) -> Record:
    with running(slots=store.SLOTS) as (client, _):
        ids = {"ds_MNIST": client.datasets.upload(mnist).id}
        sent = filled(spec, ids)
        sent["job"]["teacher"] = {"model": client.models.upload(teacher).id}
        started = time.monotonic()
        passes, best = way(client, sent)
        return {"seconds": round(time.monotonic() - started, 2), "passes": passes, "best": best}


# ---- the ways


def _sweep(client: Client, spec: Record) -> Outcome:
    view = client.sweeps.wait(client.sweeps.submit(spec).id, timeout=SECONDS)
    assert view.trials is not None and view.best is not None and view.teacher_passes is not None
    value = next(trial.value for trial in view.trials if trial.number == view.best)
    assert value is not None
    return view.teacher_passes, value


def _halved(client: Client, spec: Record) -> Outcome:
    return _sweep(client, {**spec, "halving": HALVING})


def _at_once(client: Client, spec: Record) -> Outcome:
    jobs = [client.jobs.submit(job) for job in _jobs(spec)]
    return _outcome([job.wait(timeout=SECONDS) for job in jobs])


def _in_turn(client: Client, spec: Record) -> Outcome:
    return _outcome([client.jobs.submit(job).wait(timeout=SECONDS) for job in _jobs(spec)])


def _live(client: Client, spec: Record) -> Outcome:
    jobs = [client.jobs.submit({**job, "teacher_outputs": "live"}) for job in _jobs(spec)]
    return _outcome([job.wait(timeout=SECONDS) for job in jobs])


WAYS: dict[str, Callable[[Client, Record], Outcome]] = {
    "a sweep": _sweep,
    "a sweep that stops losers early": _halved,
    "24 jobs, sent at once": _at_once,
    "24 jobs, each sent when the one before it has ended": _in_turn,
    "24 jobs, sent at once, that each ask the teacher themselves": _live,
}


def _jobs(spec: Record) -> list[Record]:
    sweep = SweepSpec.model_validate(spec)
    return [sweep.filled(values) for values in sweep.grid()]


def _outcome(jobs: list[Job]) -> Outcome:
    return sum(map(_passes, jobs)), max(job.view.latest["validation/accuracy"] for job in jobs)


def _passes(job: Job) -> int:
    """A live teacher is asked for every row in every epoch."""
    assert job.report is not None
    made = job.report["teacher_outputs"]
    return int(job.view.resolved_spec["training"]["epochs"]) if made["mode"] == "live" else int(made["cache"] == "built")


# ---- the page


def section() -> list[str]:
    record = store.read(NAME)
    if record is None:
        return []
    ways: dict[str, list[Any]] = record["ways"]
    seconds = {name: [once["seconds"] for once in rounds] for name, rounds in ways.items()}
    first = statistics.median(seconds["a sweep"])
    lines = []
    for name, rounds in ways.items():
        times = seconds[name]
        spread = f"{statistics.median(times):.0f} ({min(times):.0f} to {max(times):.0f})"
        passes = "–".join(dict.fromkeys(f"{count:,}" for count in sorted(once["passes"] for once in rounds)))
        best = max(once["best"] for once in rounds)
        lines.append([name, spread, f"{statistics.median(times) / first:.2f}", passes, f"{100 * best:.2f}"])
    heads = ["24 students as", "seconds, median (range)", "against the sweep", "teacher passes", "best, % of validation rows"]
    return [
        f"""
## What trying 24 students costs

Two sizes, three temperatures, two weights of the teacher and two learning rates, on 20,000 images of MNIST, four epochs each; a
convolutional teacher that is there already. Each way on a service of its own with two slots and nothing cached, in turns.

{table(heads, lines)}

Jobs that are sent separately share the teacher's outputs, too, where they run on one service; what they cannot do is stop when others are
better. Specs: [examples/sweep](../examples/sweep). Measured by `python -m benchmarks.results sweep`.
"""
    ]
