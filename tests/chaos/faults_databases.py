"""A Postgres that dies and comes back, alone and together with Redis, while a stream of tiny jobs runs; and one that is locked."""

import random
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from chaos_faults import Trial, each, fault
from chaos_infrastructure import LONGER, TINY, Site, storm
from chaos_world import Deployment, living
from servers import until

from models.results import MetricPoint

JOBS = 25  # of one trial; 40 trials in a row, which share a deployment, are the thousand
PACE = (2.0, 8.0)  # seconds from one strike to the next; down for up to five
DOWN = 5.0
LOCKED = 10.0
Lock = Callable[[], AbstractContextManager[Any]]


@fault("postgres", "Postgres killed or stopped at once every 2 to 8 s, 0 to 5 s down, during 25 tiny jobs", fast=1, long=200)
def postgres(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    yield from each("postgres", seeds, lambda: Site(folder, slots=2), lambda *given: _stream(*given, both=False))


@fault("everything", "Postgres and Redis both, in turn or together, during 25 tiny jobs through 4 workers", fast=1, long=40)
def everything(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    yield from each("everything", seeds, lambda: _of_four(folder), lambda *given: _stream(*given, both=True))


def _of_four(folder: Path) -> Site:
    """Two at a time: four that import torch at once keep each other from getting ready."""
    site = Site(folder)
    for worker in [site.worker(host) for host in ("three", "four")]:
        worker.ready(180)
    return site


def _stream(world: Site, random: random.Random, trial: Trial, *, both: bool) -> None:
    def strike() -> None:
        names = random.choice((["postgres"], ["redis"], ["postgres", "redis"])) if both else ["postgres"]
        ways = {name: random.choice(("kill", "stop")) if name == "postgres" else "kill" for name in names}
        world.did("down", **ways)
        for name, way in ways.items():
            getattr(getattr(world, name), way)()
        time.sleep(random.uniform(0, DOWN))
        for name in names:
            getattr(world, name).start()
        world.did("up", **ways)

    began, since = time.monotonic(), time.time()
    with storm(random, PACE, strike) as strikes:
        ids = []
        for seed in range(JOBS):
            ids.append(world.insist({**TINY, "training": {"epochs": 2, "seed": seed}}))
        world.all_end(ids, 300)
        until(lambda: strikes, 30, "a strike")
    world.all_end(ids, 60)
    rows = world.succeeded(trial, ids)
    trial.expect(all(row.crashes == 0 for row in rows), "the database's death was counted as the trainer's")
    trial.facts |= {"strikes": len(strikes), "seconds": round(time.monotonic() - began, 1)}
    trial.recovery_seconds += _recoveries(world, ids, since)


def _recoveries(world: Site, job_ids: list[str], since: float) -> list[float]:
    """From each time the servers were back until the next job was claimed."""
    back = [entry["at"] for entry in world.history.entries("fault") if entry["what"] == "up" and entry["at"] > since]
    claims = sorted(e.created_at.timestamp() for id_ in job_ids for e in world.events(id_, "status") if e.data["to"] == "running")
    return [next(claim - at for claim in claims if claim > at) for at in back if claims[-1] > at]


# ---- locked


@fault("locked", "the database locked for 10 s and more while a trainer runs to its end: steps go on, the news come later", fast=1, long=30)
def locked(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    chosen = list(seeds)
    makers: tuple[Callable[[], Deployment], ...] = (
        lambda: Deployment(folder / f"sqlite-{time.monotonic_ns()}", hosts=("one",), lease=60.0),
        lambda: Site(folder, hosts=("one",), lease=60.0),
    )
    for number, make in enumerate(makers):
        yield from each("locked", [seed for seed in chosen if seed % 2 == number], make, _locked)


def _locked(world: Deployment, random: random.Random, trial: Trial) -> None:
    spec = {**LONGER, "training": {**LONGER["training"], "seed": random.randrange(1000)}}
    undisturbed = world.submit(spec)
    assert world.wait(undisturbed).status == "succeeded"
    job_id = world.submit(spec)
    until(lambda: (world.row(job_id).progress.get("step") or 0) > random.randrange(200), 60, "some steps")
    began = time.monotonic()
    with _lock(world):
        world.did("locked")
        running = [process for worker in world.workers for process in worker.trainers()]
        until(lambda: not living(running), 60, "the trainer's end while nothing could be written")
        gone = time.monotonic() - began
        time.sleep(max(0.0, LOCKED - gone))
    world.did("unlocked")
    row = world.wait(job_id, 60)
    trial.violations += world.check(job_id)
    trial.expect((row.status, row.attempt) == ("succeeded", 1), f"it was {row.status} in attempt {row.attempt}: {row.error}")
    trial.expect(_points(world, job_id) == _points(world, undisturbed), "its metrics are not those of an undisturbed run")
    trial.facts |= {"backend": world.database.dialect, "trainer_gone_after": round(gone, 1), "running": len(running)}
    trial.expect(bool(running), "nothing was running when the lock came")


@contextmanager
def _lock(world: Deployment) -> Iterator[None]:
    if isinstance(world, Site):
        with world.postgres.connect(world.name) as connection, connection.transaction():
            connection.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
            yield
    else:
        connection = sqlite3.connect(world.folder / "potstill.db", timeout=30, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
        connection.close()


def _points(world: Deployment, job_id: str) -> set[tuple[str, int, float]]:
    query = sa.select(MetricPoint.name, MetricPoint.step, MetricPoint.value).where(MetricPoint.job_id == job_id)
    with world.database.read() as session:
        return {(name, step, value) for name, step, value in session.execute(query) if "second" not in name and name != "memory_bytes"}
