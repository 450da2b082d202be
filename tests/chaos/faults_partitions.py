"""A worker that cannot reach the database, and nobody is told: frozen, dead, replaced, and silent after the network is back."""

import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
from chaos_faults import Trial, each, fault
from chaos_infrastructure import LONGER, Site
from chaos_proxy import never
from servers import until

from models.session import IDLE_SECONDS

LEASE = 3.0
LONGEST = 6  # leases: 18 s of partition with a lease of 3 s stand for 180 s with one of 30 s
SLACK = 7.0  # seconds a busy machine may take to look, claim and say so
SPEC = {**LONGER, "training": {**LONGER["training"], "epochs": 500}}


@fault(
    "partition",
    "a worker cut off from the database for 1 to 18 s, with a lease of 3 s; also between statement and COMMIT",
    fast=2,
    long=100,
)
def partition(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    yield from each("partition", seeds, lambda: Site(folder, proxied=("one", "two"), lease=LEASE), _partition)


def _partition(world: Site, random: random.Random, trial: Trial) -> None:
    # The first of five is short, the others outlast the lease: that is where two could hold one job.
    seconds = random.uniform(LEASE / 3, LEASE) if trial.seed % 5 == 0 else random.uniform(LEASE * 1.5, LEASE * LONGEST)
    job_id = world.insist(SPEC)
    until(lambda: (world.row(job_id).progress.get("step") or 0) > 50, 60, "some steps")
    holder = world.holder(job_id)
    assert holder is not None, "it ended before it could be cut off"
    (trainer,) = holder.trainers()
    proxy, inside = world.proxies[holder.host], random.random() < 0.5
    if inside:
        proxy.hold_at = lambda number: True
        until(proxy.held, 10, "a transaction that writes")
        proxy.hold_at = never
    else:
        time.sleep(random.uniform(0, LEASE / 6))
        proxy.partition()
    began = time.time()
    world.did("partition", host=holder.host, seconds=seconds, inside=inside)
    frozen, dead = _watch(trainer, began, seconds)
    taken = _second_claim(world, job_id)
    proxy.heal(reset=random.random() < 0.5)
    world.did("healed", host=holder.host)
    world.all_end([job_id], 90)
    trial.violations += world.check(job_id)
    row = world.row(job_id)
    trial.expect(row.status == "succeeded", f"it ended {row.status}: {row.error}")
    trial.expect(row.crashes == 0, "the partition was counted as a crash")
    _judge(trial, seconds, began, frozen, dead, taken)
    trial.facts |= {"seconds": round(seconds, 1), "inside": inside, "attempts": row.attempt, "frozen": frozen, "dead": dead}


def _watch(trainer: psutil.Process, began: float, seconds: float) -> tuple[float | None, float | None]:
    """How long after the beginning the trainer was seen frozen, and gone."""
    frozen = dead = None
    while time.time() - began < seconds:
        try:
            status = trainer.status()
        except psutil.NoSuchProcess:
            status = psutil.STATUS_ZOMBIE
        if frozen is None and status == psutil.STATUS_STOPPED:
            frozen = round(time.time() - began, 2)
        if dead is None and status == psutil.STATUS_ZOMBIE:
            dead = round(time.time() - began, 2)
        time.sleep(0.01)
    return frozen, dead


def _second_claim(world: Site, job_id: str) -> float | None:
    """When somebody else took it, by the database's clock, which is this machine's."""
    changes = [e for e in world.events(job_id, "status") if e.data["to"] == "running" and e.attempt == 2]
    return changes[0].created_at.timestamp() if changes else None


def _judge(trial: Trial, seconds: float, began: float, frozen: float | None, dead: float | None, taken: float | None) -> None:
    """The lease was renewed at most a sixth of it before the partition began; the clocks are looked at every twelfth."""
    if seconds < LEASE * 1.5:
        return
    trial.expect(frozen is not None, "its trainer was not frozen before it was killed")
    trial.expect(dead is not None and dead <= LEASE, f"its trainer was dead after {dead} s of a lease of {LEASE} s")
    if taken is not None:
        trial.recovery_seconds.append(taken - began)
        trial.expect(
            dead is not None and began + dead <= taken, f"taken by another after {taken - began:.2f} s, its trainer dead after {dead}"
        )
    trial.expect(taken is not None or seconds < LEASE + IDLE_SECONDS + SLACK, f"nobody took it within {seconds:.1f} s")
