"""Clocks that are an hour wrong, on workers and on Postgres: leases and times are the database's, durations nobody's but one's own."""

import random
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import sqlalchemy as sa
from chaos_clock import compiler, skewed
from chaos_faults import Trial, each, fault
from chaos_infrastructure import LONGER, Site
from chaos_world import Worker
from servers import until

from models.base import now
from models.results import Artifact, Checkpoint

HOUR = 3600
LEASE = 3.0
NEAR = 60.0  # seconds; an hour is far
SPEC = {**LONGER, "training": {**LONGER["training"], "epochs": 300}}


class Clocks(Site):
    """One worker an hour ahead and one an hour behind, or a Postgres that is."""

    def __init__(self, folder: Path, of_postgres: int) -> None:
        self.tools, self.of_postgres = Path(tempfile.mkdtemp(prefix="potstill-clock-")), of_postgres
        clock = skewed(self.tools, of_postgres) if of_postgres else {}
        super().__init__(folder, lease=LEASE, clock=clock)

    def worker(self, host: str, **environment: str) -> Worker:
        skew = {} if self.of_postgres else skewed(self.tools, HOUR if host == "one" else -HOUR)
        return super().worker(host, **{**environment, **skew})


@fault("clocks", "workers an hour ahead and behind, or Postgres; the one that runs the job is stopped past its lease", fast=1, long=100)
def clocks(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    chosen = list(seeds)
    yield from each("clocks", [seed for seed in chosen if seed % 2 == 0], lambda: Clocks(folder, 0), _clocks)
    if compiler() is not None:
        for number, skew in ((1, HOUR), (3, -HOUR)):
            yield from each("clocks", [seed for seed in chosen if seed % 4 == number], lambda skew=skew: Clocks(folder, skew), _clocks)  # type: ignore[misc]


def _clocks(world: Clocks, random: random.Random, trial: Trial) -> None:
    with world.database.read() as session:
        began = session.scalar(sa.select(now()))
    assert began is not None
    trial.expect(abs(began.timestamp() - time.time() - world.of_postgres) < NEAR, "the database's clock is not as wrong as it should be")
    job_id = world.insist(SPEC)
    until(lambda: (world.row(job_id).progress.get("step") or 0) > random.randrange(20, 200), 60, "some steps")
    holder = world.holder(job_id)
    assert holder is not None, "it ended before it could be stopped"
    stopped = time.monotonic()
    holder.freeze()
    world.did("stopped", host=holder.host)
    until(lambda: world.row(job_id).attempt == 2, 60, "a second attempt")
    waited = time.monotonic() - stopped
    holder.thaw()
    world.all_end([job_id], 90)
    (row,) = world.succeeded(trial, [job_id])
    trial.recovery_seconds.append(waited)
    trial.expect(waited > LEASE / 2, f"the lease of {LEASE} s was given away after {waited:.1f} s")
    times = [row.created_at, row.queued_at, row.started_at, row.finished_at, *(event.created_at for event in world.events(job_id))]
    with world.database.read() as session:
        for table in (Artifact, Checkpoint):
            times += session.scalars(sa.select(table.created_at).where(table.job_id == job_id)).all()
    off = [at for at in times if at is None or abs((at - began).total_seconds()) > 2 * NEAR]
    trial.expect(not off, f"times that are not the database's: {off[:3]}, it began at {began}")
    trial.facts |= {"postgres_skew": world.of_postgres, "attempts": row.attempt}
