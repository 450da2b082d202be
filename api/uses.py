"""Who still needs something: unfinished jobs and sweeps keep what they refer to from being deleted."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Text, cast, select
from sqlalchemy.orm import Session

from contract.errors import Conflict, ErrorCode
from models.dataset import Dataset
from models.job import Job
from models.lifecycle import dependents_waiting
from models.results import Model
from models.sweep import Sweep


def refuse_if_used(session: Session, project_id: str, kind: str, id_: str) -> None:
    """Raises Conflict when an unfinished job's spec names the dataset or model."""
    unfinished = select(Job.id, Job.resolved_spec).where(Job.project_id == project_id, Job.finished_at.is_(None))
    # The id as text finds candidates without reading every spec; it may stand in metadata, so each is looked at.
    for job_id, spec in session.execute(unfinished.where(cast(Job.resolved_spec, Text).contains(id_, autoescape=True))):
        if id_ in named(spec):
            raise in_use(f"{kind} {id_}", job_id)
    _refuse_if_swept(session, project_id, id_, f"{kind} {id_}")


def _refuse_if_swept(session: Session, project_id: str, id_: str, what: str) -> None:
    """Raises Conflict when an unfinished sweep names it anywhere: trials to come may need it."""
    unfinished = select(Sweep.id).where(Sweep.project_id == project_id, Sweep.finished_at.is_(None))
    by = session.scalar(unfinished.where(cast(Sweep.spec, Text).contains(id_, autoescape=True)).limit(1))
    if by is not None:
        raise in_use(what, by)


def refuse_if_needed(session: Session, job: Job) -> None:
    """Raises Conflict when an unfinished job waits for this one, continues it, or uses its model."""
    if dependents_waiting(session, job.id):
        raise in_use(job.id, "an unfinished job")
    # A retry goes on from this job's checkpoint, and after a crash fetches it again.
    retry = select(Job.id).where(Job.retry_of == job.id, Job.retry_fresh.is_(False), Job.finished_at.is_(None))
    continued = session.scalar(retry.where(Job.project_id == job.project_id).limit(1))
    if continued is not None:
        raise in_use(job.id, continued)
    _refuse_if_swept(session, job.project_id, job.id, job.id)
    if job.model_id is not None:
        refuse_if_used(session, job.project_id, "model", job.model_id)


def refuse_if_model_used(session: Session, model: Model) -> None:
    """Raises Conflict when an unfinished job names the model, or the job that made it."""
    refuse_if_used(session, model.project_id, "model", model.id)
    if model.job_id is not None and dependents_waiting(session, model.job_id):
        raise in_use(f"model {model.id}", f"a job that waits for {model.job_id}")


def refuse_if_deleted(session: Session, job: Job) -> None:
    """Raises Conflict when a dataset or model that a job is to be repeated with is gone."""
    for id_ in sorted(named(job.resolved_spec)):
        table = Dataset if id_.startswith("ds_") else Model if id_.startswith("mdl_") else None
        if table is not None and session.scalar(select(table.id).where(table.id == id_).with_for_update(read=True)) is None:
            kind = table.__name__.lower()
            code = ErrorCode.DATASET_NOT_FOUND if table is Dataset else ErrorCode.MODEL_NOT_FOUND
            raise Conflict(f"The {kind} {id_}, which {job.id} used, was deleted.", code=code, hint="Submit a new job with another one.")


def named(spec: dict[str, Any]) -> set[str]:
    """Ids of datasets and models that a stored spec refers to."""
    data, student = (spec.get(part) or {} for part in ("data", "student"))
    words = (data.get("augment") or {}).get("words") or {}
    places = (
        data.get("train"),
        data.get("test"),
        spec.get("teacher"),
        student,
        student.get("init"),
        spec.get("tokenizer"),
        words.get("model"),
    )
    named = (one for place in places for one in _with_parts(place))
    return {place[key] for place in named for key in ("dataset", "model") if place.get(key)}


def _with_parts(place: Any) -> Iterator[dict[str, Any]]:
    """A place in a spec, and those in it: members of an ensemble, sources and teachers of several tasks."""
    if isinstance(place, dict):
        yield place
        for part in (*(place.get("ensemble") or ()), *(place.get("tasks") or {}).values()):
            yield from _with_parts(part)


def in_use(what: str, by: str) -> Conflict:
    return Conflict(f"{what} is needed by {by}.", code=ErrorCode.IN_USE, hint="Wait until that has ended, or cancel it.")
