"""The life of a job. `switch` is the only writer of `status`; everything else here decides when to call it.

Each function works inside the caller's transaction, locks the rows it changes, and leaves committing to the edge.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, true
from sqlalchemy.orm import Session

from contract.errors import Conflict, ErrorBody, ErrorCode, NotFound
from contract.status import TRANSITIONS, JobStatus
from models import outbox
from models.base import now
from models.ids import new_id
from models.job import Event, Job, JobDependency
from models.results import Artifact

S = JobStatus
EVERY = true()


def locked(session: Session, job_id: str, project_id: str | None = None) -> Job:
    """The job's row, locked until the transaction ends; NotFound when it is not there or belongs to another project.
    Runs are locked before their parent, everywhere: a run that changes writes its parent's history."""
    mine = Job.project_id == project_id if project_id is not None else EVERY
    runs = select(Job.id).where(Job.parent_id == job_id, mine).order_by(Job.id).with_for_update()
    session.scalars(runs).all()
    job = _row(session, job_id, mine)
    if job is None:
        raise no_such_job(job_id)
    return job


def _row(session: Session, job_id: str, mine: ColumnElement[bool] = EVERY) -> Job | None:
    return session.scalar(select(Job).where(Job.id == job_id, mine).with_for_update().execution_options(populate_existing=True))


def no_such_job(job_id: str, param: str | None = None) -> NotFound:
    return NotFound(f"There is no job {job_id}.", code=ErrorCode.JOB_NOT_FOUND, param=param, hint="`potstill jobs` lists those there are.")


