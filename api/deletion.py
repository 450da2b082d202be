"""Deleting jobs with their children and bytes: rows in one transaction, files after its commit."""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api.uses import refuse_if_needed
from contract.wire import FreedView
from models import audit
from models.audit import Actor
from models.dataset import Dataset
from models.job import Job
from models.lifecycle import refuse_unless_final
from models.results import Artifact, Model
from models.teardown import delete_job, unreferenced


def family(session: Session, job: Job) -> list[Job]:
    """The job after its children; Conflict unless all may go."""
    children = list(session.scalars(select(Job).where(Job.parent_id == job.id).with_for_update()))
    for member in (job, *children):
        refuse_unless_final(member)
    for member in (job, *children):
        refuse_if_needed(session, member)
    return [*children, job]


def forecast(session: Session, jobs: list[Job]) -> FreedView:
    """What deleting them together would free: what they hold and nothing else does."""
    ids = [job.id for job in jobs]
    held = dict(session.execute(select(Artifact.sha256, Artifact.size_bytes).where(Artifact.job_id.in_(ids))).all())
    for files in session.scalars(select(Model.files).where(Model.job_id.in_(ids))):
        held |= {file["sha256"]: file["size_bytes"] for file in files.values()}
    kept = set(session.scalars(select(Artifact.sha256).where(Artifact.sha256.in_(held), Artifact.job_id.not_in(ids))))
    kept |= set(session.scalars(select(Dataset.sha256).where(Dataset.sha256.in_(held))))
    for files in session.scalars(select(Model.files).where(Model.job_id.is_(None))):
        kept |= {file["sha256"] for file in files.values()}
    freed = [size for sha256, size in held.items() if sha256 not in kept]
    return FreedView(freed_bytes=sum(freed), files=len(freed))


def delete(session: Session, actor: Actor, jobs: list[Job]) -> list[str]:
    """Removes the rows; returns blobs that nothing refers to any more."""
    for job in jobs:
        audit.record(session, actor, "job.deleted", job.id, name=job.name)
    loose = [sha256 for job in jobs for sha256 in delete_job(session, job)]
    return unreferenced(session, loose)


def delete_model(session: Session, row: Model) -> list[str]:
    """Removes the row, and its name from the job that made it; returns blobs that nothing refers to any more."""
    session.execute(update(Job).where(Job.model_id == row.id).values(model_id=None))
    held = [file["sha256"] for file in row.files.values()]
    session.delete(row)
    session.flush()
    return unreferenced(session, held)
