"""What a job leaves behind: metrics, checkpoints, artifacts, and the student as one file."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field
from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import Response

from api import checkpoints, downloads, lookup, paging, series, students
from api.openapi import UNCHANGED, content, problems
from api.paging import Paging
from api.routing import known_query
from api.services import By, In
from contract.wire import ArtifactView, CheckpointView, MetricsView, Page
from models.job import Job
from models.results import Artifact

router = APIRouter(prefix="/v1", tags=["results"], dependencies=[Depends(known_query)], responses=problems(404, 503))
BYTES = content("*/*", "The bytes.", binary=True)  # of the type that the file's name says
PART = {206: {**BYTES[200], "description": "The bytes that `Range` asks for."}}
TAR = content("application/x-tar", "The tar.", binary=True)
LARGEST = 2**63 - 1
Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]


@router.get("/jobs/{job_id}/metrics", response_model=MetricsView, responses=problems(404, 503))
def get_metrics(
    services: In,
    caller: By,
    job_id: str,
    name: Annotated[Text | None, Query(description="Only this metric, `train/loss` say.")] = None,
    arm: Annotated[Text | None, Query(description="`model`, `student` or `control`.")] = None,
    seed: Annotated[int | None, Query(ge=0, le=LARGEST, description="Only the run of this seed.")] = None,
    after_step: Annotated[int | None, Query(ge=-1, le=LARGEST, description="Only points after this step.")] = None,
    max_points: Annotated[int | None, Query(ge=4, le=100_000, description="Thin each series to this many, minima and maxima kept.")] = None,
) -> Response:
    """Metric points as series, those of all runs of the job. Nothing is thinned unless asked for, and all points stay stored."""
    with services.database.read() as session:
        job = lookup.job(session, caller.project_id, job_id)
        found = series.read(session, job.runs or [job_id], {"name": name, "arm": arm, "seed": seed}, after_step, max_points)
    return Response(MetricsView.model_construct(data=found).model_dump_json(), media_type="application/json")


@router.get("/jobs/{job_id}/checkpoints", responses=problems(404, 503))
def list_checkpoints(services: In, caller: By, job_id: str, page: Paging) -> Page[CheckpointView]:
    """Checkpoints that are kept, of all runs of the job, highest step first."""
    with services.database.read() as session:
        job = lookup.job(session, caller.project_id, job_id)
        return checkpoints.page(checkpoints.read(session, job.runs or [job_id]), page)


@router.get("/jobs/{job_id}/artifacts", responses=problems(404, 503))
def list_artifacts(services: In, caller: By, job_id: str, page: Paging) -> Page[ArtifactView]:
    """Files of a job, newest first."""
    with services.database.read() as session:
        lookup.job(session, caller.project_id, job_id)
        return paging.page(session, Artifact, page, paging.each(Artifact.view), within=Artifact.job_id == job_id)


@router.get(
    "/artifacts/{artifact_id}", response_class=Response, response_model=None, responses=BYTES | PART | UNCHANGED | problems(404, 416, 503)
)
@router.head("/artifacts/{artifact_id}", response_class=Response, response_model=None, include_in_schema=False)
def download_artifact(services: In, caller: By, artifact_id: str, request: Request) -> Response:
    """The bytes of an artifact. Broken downloads go on with `Range` and `If-Range`; the ETag is the SHA-256."""
    with services.database.read() as session:
        row = lookup.artifact(session, caller.project_id, artifact_id)
    file = downloads.File(row.sha256, row.size_bytes, row.path.rpartition("/")[2])
    return downloads.respond(services.blobs, file, request.method, request.headers)


@router.get("/jobs/{job_id}/student", response_class=Response, response_model=None, responses=TAR | UNCHANGED | problems(404, 409, 503))
@router.head("/jobs/{job_id}/student", response_class=Response, response_model=None, include_in_schema=False)
def download_student(services: In, caller: By, job_id: str, request: Request) -> Response:
    """The student, of a train job its model, as one tar of a directory: `curl … | tar x`."""
    with services.database.read() as session:
        job: Job = lookup.job(session, caller.project_id, job_id)
        files = session.scalars(
            select(Artifact).where(Artifact.job_id == job_id, Artifact.path.startswith("student/")).order_by(Artifact.path)
        ).all()
    return students.respond(services.blobs, job, files, request.method, request.headers)
