"""Workers and trainers that die: at any step, at every named point, one by one and a whole host at once."""

import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from chaos_faults import Trial, fault
from chaos_jobs import JOB, STEPS, World, job, on_both, on_sqlite
from chaos_plan import COMMIT_POINTS, TRAINER_POINTS
from servers import until

ANY_STEP = "any-step"
OF_WORKERS = [ANY_STEP, *COMMIT_POINTS]
OF_TRAINERS = [ANY_STEP, *(point for point in TRAINER_POINTS if point != "step")]


def killed_at(world: World, point: str) -> float:
    """Waits until the plan has fired; when it did."""
    until(world.plan.fired, 60, f"a passage of {point}")
    armed = world.plan.armed()
    assert armed is not None
    (fired,) = world.plan.folder.glob(f"fired-{armed.token}-*")
    at = fired.stat().st_mtime
    world.did("kill", point=point, process=world.plan.fired()[0])
    world.plan.disarm()
    return at


@fault("worker_kill", "kill -9 of the worker at a random step and at each named point; a worker of another host goes on", fast=2, long=300)
def worker_kill(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    yield from on_both("worker_kill", folder, seeds, _worker_kill)


def _worker_kill(world: World, random: random.Random, trial: Trial) -> None:
    world.replace_the_dead()
    point = OF_WORKERS[trial.seed % len(OF_WORKERS)]
    if point == ANY_STEP:
        job_id = world.submit(JOB)
        step = random.randrange(1, STEPS // 2)
        until(lambda: world.step(job_id) >= step, 60, f"step {step}")
        holder = world.holder(job_id)
        assert holder is not None, "it ended before it could be hit"
        at = world.kill(trial, holder)
    else:
        world.plan.arm(point, nth=random.randint(1, 4) if "checkpoint" in point else 1)
        job_id = world.submit(JOB)
        at = killed_at(world, point)
    attempts = 1 if point in ("before-claim-commit", "after-finish-commit") else 2
    if point != "after-finish-commit":
        trial.recovery_seconds.append(world.back_after(job_id, at, attempts))
    world.ends_well(trial, job_id, JOB, attempts)
    trial.facts["point"] = point


@fault("trainer_kill", "kill -9 of the trainer at a random step and at each named point; its worker goes on", fast=2, long=300)
def trainer_kill(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    yield from on_sqlite("trainer_kill", folder, seeds, _trainer_kill, hosts=("one",), lease=30.0)


def _trainer_kill(world: World, random: random.Random, trial: Trial) -> None:
    point = OF_TRAINERS[trial.seed % len(OF_TRAINERS)]
    passages = {ANY_STEP: STEPS, "forward": STEPS, "checkpoint-file": 9, "before-rename": 3, "after-rename": 3}.get(point, 1)
    world.plan.arm("step" if point == ANY_STEP else point, nth=random.randint(1, passages))
    job_id = world.submit(JOB)
    at = killed_at(world, point)
    trial.recovery_seconds.append(world.back_after(job_id, at, 2))
    row = world.ends_well(trial, job_id, JOB, 2)
    trial.expect(row.attempt == 2, f"one kill, and attempt {row.attempt}")
    trial.facts["point"] = point


@fault("trainer_oom", "the kernel's kill in the middle of a forward pass, or an allocation that is refused there", fast=2, long=60)
def trainer_oom(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    yield from on_sqlite("trainer_oom", folder, seeds, _trainer_oom, hosts=("one",), lease=30.0)


def _trainer_oom(world: World, random: random.Random, trial: Trial) -> None:
    """Killed, it is a crash and goes on; refused, it goes on with what it has, fewer rows at a time if need be, else the user hears of it;
    it never hangs, and is not tried again."""
    action = ("kill", "starve")[trial.seed % 2]
    spec = {**job(epochs=20, batch_size=1024), "student": {"arch": "mlp", "hidden": [2048, 1024]}}
    world.plan.arm("forward", nth=random.randint(2, 20), action=action)
    job_id = world.submit(spec)
    at = killed_at(world, "forward")
    trial.facts["action"] = action
    if action == "kill":
        trial.recovery_seconds.append(world.back_after(job_id, at, 2))
        world.ends_well(trial, job_id, attempts=2)
        return
    row = world.wait(job_id)
    trial.violations += world.check(job_id)
    code = row.error["code"] if row.error else None
    as_promised = (row.status, code) in (("failed", "out_of_memory"), ("succeeded", None))
    trial.expect(as_promised and row.attempt == 1, f"it ended {row.status}, {code}, in attempt {row.attempt}")
    trial.facts |= {"ended": row.status, "warnings": row.warnings}


@fault("orphans", "kill -9 of a worker in the middle of a run: how long until nothing of its family is left", fast=0, long=100)
def orphans(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    yield from on_sqlite("orphans", folder, seeds, _orphans)


def _orphans(world: World, random: random.Random, trial: Trial) -> None:
    world.replace_the_dead()
    job_id = world.submit(JOB)
    step = random.randrange(1, STEPS // 2)
    until(lambda: world.step(job_id) >= step, 60, f"step {step}")
    holder = world.holder(job_id)
    assert holder is not None, "it ended before it could be hit"
    trial.expect(len(holder.family()) >= 3, "no worker, fork server and trainer to kill")
    world.kill(trial, holder)
    trial.recovery_seconds.append(trial.facts["orphans_gone"])
    world.ends_well(trial, job_id, attempts=2)


@fault(
    "host_restart",
    "everything on a host killed, a worker started again: how long from its being ready until it has the jobs",
    fast=0,
    long=60,
)
def host_restart(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    yield from on_sqlite("host_restart", folder, seeds, _host_restart, hosts=("one", "one"), lease=30.0)


def _host_restart(world: World, random: random.Random, trial: Trial) -> None:
    spec = job(epochs=150)
    while sum(worker.alive for worker in world.workers) < 2:
        world.worker("one")
    for worker in world.workers:
        worker.ready()
    job_ids = [world.submit(spec) for _ in range(2)]
    until(lambda: all(world.step(job_id) > 0 for job_id in job_ids), 60, "two running jobs")
    for worker in world.workers:
        world.kill(trial, worker)
    worker = world.worker("one").ready()
    ready = time.time()
    job_id = job_ids[0]
    trial.recovery_seconds.append(max(0.0, world.back_after(job_id, ready, 2, 25)))
    trial.expect(trial.recovery_seconds[0] <= 5, "it waited for the lease")
    for job_id in job_ids:
        world.ends_well(trial, job_id, attempts=2)


@fault("worker_kill_default", "kill -9 of a worker with the default lease: how long until another host runs the job", fast=0, long=30)
def worker_kill_default(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    yield from on_sqlite("worker_kill_default", folder, seeds, _worker_kill_default, lease=30.0)


def _worker_kill_default(world: World, random: random.Random, trial: Trial) -> None:
    world.replace_the_dead()
    spec = job(epochs=1000)
    job_id = world.submit(spec)
    until(lambda: world.step(job_id) > 0, 60, "a first step")
    time.sleep(random.uniform(0, 5))  # anywhere between two renewals
    holder = world.holder(job_id)
    assert holder is not None, "it ended before it could be hit"
    at = world.kill(trial, holder)
    trial.recovery_seconds.append(world.back_after(job_id, at, 2))
    world.ends_well(trial, job_id, attempts=2)
