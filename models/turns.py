"""Whose turn it is: the next job for a worker, and the running ones that should make way for a better one."""

from collections.abc import Iterable

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from contract.resources import Offer
from contract.status import ACTIVE, JobStatus
from models.base import now
from models.job import Job
from models.project import Project
from models.service import Worker

PATIENCE = 2.0  # seconds: a free worker has taken a job by then
MANY = 32  # waiting jobs looked at together
HELD = Job.status.in_(ACTIVE), Job.worker_id.is_not(None)
Where = tuple[ColumnElement[bool], ...]


def next_job(session: Session, most: int | None, offer: Offer | None) -> Job | None:
    """Locked. Rows that others are claiming are passed over."""
    over = Job.status == JobStatus.CANCELLING, Job.worker_id.is_(None), Job.due_at <= now()  # a parent whose runs have stopped
    found = session.scalar(_taken(over))
    if found is not None:
        return found
    due = _due(offer)
    for project_id in session.scalars(_projects(due, most)).all():
        found = session.scalar(_taken((*due, Job.project_id == project_id)))
        if found is not None:
            return found
    return None


def make_way(session: Session, worker_id: str, offer: Offer) -> dict[str, str]:
    """Of the jobs that this worker runs those that should stop, and for which other. Every worker comes to the same conclusion: of all
    that run where the waiting one could, the lowest priority goes, and of those the youngest."""
    late = (*_due(offer), Job.queued_at <= now(-PATIENCE))
    waiting = session.scalars(select(Job).where(*late).order_by(Job.priority.desc(), Job.id).limit(MANY)).all()
    if not waiting:
        return {}
    offers = {worker.id: worker.offer for worker in session.scalars(select(Worker))}
    running = _lowest_first(session.scalars(select(Job).where(Job.status == JobStatus.RUNNING, Job.worker_id.is_not(None))))
    found: dict[str, str] = {}
    for better in waiting:
        for job in running:
            there = offers.get(job.worker_id or "")
            if job.priority < better.priority and there is not None and there.meets(better.wants):
                running.remove(job)
                if job.worker_id == worker_id:
                    found[job.id] = better.id
                break
    return found


def _lowest_first(jobs: Iterable[Job]) -> list[Job]:
    """Those that train: a parent puts its runs' results together, and is soon done."""
    alone = [job for job in jobs if not job.runs]
    return sorted(alone, key=lambda job: (job.priority, -(job.started_at.timestamp() if job.started_at else 0), job.id))


def _taken(where: Where) -> Select[Job]:
    query = select(Job).where(*where).order_by(Job.priority.desc(), Job.id).limit(1)
    return query.with_for_update(skip_locked=True).execution_options(populate_existing=True)


def _due(offer: Offer | None) -> Where:
    due = Job.status == JobStatus.QUEUED, Job.due_at.is_(None) | (Job.due_at <= now())
    if offer is None:
        return due
    enough = Job.want_memory.is_(None) | (Job.want_memory <= (offer.memory_bytes or 0))
    labels = Job.want_labels.is_(None) | Job.want_labels.in_(offer.subsets)
    return *due, Job.want_kind.is_(None) | (Job.want_kind == offer.kind), enough, labels


def _projects(due: Where, most: int | None) -> Select[str]:
    """Those that have something to do, in turn; one look into an index for each project there is."""
    mine = select(Job.priority).where(Job.project_id == Project.id, *due).order_by(Job.priority.desc(), Job.id).limit(1)
    priority = mine.correlate(Project).scalar_subquery()
    oldest = mine.with_only_columns(Job.id).correlate(Project).scalar_subquery()
    held = select(func.count()).select_from(Job).where(Job.project_id == Project.id, *HELD).correlate(Project).scalar_subquery()
    query = select(Project.id).where(priority.is_not(None)).order_by(priority.desc(), held, oldest)
    return query if most is None else query.where(held < most)
