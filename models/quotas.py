"""What a project has, to be held against what it may have."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from contract.status import ACTIVE
from models.dataset import Dataset
from models.job import Job
from models.project import Project
from models.results import Artifact, Model


def hold(session: Session, project_id: str, *, wait: bool = True) -> bool:
    """Keeps others from counting this project until the transaction ends: two that counted at once would both find room. False where
    somebody else is counting and `wait` is off. Nobody else's rows wait for this lock."""
    query = select(Project.id).where(Project.id == project_id).with_for_update(key_share=True, skip_locked=not wait)
    return session.scalar(query) is not None


def waiting_jobs(session: Session, project_id: str) -> int:
    """Jobs that a worker has yet to take, paused ones among them; the runs of a job are that one job."""
    unfinished = Job.project_id == project_id, Job.finished_at.is_(None), Job.parent_id.is_(None)
    return session.scalar(select(func.count()).where(*unfinished, Job.status.not_in(ACTIVE))) or 0


def running_jobs(session: Session, project_id: str) -> int:
    """Jobs and runs of jobs that a worker holds: each has a slot."""
    held = Job.project_id == project_id, Job.status.in_(ACTIVE), Job.worker_id.is_not(None)
    return session.scalar(select(func.count()).where(*held)) or 0


def stored_bytes(session: Session, project_id: str) -> int:
    """Of datasets, of jobs' files and of uploaded models, each counted as often as it is there; what jobs make into models is among
    their files."""
    sizes = (
        select(func.sum(Dataset.size_bytes)).where(Dataset.project_id == project_id),
        select(func.sum(Artifact.size_bytes)).where(Artifact.project_id == project_id),
        select(func.sum(Model.size_bytes)).where(Model.project_id == project_id, Model.job_id.is_(None)),
    )
    return sum(int(session.scalar(size) or 0) for size in sizes)
