"""Jobs: submit, find, change, steer, delete."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from sqlalchemy.orm import Session
from starlette.responses import Response

from api import admission, batch, changes, deletion, lookup, paging
from api.bodies import Document
from api.filters import EXTRA, Filters
from api.idempotency import Created, Sent
from api.openapi import document, problems
from api.paging import Paging
from api.routing import known_query
from api.services import By, In
from api.traces import From
from contract.check import parse_spec
from contract.errors import InvalidSpec
from contract.spec import JobSpec
from contract.wire import FreedView, JobView, Page, ValidateView
from models.job import Job, views
from models.teardown import let_go

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(known_query)])


@router.post("", status_code=202, response_model=JobView, openapi_extra=document(JobSpec), responses=problems(400, 409, 413, 415, 503))
def submit_job(services: In, caller: By, sending: Sent, body: Document, origin: From) -> Response:
    """Submit a job. The answer comes once it is stored; nothing that was answered is ever lost. A recipe of several jobs (`takd`) puts
    those before it; the answer is the last one."""

    def store(session: Session, members: list[batch.Member]) -> Created:
        services.quotas.room_for_jobs(session, caller.project_id, len(members))
        *before, job = batch.submit(session, caller.project_id, members, origin, services.teachers)
        due = [id_ for each in (*before, job) for id_ in lookup.due(session, each)]
        return Created(202, job.view(), f"/v1/jobs/{job.id}", jobs=due)

    return services.idempotency.once(sending, body.sha256, lambda: batch.parse_one(body.mapping()), store, services.ring)


@router.post(
    "/batch",
    status_code=202,
    response_model=Page[JobView],
    openapi_extra=document(batch.Batch),
    responses=problems(400, 409, 413, 415, 503),
)
def submit_batch(services: In, caller: By, sending: Sent, body: Document, origin: From) -> Response:
    """Submit several jobs, all or none. Members refer to each other by name: `teacher: {job: "@assistant"}`."""

    def store(session: Session, members: list[batch.Member]) -> Created:
        services.quotas.room_for_jobs(session, caller.project_id, len(members))
        jobs = batch.submit(session, caller.project_id, members, origin, services.teachers)
        asked = [job for job, member in zip(jobs, members, strict=True) if member.asked]
        page = Page[JobView](data=[job.view() for job in asked], first_id=asked[0].id, last_id=asked[-1].id)
        return Created(202, page, jobs=[id_ for job in jobs for id_ in lookup.due(session, job)])

    return services.idempotency.once(sending, body.sha256, lambda: batch.parse(body.mapping()), store, services.ring)


@router.post("/validate", openapi_extra=document(JobSpec), responses=problems(400, 413, 415, 503))
def validate_job(services: In, caller: By, body: Document) -> ValidateView:
    """What submitting this spec would say; queues nothing and always answers 200 to what is JSON or YAML."""
    try:
        spec = parse_spec(body.mapping())
    except InvalidSpec as error:
        return admission.invalid(error)
    with services.database.read() as session:
        return admission.verdict(session, caller.project_id, spec, services.teachers)


@router.get("", openapi_extra=EXTRA, responses=problems(503))
def list_jobs(services: In, caller: By, filters: Filters, page: Paging) -> Page[JobView]:
    """Jobs, newest first. Children of a job are listed with `parent` only, trials of a sweep with `sweep` only."""
    with services.database.read() as session:
        where = filters.conditions(services.database.dialect)
        return paging.page(session, Job, page, views, within=filters.within(session, caller.project_id), where=where)


@router.get("/{job_id}", responses=problems(404, 503))
def get_job(services: In, caller: By, job_id: str) -> JobView:
    """One job as it stands."""
    with services.database.read() as session:
        return lookup.job(session, caller.project_id, job_id).view()


@router.patch("/{job_id}", openapi_extra=document(changes.JobChanges), responses=problems(400, 404, 409, 413, 415, 503))
def update_job(services: In, caller: By, job_id: str, body: Document) -> JobView:
    """Change name, priority or metadata; what is not named stays. Metadata is replaced as a whole."""
    wanted = changes.parse(changes.JobChanges, body.mapping())
    with services.database.write() as session:
        job = lookup.job_to_change(session, caller.project_id, job_id)
        changes.apply(session, job, wanted)
        return job.view()


@router.delete("/{job_id}", status_code=204, response_model=None, responses={200: {"model": FreedView}, **problems(404, 409, 503)})
def delete_job(
    services: In, caller: By, job_id: str, dry_run: Annotated[bool, Query(description="Only say what this would free.")] = False
) -> Response:
    """Delete a job that has ended, with its children, events, metrics, artifacts and model."""
    with services.database.write() as session:
        jobs = deletion.family(session, lookup.job_to_change(session, caller.project_id, job_id))
        if dry_run:
            return Response(deletion.forecast(session, jobs).model_dump_json(), media_type="application/json")
        loose = deletion.delete(session, caller, jobs)
    let_go(services.database, services.blobs, loose)
    return Response(status_code=204)
