"""What workers do to jobs: claim under a lease, write under its fence, give back, finish; and the reaper for those that vanish.

A claim raises `attempt`. Every write of a run goes through `fenced`, which finds the row only while that attempt still holds it.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from contract.errors import ErrorBody, ErrorCode, PotstillError
from contract.status import ACTIVE, JobStatus
from models.base import now
from models.ids import new_id
from models.job import Event, Job
from models.lifecycle import S, add_event, locked, switch
from models.results import Artifact, Checkpoint, Model
from models.service import Worker

CRASH_BUDGET = 3
LOG_TAIL = 10


@dataclass(frozen=True, eq=False)
class Claim:
    """One attempt at one job: the fencing token of everything it writes."""

    job_id: str
    project_id: str
    name: str
    attempt: int
    spec: dict[str, Any]
    arm: str
    seed: int
    runs: list[str]  # of a parent: the jobs whose results are to be put together
    retry_of: str | None
    traceparent: str | None


class LeaseLostError(PotstillError):
    """Another attempt holds the job now, or nobody may: stop, and write nothing more."""


def claim(session: Session, worker_id: str, lease_seconds: float) -> Claim | None:
    """The best due job (priority, then age), now `running` under a fresh attempt; None when there is nothing to do."""
    query = (
        select(Job)
        .where(
            ((Job.status == S.QUEUED) & (Job.due_at.is_(None) | (Job.due_at <= now())))
            | ((Job.status == S.CANCELLING) & Job.worker_id.is_(None) & (Job.due_at <= now()))  # a parent whose runs have stopped
        )
        .order_by(Job.priority.desc(), Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    job = session.scalar(query)
    if job is None:
        return None
    job.attempt += 1
    job.worker_id = worker_id
    job.lease_until = now(lease_seconds)
    if job.status == S.QUEUED:
        switch(session, job, S.RUNNING, f"attempt {job.attempt} started" if job.attempt > 1 else None, data={"worker": worker_id})
    session.flush()
    training = job.resolved_spec.get("training", {})
    return Claim(
        job_id=job.id,
        project_id=job.project_id,
        name=job.name,
        attempt=job.attempt,
        spec=job.resolved_spec,
        arm=job.arm or ("student" if job.kind == "distill" else "model"),
        seed=training.get("seed", 0),
        runs=job.runs,
        retry_of=None if job.retry_fresh else job.retry_of,
        traceparent=job.traceparent,
    )


def fenced(session: Session, claim: Claim) -> Job:
    """The claimed row, locked; LeaseLostError when this attempt no longer holds it."""
    query = (
        select(Job)
        .where(Job.id == claim.job_id, Job.attempt == claim.attempt, Job.status.in_(ACTIVE))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    job = session.scalar(query)
    if job is None:
        raise LeaseLostError(f"attempt {claim.attempt} no longer holds {claim.job_id}")
    return job


def renew(session: Session, worker_id: str, claims: Iterable[Claim], lease_seconds: float) -> dict[Claim, JobStatus | None]:
    """Extends the leases and says how each job stands now: `cancelling` and `pausing` are requests, None is a lost lease."""
    session.execute(update(Worker).where(Worker.id == worker_id).values(last_heartbeat_at=now()))
    answers: dict[Claim, JobStatus | None] = {}
    for held in sorted(claims, key=lambda c: c.job_id):
        query = (
            update(Job)
            .where(Job.id == held.job_id, Job.attempt == held.attempt, Job.status.in_(ACTIVE))
            .values(lease_until=now(lease_seconds))
            .returning(Job.status)
        )
        status = session.scalar(query)
        answers[held] = JobStatus(status) if status else None
    return answers


def give_back(session: Session, claim: Claim, reason: str) -> JobStatus:
    """The run left at a checkpoint as asked: to `paused` or `cancelled` if that was the request, else back to the queue."""
    job = fenced(session, claim)
    return _release(session, job, reason)


def _release(session: Session, job: Job, reason: str) -> JobStatus:
    to = {S.PAUSING: S.PAUSED, S.CANCELLING: S.CANCELLED}.get(JobStatus(job.status), S.QUEUED)
    switch(session, job, to, job.status_reason if to is not S.QUEUED else reason)
    return to


def crashed(session: Session, claim: Claim, reason: str) -> JobStatus:
    """The trainer died without a word. Requeued at once the first time, then later and later; after three in a row it fails."""
    return _count_crash(session, fenced(session, claim), reason)


def _count_crash(session: Session, job: Job, reason: str) -> JobStatus:
    job.crashes += 1
    if job.status == S.RUNNING and job.crashes >= CRASH_BUDGET:
        tail = session.scalars(
            select(Event.message).where(Event.job_id == job.id, Event.type == "log").order_by(Event.seq.desc()).limit(LOG_TAIL)
        ).all()
        body = ErrorBody(
            code=ErrorCode.CRASH_LOOP,
            message=f"The trainer died {job.crashes} times in a row without a new checkpoint: {reason}.",
            hint="Last log lines: " + (" | ".join(reversed(tail)) if tail else "none") + ". See `potstill logs`.",
        )
        switch(session, job, S.FAILED, error=body)
        return S.FAILED
    to = _release(session, job, reason)
    if to is S.QUEUED and job.crashes > 1:
        wait = min(10 * 2 ** (job.crashes - 2), 300) * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, guards nothing
        job.due_at = now(wait)
    session.flush()
    return to


def fail(session: Session, claim: Claim, error: ErrorBody) -> None:
    switch(session, fenced(session, claim), S.FAILED, error=error)


@dataclass(frozen=True)
class StoredFile:
    """A file whose bytes are in the blob store already."""

    path: str
    kind: str
    sha256: str
    size_bytes: int


def add_files(session: Session, job: Job, files: Sequence[StoredFile]) -> list[str]:
    """Artifact rows for stored files; a path written again by a later attempt replaces the row and keeps the id."""
    ids = []
    for file in files:
        row = session.scalar(select(Artifact).where(Artifact.job_id == job.id, Artifact.path == file.path))
        if row is None:
            row = Artifact(id=new_id("art"), project_id=job.project_id, job_id=job.id, path=file.path)
            session.add(row)
        row.kind, row.sha256, row.size_bytes, row.attempt = file.kind, file.sha256, file.size_bytes, job.attempt
        ids.append(row.id)
    session.flush()
    return ids


def add_checkpoint(
    session: Session,
    claim: Claim,
    step: int,
    metrics: dict[str, float],
    files: Sequence[StoredFile],
    dropped: Sequence[int],
) -> list[str]:
    """Records a checkpoint and forgets those that fell out of retention; returns blobs that may now be unused."""
    job = fenced(session, claim)
    replaced = select(Artifact.sha256).where(Artifact.job_id == job.id, Artifact.path.in_([file.path for file in files]))
    loose = sorted(set(session.scalars(replaced)) - {file.sha256 for file in files})
    artifacts = add_files(session, job, files)
    size = sum(file.size_bytes for file in files)
    session.merge(
        Checkpoint(job_id=job.id, arm=claim.arm, seed=claim.seed, step=step, metrics=metrics, size_bytes=size, attempt=job.attempt)
    )
    job.crashes = 0
    for old in dropped:
        session.execute(delete(Checkpoint).where(Checkpoint.job_id == job.id, Checkpoint.step == old))
        gone = select(Artifact).where(Artifact.job_id == job.id, Artifact.path.startswith(f"checkpoints/{old}/", autoescape=True))
        for row in session.scalars(gone).all():
            loose.append(row.sha256)
            session.delete(row)
    data = {"step": step, "metrics": metrics, "size_bytes": size, "artifacts": artifacts}
    add_event(session, job, "checkpoint", f"checkpoint at step {step}", data=data)
    return loose


def finish(session: Session, claim: Claim, report: dict[str, Any], files: Sequence[StoredFile], model: Model | None) -> None:
    """One transaction: artifacts, model, report and the final status. A second call by the same attempt is refused by the fence."""
    job = fenced(session, claim)
    add_files(session, job, files)
    if model is not None:
        session.add(model)
        job.model_id = model.id
    job.report = report
    job.progress = {**job.progress, "phase": "saving", "eta_seconds": 0}
    switch(session, job, S.SUCCEEDED, report.get("verdict"))


def reap(session: Session, dead_workers: Sequence[str] = ()) -> list[str]:
    """Takes back jobs whose lease has run out, and at once those of workers known to be dead. Returns the ids that are due."""
    stale = Job.lease_until < now()
    if dead_workers:
        stale = stale | Job.worker_id.in_(dead_workers)
    query = select(Job.id).where(Job.status.in_(ACTIVE), stale).order_by(Job.id).limit(100).with_for_update(skip_locked=True)
    taken = []
    for job_id in session.scalars(query).all():
        job = locked(session, job_id)
        # A worker that vanished with its host is no fault of the job's; only its own trainer's death counts as a crash.
        if _release(session, job, f"worker {job.worker_id} vanished") is S.QUEUED:
            taken.append(job_id)
    return taken
