"""What workers do to jobs: claim under a lease, write under its fence, give back, finish; and the reaper for those that vanish.

A claim raises `attempt`. Every write of a run goes through `fenced`, which finds the row only while that attempt still holds it.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from contract.errors import ErrorBody, ErrorCode, PotstillError
from contract.resources import Offer
from contract.status import ACTIVE, JobStatus, Phase
from models import turns
from models.base import now
from models.ids import new_id
from models.job import Event, Job
from models.lifecycle import S, add_event, locked, switch
from models.results import Artifact, Checkpoint, Model
from models.service import Worker

CRASH_BUDGET = 3  # deaths of the trainer without a new checkpoint in between
LOSS_BUDGET = 10  # disappearances of its worker: mostly no fault of the job's, but one that takes its machine down is not to go on for ever
DECLINED_SECONDS = 30.0
LOG_TAIL = 10
MOST_HELPED = 8  # attempts looked at together
ASKING = Job.progress["phase"].as_string() == Phase.TEACHER_INFERENCE


@dataclass(frozen=True, eq=False)
class Claim:
    """One attempt at one job: the fencing token of everything it writes."""

    job_id: str
    worker_id: str
    project_id: str
    name: str
    attempt: int
    spec: dict[str, Any]
    arm: str
    seed: int
    runs: list[str]  # of a parent: the jobs whose results are to be put together
    retry_of: str | None
    sweep_id: str | None
    traceparent: str | None
    request_id: str | None
    devices: int = 1


class LeaseLostError(PotstillError):
    """Another attempt holds the job now, or nobody may: stop, and write nothing more."""


def claim(
    session: Session, worker_id: str, lease_seconds: float, most: int | None = None, offer: Offer | None = None, free: int | None = None
) -> Claim | None:
    """The best due job, now `running` under a fresh attempt; None when there is nothing to do: the highest priority first, of projects
    with equal ones that which holds fewest slots, of its jobs the oldest. most: so many of one project are held at once. offer: what the
    worker has; only jobs that ask for no more are considered. free: of its devices now; a job that needs more of them is kept waiting
    for, and nothing else taken."""
    turn = turns.next_job(session, most, turns.Bid(worker_id, offer, free) if offer is not None else None)
    if turn is None:
        return None
    job = turn.job
    job.attempt += 1
    job.accepted = 0
    job.worker_id = worker_id
    job.lease_until = now(lease_seconds)
    if job.status == S.QUEUED:
        switch(session, job, S.RUNNING, f"attempt {job.attempt} started" if job.attempt > 1 else None, data={"worker": worker_id})
    session.flush()
    return _of(job, worker_id, turn.runs)


def to_help(session: Session, worker_id: str, offer: Offer, anywhere: bool) -> list[Claim]:
    """Attempts that ask their teacher for all rows at this moment, the eldest first: of this worker, or of any, whose results it finds.
    Nothing may be written in their name: the fence knows who holds them. A remote teacher answers one that counts what it costs."""
    where = Job.status == S.RUNNING, Job.worker_id.is_not(None), ASKING, *(() if anywhere else (Job.worker_id == worker_id,))
    jobs = session.scalars(select(Job).where(*where).order_by(Job.started_at).limit(MOST_HELPED)).all()
    fitting = [job for job in jobs if offer.meets(turns.wanted(job.want_kind, job.want_memory, job.want_labels, job.want_devices))]
    return [_of(job, job.worker_id or "", job.runs) for job in fitting if "endpoint" not in (job.resolved_spec.get("teacher") or {})]


def asks(session: Session, helped: Claim) -> bool:
    """Whether that attempt still asks its teacher."""
    where = Job.id == helped.job_id, Job.attempt == helped.attempt, Job.status == S.RUNNING, ASKING
    return session.scalar(select(Job.id).where(*where)) is not None


def _of(job: Job, worker_id: str, runs: list[str]) -> Claim:
    training = job.resolved_spec.get("training", {})
    return Claim(
        job_id=job.id,
        worker_id=worker_id,
        project_id=job.project_id,
        name=job.name,
        attempt=job.attempt,
        spec=job.resolved_spec,
        arm=job.arm or ("student" if job.kind == "distill" else "model"),
        seed=training.get("seed", 0),
        runs=runs,
        retry_of=None if job.retry_fresh else job.retry_of,
        sweep_id=job.sweep_id,
        traceparent=job.traceparent,
        request_id=job.request_id,
        devices=job.want_devices or 1,
    )


def fenced(session: Session, claim: Claim) -> Job:
    """The claimed row, locked; LeaseLostError when this attempt no longer holds it."""
    query = select(Job).where(*_held(claim)).with_for_update().execution_options(populate_existing=True)
    job = session.scalar(query)
    if job is None:
        raise LeaseLostError(f"attempt {claim.attempt} no longer holds {claim.job_id}")
    return job


def _held(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    """The fence. The worker is part of it because a database restored from a backup counts attempts a second time."""
    return Job.id == claim.job_id, Job.attempt == claim.attempt, Job.worker_id == claim.worker_id, Job.status.in_(ACTIVE)


def ended(session: Session, claim: Claim) -> JobStatus | None:
    """How this attempt ended, if it did and no later one has begun: for a writer who cannot tell whether its last commit
    went through. None when the job is another attempt's or still runs."""
    job = session.get(Job, claim.job_id)
    return JobStatus(job.status) if job is not None and job.attempt == claim.attempt and not JobStatus(job.status).active else None


