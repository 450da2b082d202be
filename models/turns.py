"""Whose turn it is: the next job for a worker, and the running ones that should make way for a better one."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, bindparam, func, select
from sqlalchemy.orm import Session, lazyload, load_only

from contract.resources import GB, Offer, Resources
from contract.status import JobStatus
from models import quotas
from models.base import now
from models.job import Job, JobDependency
from models.project import Project
from models.service import SILENCE, Worker

PROMISE = 10.0  # seconds that a worker keeps slots free for a job since it last looked
PATIENCE = 2.0  # seconds: a free worker has taken a job by then
MANY = 32  # waiting jobs looked at together
HELD = Job.worker_id.is_not(None), Job.status != JobStatus.QUEUED  # a queued one is kept for, not held
# Of a job's columns those that a claim looks at; others are fetched if asked for.
READ = (
    Job.project_id, Job.kind, Job.name, Job.status, Job.status_reason, Job.priority, Job.resolved_spec, Job.parent_id, Job.arm,
    Job.retry_of, Job.retry_fresh, Job.traceparent, Job.started_at, Job.attempt, Job.accepted, Job.worker_id, Job.lease_until,
    Job.event_seq, Job.sweep_id, Job.request_id, Job.want_devices,
)  # fmt: skip
Where = tuple[ColumnElement[bool], ...]


class Bid(NamedTuple):
    """Who asks for a job, with what: all that it has, and how many of its devices are free now; None: all of them."""

    worker_id: str
    offer: Offer
    devices: int | None = None

    def enough(self, job: Job) -> bool:
        return self.devices is None or (job.want_devices or 1) <= self.devices


class Turn(NamedTuple):
    job: Job
    runs: list[str]  # ids, of a parent


def next_job(session: Session, most: int | None, bid: Bid | None) -> Turn | None:
    """Locked; rows that others are claiming are passed over. Of projects that are equal any: with one worker they take turns too. A job
    that needs more devices than are free now is promised them: this worker takes no other until they are, or another worker has it."""
    promised = _taken(session, _locked(_promised(bid))) if bid is not None and bid.offer.devices > 1 else None
    if promised is not None and most is not None and not _room(session, promised.job.project_id, most):
        promised = None  # others of its project have taken the places since
    turn = promised or _in_turn(session, most, bid)
    if turn is None or bid is None or bid.enough(turn.job):
        return turn
    turn.job.worker_id, turn.job.lease_until = bid.worker_id, now(PROMISE)
    session.flush()
    return None


def _promised(bid: Bid) -> Where:
    return *_due(bid), Job.worker_id == bid.worker_id, Job.lease_until > now()


def _in_turn(session: Session, most: int | None, bid: Bid | None) -> Turn | None:
    projects = session.connection().execute(_projects(bid)).all()  # columns, no objects: of these a session makes more work
    if any(over for *_, over in projects):  # it needs a slot for a moment, and no quota
        found = _taken(session, _locked(_over()))
        if found is not None:
            return found
    rows = [
        (-priority, slots or 0, random.random(), id_, held or 0)  # noqa: S311
        for id_, priority, held, slots, _ in projects
        if priority is not None
    ]
    for priority, _, _, project_id, held in sorted(rows):
        if most is not None and held >= most:
            continue
        turn = _best(session, bid, project_id, -priority)
        if turn is not None and (most is None or _room(session, project_id, most)):
            return turn
    return None


class Waiting(NamedTuple):
    id: str
    project_id: str
    priority: int
    wants: Resources


def make_way(session: Session, worker_id: str, most: int | None, offer: Offer) -> dict[str, str]:
    """Of the jobs that this worker runs those that should stop, and for which other. Every worker comes to the same conclusion: waiting
    jobs that no free slot can take, best first, each in place of the lowest that runs where it could, and of those the youngest."""
    columns = Job.id, Job.project_id, Job.priority, Job.want_kind, Job.want_memory, Job.want_labels, Job.want_devices
    late = (
        select(*columns)
        .where(*_due(Bid(worker_id, offer)), Job.queued_at <= now(-PATIENCE))
        .order_by(Job.priority.desc(), Job.id)
        .limit(MANY)
    )
    waiting = [Waiting(*row[:3], wanted(*row[3:])) for row in session.execute(late).all()]
    running = _running(session) if waiting else []
    if not running or waiting[0].priority <= running[0].priority:
        return {}
    workers = {worker.id: worker for worker in session.scalars(select(Worker).where(Worker.last_heartbeat_at > now(-SILENCE)))}
    free = {id_: worker.slots for id_, worker in workers.items()}
    for holder, devices in session.execute(select(Job.worker_id, Job.want_devices).where(*HELD)):
        if holder in free:
            free[holder] -= devices or 1
    projects = Counter(session.scalars(select(Job.project_id).where(*HELD)))
    found: dict[str, str] = {}
    for better in waiting:
        asked = better.wants.devices
        there = next((id_ for id_, worker in workers.items() if free[id_] >= asked and worker.offer.meets(better.wants)), None)
        if there is not None:
            free[there] -= asked
            continue
        leaving: dict[str, list[Any]] = {}  # by worker, until one has enough
        for job in running:
            host = workers.get(job.worker_id)
            full = most is not None and projects[better.project_id] >= most and job.project_id != better.project_id
            if job.priority < better.priority and host is not None and host.preempts and host.offer.meets(better.wants) and not full:
                of_host = leaving.setdefault(host.id, [])
                of_host.append(job)
                if max(free[host.id], 0) + sum(one.want_devices or 1 for one in of_host) >= asked:
                    running = [job for job in running if job not in of_host]
                    free[host.id] = max(free[host.id], 0) + sum(one.want_devices or 1 for one in of_host) - asked
                    found |= {one.id: better.id for one in of_host if host.id == worker_id}
                    break
    return found


def _running(session: Session) -> list[Any]:
    """The lowest first. Those that train: a parent puts its runs' results together, and is soon done."""
    parents = select(JobDependency.job_id).where(JobDependency.job_id == Job.id, JobDependency.is_run).exists()
    columns = select(Job.id, Job.project_id, Job.priority, Job.worker_id, Job.started_at, Job.want_devices)
    rows: Sequence[Any] = session.execute(columns.where(Job.status == JobStatus.RUNNING, Job.worker_id.is_not(None), ~parents)).all()
    return sorted(rows, key=lambda row: (row.priority, -(row.started_at.timestamp() if row.started_at else 0), row.id))


