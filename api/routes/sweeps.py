"""Sweeps: submit, find, cancel, delete. Their trials are ordinary jobs."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from sqlalchemy.orm import Session
from starlette.responses import Response

from api import deletion, lookup, paging, sweeps
from api.bodies import Document
from api.idempotency import Created, Sent
from api.openapi import document, problems
from api.paging import Paging
from api.routing import known_query
from api.services import By, In
from api.traces import From
from contract.errors import Conflict, ErrorCode
from contract.sweep import SweepSpec
from contract.wire import FreedView, Page, SweepView, ValidateView
from models import audit, sweeping
from models.sweep import Sweep
from models.teardown import let_go

router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"], dependencies=[Depends(known_query)])


@router.post("", status_code=202, response_model=SweepView, openapi_extra=document(SweepSpec), responses=problems(400, 409, 413, 415, 503))
def submit_sweep(services: In, caller: By, sending: Sent, body: Document, origin: From) -> Response:
    """Submit a sweep: one job, the fields of it that vary, and how to search. All trials of the same teacher and rows pay for one
    teacher pass."""

    def store(session: Session, asked: sweeps.Asked) -> Created:
        services.quotas.room_for_jobs(session, caller.project_id, min(sweeping.at_once(asked.spec), len(asked.trials)))
        sweep, due = sweeps.submit(session, caller.project_id, asked, origin, services.teachers)
        return Created(202, sweep.view(), f"/v1/sweeps/{sweep.id}", jobs=due)

    return services.idempotency.once(sending, body.sha256, lambda: sweeps.parse(body.mapping()), store, services.ring)


@router.post("/validate", openapi_extra=document(SweepSpec), responses=problems(400, 413, 415, 503))
def validate_sweep(services: In, caller: By, body: Document) -> ValidateView:
    """What submitting this sweep would say; queues nothing and always answers 200 to what is JSON or YAML. `resolved_spec` is the first
    trial's."""
    with services.database.read() as session:
        return sweeps.verdict(session, caller.project_id, body.mapping(), services.teachers)


@router.get("", responses=problems(503))
def list_sweeps(services: In, caller: By, page: Paging) -> Page[SweepView]:
    """Sweeps, newest first, without their trials."""
    with services.database.read() as session:
        within = Sweep.project_id == caller.project_id
        return paging.page(session, Sweep, page, paging.each(lambda sweep: sweep.view(whole=False)), within=within)


@router.get("/{sweep_id}", responses=problems(404, 503))
def get_sweep(services: In, caller: By, sweep_id: str) -> SweepView:
    """One sweep with its trials, the best of them so far, and those worth their size."""
    with services.database.read() as session:
        return lookup.sweep(session, caller.project_id, sweep_id).view()


@router.post("/{sweep_id}/cancel", responses=problems(404, 503))
def cancel_sweep(services: In, caller: By, sweep_id: str) -> SweepView:
    """Try nothing more and stop what runs. What has succeeded stays."""
    with services.database.write() as session:
        sweep = lookup.sweep(session, caller.project_id, sweep_id, lock="change")
        sweeping.cancel(session, sweep)
        return sweep.view()


@router.delete("/{sweep_id}", status_code=204, response_model=None, responses={200: {"model": FreedView}, **problems(404, 409, 503)})
def delete_sweep(
    services: In, caller: By, sweep_id: str, dry_run: Annotated[bool, Query(description="Only say what this would free.")] = False
) -> Response:
    """Delete a sweep that has ended, with its jobs and all they left."""
    with services.database.write() as session:
        sweep = lookup.sweep(session, caller.project_id, sweep_id, lock="change")
        if sweep.finished_at is None:
            raise Conflict(
                f"{sweep.id} is {sweep.status} and cannot be deleted.", code=ErrorCode.INVALID_TRANSITION, hint="Cancel it first."
            )
        ids = sorted(sweep.jobs())
        jobs = [member for id_ in ids for member in deletion.family(session, lookup.job_to_change(session, caller.project_id, id_))]
        if dry_run:
            return Response(deletion.forecast(session, jobs).model_dump_json(), media_type="application/json")
        loose = deletion.delete(session, caller, jobs)
        session.delete(sweep)
        audit.record(session, caller, "sweep.deleted", sweep.id, name=sweep.name)
    let_go(services.database, services.blobs, loose)
    return Response(status_code=204)
