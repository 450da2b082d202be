"""Who does the work."""

from fastapi import APIRouter, Depends
from sqlalchemy import select
from sqlalchemy.orm import Session

from api import paging
from api.openapi import problems
from api.paging import Paging
from api.routing import known_query
from api.services import By, In
from contract.machine import Machine
from contract.status import ACTIVE
from contract.wire import Page, WorkerJob, WorkerView
from models.base import now
from models.job import Job
from models.service import SILENCE, Worker

router = APIRouter(prefix="/v1/workers", tags=["service"], dependencies=[Depends(known_query)], responses=problems(503))


@router.get("")
def list_workers(services: In, caller: By, page: Paging) -> Page[WorkerView]:
    """Workers, newest first; of what each runs, the jobs of the caller's project."""
    with services.database.read() as session:
        alive = set(session.scalars(select(Worker.id).where(Worker.last_heartbeat_at > now(-SILENCE))))
        running = _running(session, caller.project_id)
        return paging.page(session, Worker, page, paging.each(lambda worker: _view(worker, worker.id in alive, running.get(worker.id, []))))


def view_of_workers(session: Session, project_id: str, most: int = 100) -> list[WorkerView]:
    """The newest, as a page shows them."""
    alive = set(session.scalars(select(Worker.id).where(Worker.last_heartbeat_at > now(-SILENCE))))
    running = _running(session, project_id)
    rows = session.scalars(select(Worker).order_by(Worker.id.desc()).limit(most))
    return [_view(worker, worker.id in alive, running.get(worker.id, [])) for worker in rows]


def _running(session: Session, project_id: str) -> dict[str, list[WorkerJob]]:
    held = select(Job.worker_id, Job.id, Job.attempt).where(Job.project_id == project_id, Job.status.in_(ACTIVE)).order_by(Job.id)
    found: dict[str, list[WorkerJob]] = {}
    for worker_id, job_id, attempt in session.execute(held):
        if worker_id is not None:
            found.setdefault(worker_id, []).append(WorkerJob(job=job_id, attempt=attempt))
    return found


def _view(worker: Worker, alive: bool, running: list[WorkerJob]) -> WorkerView:
    return WorkerView(
        id=worker.id,
        host=worker.host,
        version=worker.version,
        revision=worker.revision,
        devices=worker.devices,
        slots=worker.slots,
        trackers=worker.trackers or [],
        memory_bytes=worker.memory_bytes,
        labels=worker.labels or [],
        running=running,
        last_heartbeat_at=worker.last_heartbeat_at,
        alive=alive,
        deaf_since=worker.deaf_since,
        machine=Machine.model_validate(worker.machine) if worker.machine is not None else None,
    )