def wanted(kind: Any, memory: int | None, labels: str | None, devices: int | None) -> Resources:
    """A row's columns as they were asked for."""
    gb, words = memory / GB if memory is not None else None, labels.split(",") if labels else []
    return Resources.model_construct(kind=kind, memory_gb=gb, devices=devices or 1, labels=words)


def _locked(where: Where) -> Select[Job, str | None]:
    """The oldest, and the runs it is the parent of, as one word. By a look into an index: of an EXISTS among the columns Postgres makes a
    table of all dependencies there are, for the one row."""
    mine = JobDependency.job_id == Job.id, JobDependency.is_run
    runs = select(func.aggregate_strings(JobDependency.needs_id, ",")).where(*mine).scalar_subquery()
    found = select(Job, runs).where(*where).order_by(Job.id).limit(1).options(lazyload(Job.needs), load_only(*READ))
    return found.with_for_update(skip_locked=True).execution_options(populate_existing=True)


def _taken(session: Session, query: Select[Job, str | None], of: Mapping[str, Any] | None = None) -> Turn | None:
    row = session.execute(query, of).first()
    return Turn(row[0], sorted(row[1].split(",")) if row[1] else []) if row is not None else None


def _best(session: Session, bid: Bid | None, project_id: str, priority: int | None) -> Turn | None:
    """The oldest of that priority; where others are claiming all of those, of the next one. Priority by priority, because an index that is
    read in one direction finds that at once, and a sort would read the whole queue."""
    while priority is not None:
        of = {"project": project_id, "priority": priority}
        found = _taken(session, _oldest(bid), of)
        if found is not None:
            return found
        priority = session.scalar(_lower(bid), of)
    return None


def _room(session: Session, project_id: str, most: int) -> bool:
    """Looked at again with the project held: another worker may be claiming its last place. Nobody waits here, with a job's row
    locked, for somebody who may be waiting for that row; the worker looks again within a second."""
    return quotas.hold(session, project_id, wait=False) and quotas.running_jobs(session, project_id) < most


# A worker asks the same every time: what it asks with is made once, which was two fifths of the work of a claim.
@lru_cache(maxsize=64)
def _due(bid: Bid | None) -> Where:
    due = Job.status == JobStatus.QUEUED, Job.due_at.is_(None) | (Job.due_at <= now())
    if bid is None:
        return due
    offer = bid.offer
    of_others = Job.lease_until.is_not(None) & (Job.lease_until > now()) & (Job.worker_id != bid.worker_id)
    one = Job.want_devices.is_(None)
    several = one if offer.devices == 1 else one | ((Job.want_devices <= offer.devices) & ~of_others)
    if bid.devices is None or bid.devices > 1:
        several = several | (Job.want_devices <= (offer.devices if bid.devices is None else bid.devices))
    enough = Job.want_memory.is_(None) | (Job.want_memory <= (offer.memory_bytes or 0))
    none = Job.want_labels.is_(None)
    labels = none | Job.want_labels.in_(offer.subsets) if offer.labels else none
    return *due, Job.want_kind.is_(None) | (Job.want_kind == offer.kind), enough, labels, several


def _over() -> Where:
    """A parent that is being cancelled and whose runs have stopped."""
    return Job.status == JobStatus.CANCELLING, Job.worker_id.is_(None), Job.due_at <= now()


@lru_cache(maxsize=64)
def _projects(bid: Bid | None) -> Select[Any]:
    """Each with the highest priority of what it has to do, by a look into an index, how many jobs it has running, and how many slots these
    hold; and whether anywhere a parent is to be ended."""
    priority = select(func.max(Job.priority)).where(Job.project_id == Project.id, *_due(bid)).correlate(Project).scalar_subquery()
    slots = func.sum(func.coalesce(Job.want_devices, 1))
    held = select(Job.project_id, func.count().label("jobs"), slots.label("slots")).where(*HELD).group_by(Job.project_id).subquery()
    over = select(Job.id).where(*_over()).limit(1).correlate(None).scalar_subquery()
    return select(Project.id, priority, held.c.jobs, held.c.slots, over).outerjoin(held, held.c.project_id == Project.id)


@lru_cache(maxsize=64)
def _oldest(bid: Bid | None) -> Select[Job, str | None]:
    return _locked((*_due(bid), Job.project_id == bindparam("project"), Job.priority == bindparam("priority")))


@lru_cache(maxsize=64)
def _lower(bid: Bid | None) -> Select[Any]:
    return select(func.max(Job.priority)).where(*_due(bid), Job.project_id == bindparam("project"), Job.priority < bindparam("priority"))
