"""Finding what a path names, in the caller's project; what belongs to somebody else is as absent as what never was."""

import re
from typing import Literal, TypeVar

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from contract.errors import ErrorCode, NotFound
from contract.status import JobStatus
from models.dataset import Dataset
from models.job import Job
from models.lifecycle import locked, no_such_job
from models.project import Key
from models.results import Artifact, Model
from models.sweep import Sweep
from models.webhook import Webhook

Row = TypeVar("Row", Dataset, Model, Artifact, Key, Sweep, Webhook)
Lock = Literal["keep", "change"] | None  # until the transaction ends nobody deletes it, or nobody else touches it
ID = re.compile(r"[a-z]{2,3}_[0-9a-f]{32}")
# Made once: whoever polls asks this and nothing else.
JOB = select(Job).where(Job.id == bindparam("id"), Job.project_id == bindparam("project"))


def job(session: Session, project_id: str, job_id: str) -> Job:
    # The project is part of the question: a row that is read and then refused takes longer than none, and that can be measured.
    found = session.scalar(JOB, {"id": job_id, "project": project_id}) if ID.fullmatch(job_id) else None
    if found is None:
        raise no_such_job(job_id)
    return found


def job_to_change(session: Session, project_id: str, job_id: str) -> Job:
    """The job, its row locked."""
    if not ID.fullmatch(job_id):
        raise no_such_job(job_id)
    return locked(session, job_id, project_id)


def due(session: Session, job: Job) -> list[str]:
    """Of the job and its runs, those that a worker could take now."""
    return list(session.scalars(select(Job.id).where(Job.id.in_([job.id, *job.runs]), Job.status == JobStatus.QUEUED)))


def dataset(session: Session, project_id: str, id_: str, *, lock: Lock = None) -> Dataset:
    return _found(session, Dataset, project_id, id_, lock, ErrorCode.DATASET_NOT_FOUND, "`potstill datasets ls` lists those there are.")


def model(session: Session, project_id: str, id_: str, *, lock: Lock = None) -> Model:
    return _found(session, Model, project_id, id_, lock, ErrorCode.MODEL_NOT_FOUND, "`potstill models ls` lists those there are.")


def sweep(session: Session, project_id: str, id_: str, *, lock: Lock = None) -> Sweep:
    return _found(session, Sweep, project_id, id_, lock, ErrorCode.SWEEP_NOT_FOUND, "`potstill sweeps ls` lists those there are.")


def artifact(session: Session, project_id: str, id_: str) -> Artifact:
    return _found(session, Artifact, project_id, id_, None, ErrorCode.ARTIFACT_NOT_FOUND, "GET /v1/jobs/{id}/artifacts lists a job's.")


def key(session: Session, project_id: str, id_: str) -> Key:
    return _found(session, Key, project_id, id_, "change", ErrorCode.KEY_NOT_FOUND, "`potstill keys ls` lists those there are.")


def webhook(session: Session, project_id: str, id_: str, *, lock: Lock = None) -> Webhook:
    return _found(session, Webhook, project_id, id_, lock, ErrorCode.WEBHOOK_NOT_FOUND, "`potstill webhooks ls` lists those there are.")


def _found(session: Session, table: type[Row], project_id: str, id_: str, lock: Lock, code: ErrorCode, hint: str) -> Row:
    query = select(table).where(table.id == id_, table.project_id == project_id)
    if lock is not None:
        query = query.with_for_update(read=lock == "keep", of=table).execution_options(populate_existing=True)
    found = session.scalar(query) if ID.fullmatch(id_) else None
    if found is None:
        raise NotFound(f"There is no {table.__name__.lower()} {id_}.", code=code, hint=hint)
    return found
