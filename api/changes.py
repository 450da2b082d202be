"""What may be changed of what exists: of anything the fields that are named, and of a job these."""

from typing import Annotated

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from sqlalchemy import update
from sqlalchemy.orm import Session

from contract.base import Metadata, Sent
from contract.check import Model, checked
from contract.errors import Conflict, ErrorCode, InvalidSpec
from contract.spec import Name
from contract.status import JobStatus
from models.job import Job


class JobChanges(Sent):
    """The body of PATCH /v1/jobs/{id}: what is not named stays."""

    name: Name | SkipJsonSchema[None] = Field(default=None, description="What it is called in lists.")
    priority: Annotated[int, Field(ge=-1000, le=1000)] | SkipJsonSchema[None] = Field(default=None, description="Higher goes first.")
    metadata: Metadata | SkipJsonSchema[None] = Field(default=None, description="Replaces all there is.")


def parse(model: type[Model], sent: dict[str, object]) -> Model:
    for field, value in sent.items():
        if value is None and field in model.model_fields:
            raise InvalidSpec(f"{field}: it cannot be null", param=field, hint="Leave the field out to keep what there is.")
    return checked(model, sent)


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