def storable(text: str) -> str:
    """What a dying process left may hold characters that Postgres or UTF-8 has no place for; the record of its death matters more."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def add_event(
    session: Session,
    job: Job,
    type_: str,
    message: str,
    *,
    level: str = "info",
    data: dict[str, Any] | None = None,
    attempt: int | None = None,
) -> Event:
    job.event_seq += 1
    event = Event(
        job=job,
        job_id=job.id,
        seq=job.event_seq,
        type=type_,
        level=level,
        message=storable(message),
        data=data or {},
        attempt=job.attempt if attempt is None else attempt,
    )
    session.add(event)
    return event


def switch(
    session: Session,
    job: Job,
    to: JobStatus,
    reason: str | None = None,
    *,
    error: ErrorBody | None = None,
    data: dict[str, Any] | None = None,
) -> None:
    """Moves a locked job to another status and writes the event and the messages of webhooks; refuses what the table does not allow."""
    if to not in TRANSITIONS[JobStatus(job.status)]:
        raise _invalid(job, f"become {to}")
    reason = storable(reason) if reason is not None else None
    if error is not None:
        error = ErrorBody(code=error.code, message=storable(error.message), hint=storable(error.hint) if error.hint else None)
    before, job.status, job.status_reason = job.status, to, reason
    if to is S.QUEUED:
        job.queued_at = now()
        job.due_at = None
    if to is S.RUNNING and job.started_at is None:
        job.started_at = now()
    if to.final:
        job.finished_at = now()
    if not to.active:
        job.lease_until = job.worker_id = None
    if error is not None:
        job.error = error.model_dump()
    level = "error" if to is S.FAILED else "info"
    data = {"from": before, "to": to, "attempt": job.attempt, **(data or {})}
    if error is not None:
        data["error"] = error.model_dump()
    add_event(session, job, "status", reason or (error.message if error else to), level=level, data=data)
    session.flush()  # once: a second UPDATE of the row would make Postgres look at, and wait for, its parent's
    if to.final and to is not S.SUCCEEDED:  # cancelled or lost between the storing of its student and its end
        session.execute(delete(Artifact).where(Artifact.job_id == job.id, Artifact.kind == "student"))
    outbox.of_job(session, job)
    if job.parent_id is not None and (to.final or to in (S.RUNNING, S.PAUSED)):
        _tell_parent(session, job, to)
    if to.final:
        _settle_dependents(session, job)


def _tell_parent(session: Session, run: Job, to: JobStatus) -> None:
    parent = _row(session, run.parent_id or "")
    if parent is not None and not JobStatus(parent.status).final:
        if to is S.RUNNING and parent.started_at is None:
            parent.started_at = now()
        data = {"run": run.id, "arm": run.arm, "seed": run.seed, "to": to}
        why = f" ({run.status_reason})" if to is S.PAUSED and run.status_reason else ""
        add_event(session, parent, "log", f"{run.arm}, seed {run.seed}: {to}{why}", data=data)
        if to.final:
            progress = parent.view().progress.model_dump(exclude={"phase", "epoch"})
            add_event(session, parent, "metrics", f"{run.arm}, seed {run.seed} has ended", data={**progress, "metrics": {}})


def create(session: Session, job: Job, needs: Sequence[str], runs: Sequence[Job] = ()) -> Job:
    """Stores a new job: `queued`, or `waiting` when it refers to jobs that have not succeeded. With `runs`, new jobs or ones
    that have succeeded before, it is their parent and waits until all have ended."""
    job.id = job.id or new_id("job")
    job.event_seq = job.attempt = 0
    job.status = S.WAITING
    job.needs = [JobDependency(needs_id=needed) for needed in sorted(set(needs))]
    session.add(job)
    add_event(session, job, "status", "accepted", data={"to": S.WAITING if needs or runs else S.QUEUED})
    if runs:
        session.flush()  # before what refers to it; a job of one run is written once, as it stands in the end
    made = [run for run in runs if run.status is None]
    for run in made:
        run.parent_id = job.id
        create(session, run, needs)
    job.needs += [JobDependency(needs_id=run.id, is_run=True) for run in runs]
    _look_at_needs(session, job, {run.id: run for run in made})
    _start_when_ready(session, job)
    session.flush()
    return job


def _look_at_needs(session: Session, job: Job, made: Mapping[str, Job]) -> None:
    """How what a new job needs has ended, as far as it has. Only here: from now on whatever ends says so itself, and looking again
    would mean to wait for rows of others that are waiting for this one. made: in this transaction, so nobody else knows of them."""
    for need in job.needs:
        needed = made.get(need.needs_id) or session.scalar(
            select(Job).where(Job.id == need.needs_id).with_for_update(read=True).execution_options(populate_existing=True)
        )
        if needed is None:
            need.needs_status = "deleted"
        elif JobStatus(needed.status).final:
            need.needs_status = needed.status


def _start_when_ready(session: Session, job: Job) -> None:
    """Queues a waiting job, fails it or leaves it waiting, after what it needs."""
    ended_badly = next((need for need in job.needs if not need.is_run and need.needs_status not in (None, S.SUCCEEDED)), None)
    if ended_badly is not None:
        word = {"failed": "failed", "cancelled": "was cancelled"}.get(ended_badly.needs_status or "", "was deleted")
        body = ErrorBody(
            code=ErrorCode.DEPENDENCY_FAILED,
            message=f"{ended_badly.needs_id}, which this job needs, {word}.",
            hint=f"See `potstill show {ended_badly.needs_id}`; retry that job, then submit this one again with the new id.",
        )
        switch(session, job, S.FAILED, error=body)
    elif _ready(job):
        switch(session, job, S.QUEUED)


def _ready(job: Job) -> bool:
    """What it refers to has succeeded, and its runs have ended in whatever way."""
    return _runs_ended(job) and all(need.needs_status == S.SUCCEEDED for need in job.needs if not need.is_run)


def _runs_ended(job: Job) -> bool:
    return all(need.needs_status is not None for need in job.needs if need.is_run)


def _settle_dependents(session: Session, job: Job) -> None:
    query = select(Job.id).join(JobDependency, JobDependency.job_id == Job.id).where(JobDependency.needs_id == job.id)
    for dependent_id in session.scalars(query.order_by(Job.parent_id.is_(None), Job.id)).all():  # runs before their parent
        dependent = _row(session, dependent_id)
        if dependent is None:
            continue
        for need in dependent.needs:
            if need.needs_id == job.id:
                need.needs_status = job.status
        if dependent.status == S.WAITING:
            _start_when_ready(session, dependent)
        elif dependent.status == S.CANCELLING and dependent.worker_id is None and _runs_ended(dependent):
            dependent.due_at = now()  # a worker puts together what there is, then it is cancelled
    session.flush()


def _open_runs(session: Session, job: Job) -> list[Job]:
    rows = [_row(session, run_id) for run_id in job.runs]
    return [row for row in rows if row is not None and not JobStatus(row.status).final]


def cancel(session: Session, job: Job, reason: str = "cancelled by request") -> None:
    if job.status in (S.CANCELLED, S.CANCELLING):
        return
    if JobStatus(job.status).final:
        raise _invalid(job, "be cancelled", "Only jobs that have not ended can be cancelled.")
    open_runs = _open_runs(session, job)
    if open_runs:
        switch(session, job, S.CANCELLING, reason)
        for run in open_runs:
            cancel(session, run, reason)
        return
    switch(session, job, S.CANCELLING if JobStatus(job.status).active else S.CANCELLED, reason)


def pause(session: Session, job: Job) -> None:
    if job.status in (S.PAUSED, S.PAUSING):
        return
    if job.status in (S.WAITING, S.QUEUED):
        switch(session, job, S.PAUSED, "paused by request")
    elif job.status == S.RUNNING:
        switch(session, job, S.PAUSING, "paused by request")
    else:
        raise _invalid(job, "be paused", "Only jobs that wait or run can be paused.")
    for run in _open_runs(session, job):
        if run.status != S.CANCELLING:
            pause(session, run)


def resume(session: Session, job: Job) -> None:
    if job.status not in (S.WAITING, S.QUEUED, S.RUNNING, S.PAUSED):
        raise _invalid(job, "be resumed", "Wait until it is paused." if job.status == S.PAUSING else None)
    for run in _open_runs(session, job):  # also of a parent that waits: one of its runs may have been paused by a full disk
        if run.status in (S.PAUSED, S.PAUSING):
            resume(session, run)
    if job.status != S.PAUSED:
        return
    if _ready(job):
        switch(session, job, S.QUEUED, "resumed by request")
    else:
        switch(session, job, S.WAITING, "resumed by request")
        _start_when_ready(session, job)


def retry(session: Session, job: Job, *, fresh: bool) -> Job:
    """A new job that does the same again, from the last checkpoint unless `fresh`. Of a parent's runs only those are repeated
    that did not succeed."""
    if job.status not in (S.FAILED, S.CANCELLED):
        raise _invalid(job, "be retried", "Only failed and cancelled jobs can be retried; submit the spec again for another run.")
    runs = [row for run_id in job.runs if (row := _row(session, run_id)) is not None]
    if len(runs) < len(job.runs):
        lost = len(job.runs) - len(runs)
        raise Conflict(
            f"{lost} of the {len(job.runs)} runs of {job.id} were deleted: it cannot be retried.",
            code=ErrorCode.INVALID_TRANSITION,
            hint="Submit the spec again.",
        )
    again = [run if run.status == S.SUCCEEDED else _copy(run, fresh=fresh) for run in runs]
    return create(session, _copy(job, fresh=fresh), [need.needs_id for need in job.needs if not need.is_run], again)


def _copy(job: Job, *, fresh: bool) -> Job:
    return Job(
        id=new_id("job"),
        project_id=job.project_id,
        kind=job.kind,
        name=job.name,
        arm=job.arm,
        seed=job.seed,
        priority=job.priority,
        want_kind=job.want_kind,
        want_memory=job.want_memory,
        want_labels=job.want_labels,
        want_devices=job.want_devices,
        spec=job.spec,
        resolved_spec=job.resolved_spec,
        retry_of=job.id,
        retry_fresh=fresh,
        request_id=job.request_id,
        meta=job.meta,
    )


def refuse_unless_final(job: Job) -> None:
    if not JobStatus(job.status).final:
        raise _invalid(job, "be deleted", "Cancel it first.")


def dependents_waiting(session: Session, job_id: str) -> int:
    query = select(func.count()).select_from(JobDependency).join(Job, Job.id == JobDependency.job_id)
    return session.scalar(query.where(JobDependency.needs_id == job_id, Job.finished_at.is_(None))) or 0


def _invalid(job: Job, verb: str, hint: str | None = None) -> Conflict:
    return Conflict(f"{job.id} is {job.status} and cannot {verb}.", code=ErrorCode.INVALID_TRANSITION, param="status", hint=hint)
