"""Deleting, with the bytes: rows first, then every blob that nothing refers to any more."""

from collections.abc import Iterable

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from models.blobs import Blobs
from models.dataset import Dataset
from models.job import Event, Job, JobDependency
from models.results import Artifact, Checkpoint, MetricPoint, Model


def job_blobs(session: Session, job_id: str) -> dict[str, int]:
    """sha256 → size of everything the job holds and nothing else does."""
    held = dict(session.execute(select(Artifact.sha256, Artifact.size_bytes).where(Artifact.job_id == job_id)).all())
    for files in session.scalars(select(Model.files).where(Model.job_id == job_id)):
        held |= {file["sha256"]: file["size_bytes"] for file in files.values()}
    shared = session.scalars(select(Artifact.sha256).where(Artifact.sha256.in_(held), Artifact.job_id != job_id)).all()
    return {sha256: size for sha256, size in held.items() if sha256 not in set(shared)}


def delete_job(session: Session, job: Job) -> list[str]:
    """Removes the job's rows; returns blobs that may now be unused."""
    loose = list(job_blobs(session, job.id))
    for table in (Model, Artifact, Checkpoint, MetricPoint, Event, JobDependency):
        session.execute(delete(table).where(table.job_id == job.id))
    session.expire(job, ["needs"])
    session.delete(job)
    session.flush()
    return loose


def unreferenced(session: Session, candidates: Iterable[str]) -> list[str]:
    wanted = set(candidates)
    used: set[str] = set()
    for column in (Artifact.sha256, Dataset.sha256):
        used |= set(session.scalars(select(column).where(column.in_(wanted))))
    if wanted - used:
        for files in session.scalars(select(Model.files).where(Model.job_id.is_(None))):
            used |= {file["sha256"] for file in files.values()}
    return sorted(wanted - used)


def free(blobs: Blobs, sha256s: Iterable[str]) -> None:
    for sha256 in sha256s:
        blobs.delete(sha256)
