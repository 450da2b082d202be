"""Steering a job: cancel, pause, resume, retry. What is asked for is written in the row; the worker reads it there."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from sqlalchemy.orm import Session
from starlette.responses import Response

from api import lookup, uses
from api.auth import Caller
from api.idempotency import Created, Sent
from api.openapi import problems
from api.routing import known_query
from api.services import By, In, Services
from contract.wire import JobView
from models import lifecycle
from models.job import Job

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(known_query)], responses=problems(404, 409, 503))


@router.post("/{job_id}/cancel")
def cancel_job(services: In, caller: By, job_id: str) -> JobView:
    """Stop a job for good; one that runs leaves at its next step, and its last checkpoint stays."""
    return _steer(services, caller, job_id, lifecycle.cancel)


@router.post("/{job_id}/pause")
def pause_job(services: In, caller: By, job_id: str) -> JobView:
    """Stop a job until it is resumed; one that runs saves a checkpoint first."""
    return _steer(services, caller, job_id, lifecycle.pause)


@router.post("/{job_id}/resume")
def resume_job(services: In, caller: By, job_id: str) -> JobView:
    """Let a paused job go on where it stopped."""
    return _steer(services, caller, job_id, lifecycle.resume)


@router.post("/{job_id}/retry", status_code=202, response_model=JobView)
def retry_job(
    services: In,
    caller: By,
    sending: Sent,
    job_id: str,
    fresh: Annotated[bool, Query(description="Start from the first step instead of the last checkpoint.")] = False,
) -> Response:
    """Do a failed or cancelled job again, as a new job that names the old one."""

    def store(session: Session, _: None) -> Created:
        services.quotas.room_for_jobs(session, caller.project_id, 1)  # the project before its jobs, as whoever submits
        job = lookup.job_to_change(session, caller.project_id, job_id)
        uses.refuse_if_deleted(session, job)
        again = lifecycle.retry(session, job, fresh=fresh)
        return Created(202, again.view(), f"/v1/jobs/{again.id}", jobs=lookup.due(session, again))

    return services.idempotency.once(sending, "", lambda: None, store, services.ring)


def _steer(services: Services, caller: Caller, job_id: str, order: Callable[[Session, Job], None]) -> JobView:
    with services.database.write() as session:
        job = lookup.job_to_change(session, caller.project_id, job_id)
        order(session, job)
        view, due = job.view(), lookup.due(session, job)
    for id_ in due:
        services.bell.ring(id_)
    return view
