"""A broker that is away, forgets or repeats itself: the row is the truth, Celery is the doorbell."""

import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from celery import Celery
from chaos_faults import Trial, each, fault
from chaos_infrastructure import TINY, Site

from contract.spec import JobSpec
from models import lifecycle
from models.ids import new_id
from models.job import Job
from models.project import Project
from models.settings import DOORBELL_QUEUE, DOORBELL_TASK

START_SECONDS = 15.0  # the promise is 5; here only a lost job is to be told from a late one, the figures are the long run's
WAYS = ("restart", "flush", "absence")
BURST, RINGS = 20, 10


@fault("redis", "Redis absent from the start, restarted, emptied or away around a submission; workers are idle", fast=3, long=300)
def redis(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    yield from each(
        "redis", seeds, lambda: Site(folder, redis=False, hosts=("one",), slots=2, POTSTILL_POLL_SECONDS="1", lease=30.0), _redis
    )


def _redis(world: Site, random: random.Random, trial: Trial) -> None:
    if world.redis.process is None:  # a fresh deployment, that has never seen one
        way = "absence from the start"
        job_id = world.insist()
        world.wait(job_id)
        world.redis.start()
    else:
        way, first = random.choice(WAYS), random.random() < 0.5
        job_id = world.insist() if first else ""
        world.did(f"redis {way}")
        if way == "flush":
            world.redis.flush()
        else:
            world.redis.kill()
        if way == "restart":
            world.redis.start()
        job_id = job_id or world.insist()
        world.wait(job_id)
        if way == "absence":
            time.sleep(random.uniform(0, 3))  # the fault itself: how long it is away
            world.redis.start()
    (row,) = world.succeeded(trial, [job_id])
    trial.expect(row.attempt == 1, f"it took {row.attempt} attempts")
    trial.recovery_seconds += world.waits(job_id)
    trial.expect(max(trial.recovery_seconds) < START_SECONDS, f"it waited {trial.recovery_seconds} s")
    trial.facts["way"] = way


@fault("doorbells", "each of 20 jobs rung ten times to 8 slots of two workers: claimed once", fast=2, long=500)
def doorbells(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    yield from each("doorbells", seeds, lambda: Site(folder, slots=4, POTSTILL_POLL_SECONDS="5", lease=30.0), _doorbells)


def _doorbells(world: Site, random: random.Random, trial: Trial) -> None:
    """The jobs name a dataset that was deleted: real claims by real workers, which end at once and cost no training."""
    ids = [_claimed_and_refused(world) for _ in range(BURST)]
    rings = ids * RINGS
    random.shuffle(rings)
    with Celery("chaos", broker=world.redis.url, set_as_current=False) as bell:
        for job_id in rings:
            bell.send_task(DOORBELL_TASK, args=[job_id], queue=DOORBELL_QUEUE, ignore_result=True)
    world.all_end(ids, 60)
    trial.violations += world.check(*ids)
    for job_id in ids:
        row, claims = world.row(job_id), [event for event in world.events(job_id, "status") if event.data["to"] == "running"]
        trial.expect(row.attempt == len(claims) == 1, f"{job_id} was claimed {len(claims)} times, attempt {row.attempt}")
        trial.expect((row.error or {}).get("code") == "dataset_not_found", f"{job_id} ended otherwise: {row.error}")
    trial.facts["workers"] = len({event.data["worker"] for id_ in ids for event in world.events(id_, "status") if "worker" in event.data})


def _claimed_and_refused(world: Site) -> str:
    spec = {
        "kind": "train", "task": "tabular-classification", "student": {"arch": "logistic"},
        "data": {"train": new_id("ds"), "validation": 0.2},
    }  # fmt: skip
    resolved = JobSpec.model_validate({**TINY, **spec}).model_dump(mode="json")
    with world.database.write() as session:
        project = session.query(Project).first()
        assert project is not None
        job = Job(project_id=project.id, kind="train", name="refused", spec=spec, resolved_spec=resolved)
        job_id = lifecycle.create(session, job, []).id
    world.history.note("submission", job=job_id, status=202)
    return job_id