def heartbeat(session: Session, worker_id: str) -> bool:
    """Says that the worker lives; False when its row is gone, because it was silent for a day."""
    return session.scalar(update(Worker).where(Worker.id == worker_id).values(last_heartbeat_at=now()).returning(Worker.id)) is not None


def renew(session: Session, claims: Iterable[Claim], lease_seconds: float) -> dict[Claim, JobStatus | None]:
    """Extends the leases and says how each job stands now: `cancelling` and `pausing` are requests, None is a lost lease."""
    answers: dict[Claim, JobStatus | None] = {}
    for held in sorted(claims, key=lambda c: c.job_id):
        status = session.scalar(update(Job).where(*_held(held)).values(lease_until=now(lease_seconds)).returning(Job.status))
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


def decline(session: Session, claim: Claim, reason: str) -> None:
    """This worker cannot do the job, another one may: back to the queue, for a moment not to be had."""
    job = fenced(session, claim)
    if _release(session, job, reason) is S.QUEUED:
        job.due_at = now(DECLINED_SECONDS)
    session.flush()


def suspend(session: Session, claim: Claim, reason: str) -> JobStatus:
    """The run cannot go on before somebody has helped, with a full disk say: paused, and the reason tells what to do."""
    job = fenced(session, claim)
    if job.status != S.RUNNING:
        return _release(session, job, reason)
    switch(session, job, S.PAUSED, reason)
    return S.PAUSED


def crashed(session: Session, claim: Claim, reason: str) -> JobStatus:
    """The trainer died without a word. Requeued at once the first time, then later and later; after three in a row it fails."""
    job = fenced(session, claim)
    job.crashes += 1
    if job.status == S.RUNNING and job.crashes >= CRASH_BUDGET:
        return _crash_loop(session, job, f"The trainer died {job.crashes} times in a row without a new checkpoint: {reason}.")
    to = _release(session, job, reason)
    if to is S.QUEUED and job.crashes > 1:
        wait = min(10 * 2 ** (job.crashes - 2), 300) * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, guards nothing
        job.due_at = now(wait)
    session.flush()
    return to


def _lost(session: Session, job: Job, reason: str) -> JobStatus:
    """Its worker vanished. That is no crash of the job's, so it does not wait and has a larger budget."""
    job.losses += 1
    if job.status == S.RUNNING and job.losses >= LOSS_BUDGET:
        return _crash_loop(session, job, f"Its worker vanished {job.losses} times in a row without a new checkpoint: {reason}.")
    return _release(session, job, reason)


def _crash_loop(session: Session, job: Job, what: str) -> JobStatus:
    query = select(Event.message).where(Event.job_id == job.id, Event.type == "log").order_by(Event.seq.desc()).limit(LOG_TAIL)
    tail = " | ".join(reversed(session.scalars(query).all()))
    hint = f"Last log lines: {tail or 'none'}. See `potstill logs {job.id}`; `potstill retry` starts again from the last checkpoint."
    switch(session, job, S.FAILED, error=ErrorBody(code=ErrorCode.CRASH_LOOP, message=what, hint=hint))
    return S.FAILED


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
    job.crashes = job.losses = 0
    for old in dropped:
        session.execute(delete(Checkpoint).where(Checkpoint.job_id == job.id, Checkpoint.step == old))
        gone = select(Artifact).where(Artifact.job_id == job.id, Artifact.path.startswith(f"checkpoints/{old}/", autoescape=True))
        for row in session.scalars(gone).all():
            loose.append(row.sha256)
            session.delete(row)
    data = {"step": step, "metrics": metrics, "size_bytes": size, "artifacts": artifacts}
    add_event(session, job, "checkpoint", f"checkpoint at step {step}", data=data)
    return loose


def finish(session: Session, claim: Claim, report: dict[str, Any], model: Model | None) -> None:
    """One transaction: model, report and the final status. A second call by the same attempt is refused by the fence."""
    job = fenced(session, claim)
    session.execute(delete(Artifact).where(Artifact.job_id == job.id, Artifact.kind == "student", Artifact.attempt < job.attempt))
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
        if _lost(session, job, f"worker {job.worker_id} vanished") is S.QUEUED:
            taken.append(job_id)
    return taken


def strays(session: Session, worker_id: str, held: Iterable[str]) -> list[str]:
    """Takes back what the database says this worker holds and the worker does not know of: a claim whose commit went through
    while its answer was lost. Returns the ids that are due."""
    query = select(Job.id).where(Job.status.in_(ACTIVE), Job.worker_id == worker_id, Job.id.not_in(list(held))).order_by(Job.id)
    lost = session.scalars(query).all()
    jobs = [job for job in (locked(session, id_) for id_ in lost) if job.worker_id == worker_id and JobStatus(job.status).active]
    return [job.id for job in jobs if _release(session, job, "the worker never heard of its claim") is S.QUEUED]


def forgive(session: Session, outage_seconds: float, lease_seconds: float) -> None:
    """Leases that ran out while nobody could renew them are as good as new: the database was away, not their workers."""
    held = Job.status.in_(ACTIVE), Job.lease_until > now(-outage_seconds)
    session.execute(update(Job).where(*held).values(lease_until=now(lease_seconds)))
