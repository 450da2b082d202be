"""The life of a sweep: its first trials, those that follow, the stopping of losers, its end.

The sweep's row is locked before any of its jobs, everywhere; a run that is judged holds its job and its own trial, and asks for no more.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from contract.check import parse_spec
from contract.errors import InvalidSpec
from contract.spec import JobSpec
from contract.status import JobStatus
from contract.sweep import Halving, SweepSpec, Tpe, Values, label
from models import lifecycle, outbox
from models.base import now
from models.claims import Claim
from models.job import Job
from models.making import make
from models.proposals import Known, propose
from models.sweep import Sweep, Trial

MOST_AT_ONCE = 100
PROPOSED_AT_ONCE = 8  # of a search that has to think: it does so inside a transaction; the others follow two seconds later


def open_sweeps(session: Session) -> list[str]:
    return list(session.scalars(select(Sweep.id).where(Sweep.finished_at.is_(None)).order_by(Sweep.id).limit(1000)))


def at_once(spec: SweepSpec) -> int:
    """How many trials are queued or running at most: the rest follows as those end."""
    return spec.search.parallel if isinstance(spec.search, Tpe) else MOST_AT_ONCE


def try_values(
    session: Session, sweep: Sweep, values: Values, sent: dict[str, Any], spec: JobSpec, needs: Sequence[str], warnings: Sequence[str] = ()
) -> Job:
    """A job for the next trial. sent, spec: the sweep's job with these values, as somebody would have sent it, and checked."""
    number = len(sweep.trials) + 1
    name = f"{sweep.name[:40]} · {number}: {label(values)}"[:100]
    job = make(session, sweep.project_id, sent, spec, needs=needs, warnings=warnings, origin=sweep.origin, name=name, sweep_id=sweep.id)
    sweep.trials.append(Trial(number=number, job_id=job.id, values=values, rungs={}))
    session.flush()
    return job


def go_on(session: Session, sweep_id: str) -> list[str]:
    """Starts what is to come next, or ends the sweep. Ids of jobs a worker could take now; nothing where another process is at it."""
    query = select(Sweep).where(Sweep.id == sweep_id, Sweep.finished_at.is_(None)).with_for_update(skip_locked=True)
    sweep = session.scalar(query.execution_options(populate_existing=True))
    if sweep is None:
        return []
    wants_more = sweep.status == "running" and len(sweep.trials) < sweep.planned
    due = _next(session, sweep, len(_open(session, sweep))) if wants_more else []
    if not _open(session, sweep) and (sweep.status == "cancelling" or len(sweep.trials) >= sweep.planned):
        _end(session, sweep)
    return due


def _open(session: Session, sweep: Sweep) -> list[str]:
    return list(session.scalars(select(Job.id).where(Job.sweep_id == sweep.id, Job.finished_at.is_(None)).order_by(Job.id)))


def _next(session: Session, sweep: Sweep, running: int) -> list[str]:
    due: list[str] = []
    spec = sweep.asked
    room = min(at_once(spec) - running, sweep.planned - len(sweep.trials))
    if isinstance(spec.search, Tpe):
        room = min(room, PROPOSED_AT_ONCE)
    if room <= 0:
        return due
    jobs = sweep.jobs()
    known = [Known(t.values, t.value(jobs.get(t.job_id or ""), sweep.metric), _ended(t, jobs)) for t in sweep.trials]
    for values in propose(spec, sweep.higher_is_better, known, room):
        try:
            sent = spec.filled(values)
            chosen = parse_spec(sent)
        except InvalidSpec as error:  # each value alone was looked at; not every combination need make a job
            sweep.trials.append(
                Trial(number=len(sweep.trials) + 1, values=values, rungs={}, error=f"these values make no job: {error.detail}")
            )
            continue
        job = try_values(session, sweep, values, sent, chosen, [ref.job for ref in chosen.refs().values() if ref.job is not None])
        due += session.scalars(select(Job.id).where(Job.id.in_([job.id, *job.runs]), Job.status == JobStatus.QUEUED))
    session.flush()
    return due


def _ended(trial: Trial, jobs: dict[str, Job]) -> bool:
    job = jobs.get(trial.job_id or "")
    return job is None or job.finished_at is not None


def _end(session: Session, sweep: Sweep) -> None:
    jobs = sweep.jobs()
    sweep.result = sweep.summary([trial.view(jobs.get(trial.job_id or ""), sweep.metric) for trial in sweep.trials], jobs.values())
    sweep.status = "cancelled" if sweep.status == "cancelling" else "succeeded" if sweep.result["counts"].get("succeeded") else "failed"
    sweep.finished_at = session.scalar(select(now()))
    session.flush()
    outbox.of_sweep(session, sweep)


def cancel(session: Session, sweep: Sweep) -> None:
    """No more trials, and those that run stop. Nothing happens to one that has ended."""
    if sweep.finished_at is not None:
        return
    sweep.status = "cancelling"
    session.flush()
    for job_id in _open(session, sweep):
        job = lifecycle.locked(session, job_id)
        if not JobStatus(job.status).final:  # it may have ended while the others were being cancelled
            lifecycle.cancel(session, job, "its sweep was cancelled")
    if not _open(session, sweep):
        _end(session, sweep)


def _halving(sweep: Sweep) -> Halving | None:
    """None also where a newer version wrote it: a run is not to fail for that."""
    try:
        return Halving.model_validate(sweep.spec["halving"]) if sweep.spec.get("halving") is not None else None
    except ValidationError:
        return None


def judge(session: Session, claim: Claim, job: Job, seen: Sequence[tuple[int, dict[str, Any]]]) -> None:
    """After epochs of a trial's run: writes down how it stood at each rung, and cancels it where it is not among the best at its last one;
    whoever came there first is looked at again with every epoch, as others arrive. seen: epochs with the metrics of the validation rows
    then. `job` is locked."""
    sweep = session.get(Sweep, claim.sweep_id)
    halving = _halving(sweep) if sweep is not None else None
    if sweep is None or halving is None:
        return
    name = f"validation/{sweep.metric}"
    rungs = halving.rungs(claim.spec["training"]["epochs"])
    own = session.scalar(select(Trial).where(Trial.job_id == claim.job_id).with_for_update().execution_options(populate_existing=True))
    if own is None:
        return
    others = session.scalars(select(Trial.rungs).where(Trial.sweep_id == sweep.id, Trial.number != own.number)).all()
    # Its row is written once: a second UPDATE would make Postgres look at the sweep's row, which whoever cancels it holds.
    for epoch, metrics in seen:
        rung = max((rung for rung in rungs if rung <= epoch), default=None)
        if rung is None or name not in metrics:
            continue
        own.rungs = {str(rung): metrics[name], **own.rungs}  # an epoch that a resumed run tells again changes nothing
        mine = own.rungs[str(rung)]
        there = [other[str(rung)] for other in others if str(rung) in other]
        better = sum(value > mine if sweep.higher_is_better else value < mine for value in there)
        places = max(1, (len(there) + 1) // halving.factor)
        if better >= places and job.status == JobStatus.RUNNING:
            own.stopped = rung
            stood = f"after {rung} epoch{'s' if rung > 1 else ''} its {sweep.metric} was {mine:.4f}"
            lifecycle.cancel(
                session,
                job,
                f"stopped early by its sweep: {stood}, {better} of {len(there)} others were better, and the best {places} go on",
            )
            return
