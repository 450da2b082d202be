"""What may be changed of a job that exists."""

from pydantic import Field
from sqlalchemy import update
from sqlalchemy.orm import Session

from contract.base import Metadata, Sent
from contract.check import checked
from contract.errors import Conflict, ErrorCode, InvalidSpec
from contract.spec import Name
from contract.status import JobStatus
from models.job import Job


class JobChanges(Sent):
    """The body of PATCH /v1/jobs/{id}: what is not named stays."""

    name: Name | None = None
    priority: int | None = Field(default=None, ge=-1000, le=1000, description="Higher goes first.")
    metadata: Metadata | None = Field(default=None, description="Replaces all there is.")


def parse(sent: dict[str, object]) -> JobChanges:
    for field, value in sent.items():
        if value is None and field in JobChanges.model_fields:
            raise InvalidSpec(f"{field}: it cannot be null", param=field, hint="Leave the field out to keep what there is.")
    return checked(JobChanges, sent)


def apply(session: Session, job: Job, wanted: JobChanges) -> None:
    """Writes the changes to a locked job; an ended job's priority means nothing any more."""
    if wanted.priority is not None:
        if JobStatus(job.status).final:
            raise Conflict(f"{job.id} is {job.status}; its priority cannot change.", code=ErrorCode.INVALID_TRANSITION, param="priority")
        job.priority = wanted.priority
        session.execute(update(Job).where(Job.parent_id == job.id, Job.finished_at.is_(None)).values(priority=wanted.priority))
    if wanted.name is not None:
        job.name = wanted.name
    if wanted.metadata is not None:
        job.meta = dict(wanted.metadata)
    session.flush()
