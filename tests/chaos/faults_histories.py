"""What goes on for longer than one kill: crashes in a row, workers that come back from the dead, many things in any order."""

import itertools
import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from chaos_checker import load
from chaos_faults import Trial, fault
from chaos_jobs import DATA, EVERY, JOB, STEPS, World, job, on_both, on_sqlite
from chaos_plan import UNLOCKED_POINTS
from chaos_world import Worker, living
from servers import until
from sqlalchemy import select

from contract.status import FINAL

SLACK = 6.0  # seconds of a busy machine; the figures are in the facts


@fault("crash_loop", "the trainer killed each time before its first checkpoint: failed after three, waits in between", fast=1, long=20)
def crash_loop(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    yield from on_sqlite("crash_loop", folder, seeds, _crash_loop, hosts=("one",), lease=30.0)


def _crash_loop(world: World, random: random.Random, trial: Trial) -> None:
    teacher = world.submit(job(epochs=1))
    world.wait(teacher)
    spec = {**job(checkpoint_every_seconds=3600), "kind": "distill", "teacher": {"job": teacher}}
    world.plan.arm("step", nth=random.randint(2, STEPS // 2), times=3)
    job_id = world.submit(spec)
    row = world.wait(job_id, 120)
    killed = len(world.plan.fired())
    world.plan.disarm()
    trial.violations += world.check(job_id)
    error = row.error or {}
    trial.expect((row.status, error.get("code")) == ("failed", "crash_loop"), f"it ended {row.status}: {error}")
    trial.expect((row.attempt, killed) == (3, 3), f"{killed} kills, attempt {row.attempt}")
    trial.expect("teacher outputs for" in error.get("hint", ""), f"the last log lines are missing: {error.get('hint')}")
    changes = world.events(job_id, "status")
    waits = [
        (after.created_at - before.created_at).total_seconds()
        for before, after in itertools.pairwise(changes)
        if before.data.get("from") == "running" and after.data["to"] == "running"
    ]
    trial.facts["waits"] = [round(wait, 2) for wait in waits]
    trial.expect(len(waits) == 2 and waits[0] < SLACK and 8 <= waits[1] <= 12 + SLACK, f"it waited {waits} s between attempts")


@fault("zombie", "SIGSTOP of a worker past its lease, another takes the job, SIGCONT: nothing more of it is written", fast=1, long=1000)
def zombie(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    yield from on_both("zombie", folder, seeds, _zombie)


def _zombie(world: World, random: random.Random, trial: Trial) -> None:
    """It stops at a random step, or just before it writes a checkpoint or the end; it wakes up while the other works or after.
    On SQLite never inside a transaction: whoever stops there stops everybody, until it goes on or is killed."""
    moments = ["any-step", *UNLOCKED_POINTS, *(("before-checkpoint-commit", "before-finish-commit") if world.server else ())]
    moment = moments[(trial.seed // 2) % len(moments)]
    late = random.random() < 0.7
    trial.facts |= {"moment": moment, "late": late}
    if moment == "any-step":
        job_id = world.submit(JOB)
        step = random.randrange(1, STEPS // 2)
        until(lambda: world.step(job_id) >= step, 60, f"step {step}")
        frozen = world.holder(job_id)
        assert frozen is not None, "it ended before it could be hit"
    else:
        world.plan.arm(moment, nth=random.randint(1, 4) if "checkpoint" in moment else 1, action="hold")
        job_id = world.submit(JOB)
        until(world.plan.fired, 60, f"a passage of {moment}")
        (process,) = world.plan.fired()
        frozen = next(worker for worker in world.workers if worker.process.popen.pid == process)
    with world.database.write() as session:
        session.execute(select(1))  # on SQLite this holds the lock
        frozen.freeze()
    world.plan.disarm()
    at, trainers = time.time(), frozen.trainers()
    world.did("freeze", worker=frozen.id)
    try:
        until(lambda: not living(trainers), world.lease * 5 / 6 + SLACK, "the end of the frozen worker's trainers")
        trial.facts["trainers_gone"] = round(time.time() - at, 3) if trainers else 0.0
        trial.recovery_seconds.append(world.back_after(job_id, at, 2))
        if late:
            world.wait(job_id)
        before = load(world.database, [job_id])
    finally:
        world.did("thaw", worker=frozen.id)
        frozen.thaw()
    until(lambda: not _folder(world, frozen, job_id).exists(), 30, "the end of the frozen attempt")
    if late:
        trial.expect(load(world.database, [job_id]) == before, "the frozen worker changed the rows of a job that had ended")
    world.ends_well(trial, job_id, JOB, 2)
    trial.expect(frozen.alive, "the frozen worker did not live on")


def _folder(world: World, worker: Worker, job_id: str, attempt: int = 1) -> Path:
    """Where an attempt works; it is gone when the attempt has ended."""
    return world.folder / worker.host / "work" / job_id / f"attempt-{attempt}"


@fault("mixture", "three to five of pause, SIGTERM, kill of the worker, kill of the trainer, in any order on one job", fast=1, long=300)
def mixture(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    yield from on_both("mixture", folder, seeds, _mixture)


def _mixture(world: World, random: random.Random, trial: Trial) -> None:
    world.replace_the_dead()
    spec = job(epochs=200)
    actions = random.choices(["pause", "kill-worker", "kill-trainer", "sigterm"], k=random.randint(3, 5))
    trial.facts["actions"] = actions
    job_id, done = world.submit(spec), 0
    for action in actions:
        done += random.randrange(20, 400)
        until(lambda: world.row(job_id).status == "running" and world.step(job_id) >= done, 120, f"step {done}")  # noqa: B023
        holder = world.holder(job_id)
        assert holder is not None, f"nobody held it at step {done}"
        world.did(action, job=job_id, worker=holder.id)
        if action == "pause":
            world.request("pause", job_id)
            until(lambda: world.row(job_id).status == "paused", 60, "the pause")
            world.request("resume", job_id)
        elif action == "kill-worker":
            world.kill(trial, holder)
        elif action == "kill-trainer":
            for trainer in holder.trainers():
                trainer.kill()
        else:
            holder.stop()
        attempt = world.row(job_id).attempt
        if not holder.alive or action == "sigterm":
            world.worker(holder.host)
        until(lambda: world.row(job_id).attempt > attempt or action == "pause", 60, f"an attempt after {action}")  # noqa: B023
        done = max(done, world.step(job_id))
    world.ends_well(trial, job_id, spec, len(actions) + 1)
    _losses(world, trial, job_id)


def _losses(world: World, trial: Trial, job_id: str) -> None:
    """SIGTERM and pause lose no step; a kill loses what was done since the last checkpoint, one interval at most."""
    trained, saved, since, asked = 0, 0, None, []
    for event in world.events(job_id):
        if event.type == "metrics":
            trained = event.data["step"]
            lost = (event.created_at - since).total_seconds() if since is not None else 0.0
            trial.expect(lost <= EVERY + SLACK, f"{lost:.2f} s without a checkpoint, at step {trained}")
        elif event.type == "checkpoint":
            saved, since = event.data["step"], event.created_at
        elif event.type == "status" and event.data.get("from") in ("running", "pausing"):
            if event.data["to"] == "paused" or event.message.startswith("stopped at step"):
                asked.append(max(0, trained - saved))
                trial.expect(trained <= saved, f"asked to stop, it lost {trained - saved} steps")
            since = None
    trial.facts["steps_lost_when_asked"] = asked


@fault("chains", "teacher → assistant → student with control and two seeds, while workers are killed", fast=1, long=100)
def chains(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    yield from on_both("chains", folder, seeds, _chains, slots=2, lease=6.0)


def _chains(world: World, random: random.Random, trial: Trial) -> None:
    world.replace_the_dead()

    def distill(teacher: str, **more: Any) -> dict[str, Any]:
        return {**job(epochs=40), "data": DATA, "kind": "distill", "teacher": {"job": teacher}, **more}

    teacher = world.submit({**job(epochs=60), "student": {"arch": "mlp", "hidden": [64]}})
    assistant = world.submit(distill(teacher, student={"arch": "mlp", "hidden": [32]}))
    student = world.submit(distill(assistant, student={"arch": "mlp", "hidden": [8]}, evaluation={"control": True, "seeds": 2}))
    family = [teacher, assistant, student, *world.row(student).runs]
    kills = 0
    for _ in range(random.randint(2, 3)):
        time.sleep(random.uniform(0.5, 3))
        until(lambda: _holders(world, family) or world.row(student).status in FINAL, 120, "a running job")
        if holders := _holders(world, family):
            victim = random.choice(holders)
            world.kill(trial, victim)
            world.worker(victim.host)
            kills += 1
    for job_id in (teacher, assistant, student):
        row = world.ends_well(trial, job_id)
        trial.expect(row.report is not None, f"{job_id} has no report")
    report = world.row(student).report or {}
    for arm in ("student", "control"):
        values = report.get("arms", {}).get(arm, {}).get("metrics", {}).get("accuracy", {}).get("values", [])
        trial.expect(len(values) == 2, f"{len(values)} results of {arm} in the report")
    trial.expect(kills > 0, "nobody was killed")
    trial.facts |= {"kills": kills, "attempts": [world.row(job_id).attempt for job_id in family]}


def _holders(world: World, job_ids: list[str]) -> list[Worker]:
    return [worker for job_id in job_ids if (worker := world.holder(job_id)) is not None]
