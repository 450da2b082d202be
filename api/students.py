"""A job's student as one tar of the directory `student/`."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse

from api import tarball
from api.downloads import File, disposition, has_it, must_exist
from contract.errors import Conflict, ErrorCode, NotFound
from contract.spec import JobKind
from contract.status import JobStatus
from models.blobs import Blobs
from models.job import Job
from models.results import Artifact


def respond(blobs: Blobs, job: Job, files: Sequence[Artifact], method: str, request: Headers) -> Response:
    _refuse_unless_there(job, files)
    assert job.finished_at is not None
    modified = int(job.finished_at.timestamp())
    members = [tarball.Member(file.path, file.sha256, file.size_bytes) for file in files]
    headers = {"ETag": tarball.etag(members, modified), "Cache-Control": "private, no-cache"}
    if has_it(request.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    headers |= {"Content-Length": str(tarball.length(members, modified)), "Content-Disposition": disposition(f"{job.name}.tar")}
    if method == "HEAD":
        return Response(None, headers=headers, media_type="application/x-tar")
    for member in members:
        must_exist(blobs, File(member.sha256, member.size, member.path))
    return StreamingResponse(tarball.stream(blobs, members, modified), headers=headers, media_type="application/x-tar")


def _refuse_unless_there(job: Job, files: Sequence[Artifact]) -> None:
    if job.status != JobStatus.SUCCEEDED:
        verb = "show" if JobStatus(job.status).final else "watch"
        raise Conflict(
            f"{job.id} is {job.status}; its student is there once it has succeeded.",
            code=ErrorCode.STUDENT_NOT_READY,
            param="status",
            hint=f"potstill {verb} {job.id}",
        )
    if not files:
        why = "an evaluate job makes none" if job.kind == JobKind.EVALUATE else "its files are gone"
        raise NotFound(f"{job.id} has no student: {why}.", code=ErrorCode.ARTIFACT_NOT_FOUND)
