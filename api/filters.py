"""Which jobs a list shows."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from pydantic import AfterValidator, BeforeValidator
from sqlalchemy import ColumnElement, String, cast, exists, false, func, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from api.paging import refused
from contract.errors import ErrorCode
from contract.spec import JobKind
from contract.status import JobStatus
from models.job import Job
from models.sweep import Sweep


def _no_number(value: str) -> str:
    """pydantic takes numbers for seconds since 1970."""
    if "-" not in value[1:]:
        raise ValueError("write a time like 2026-11-22T09:30:00Z")
    return value


def _utc(moment: datetime) -> datetime:
    """A day from the ends of all time has no moment in UTC."""
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("that is beyond the years 1 to 9999 in UTC") from None


Moment = Annotated[datetime, BeforeValidator(_no_number), AfterValidator(_utc)]
MOST_METADATA = 16  # fields asked for at once
EXTRA: dict[str, Any] = {
    "parameters": [
        {
            "name": "metadata[k]",
            "in": "query",
            "required": False,
            "schema": {"type": "string"},
            "description": "Only jobs whose metadata has `k` with this value.",
        }
    ]
}


def top_level() -> list[ColumnElement[bool]]:
    """What lists show unless asked otherwise: neither runs of a job nor trials of a sweep, of which there may be hundreds."""
    return [Job.parent_id.is_(None), Job.sweep_id.is_(None)]


@dataclass(frozen=True)
class _Filters:
    status: list[JobStatus] | None
    kind: JobKind | None
    name: str | None
    created_after: datetime | None
    created_before: datetime | None
    parent: str | None
    sweep: str | None
    metadata: dict[str, str]

    def within(self, session: Session, project_id: str) -> ColumnElement[bool]:
        """The jobs a page is taken from: the project's, or one parent's children. With both asked for at once SQLite would
        go through the whole project for the sake of the order."""
        if self.parent is None and self.sweep is None:
            return Job.project_id == project_id
        if self.parent is not None and self.sweep is not None:
            raise refused(
                "sweep", "`parent` and `sweep` exclude each other: a run of a trial is found by its parent", ErrorCode.CONFLICTING_FIELDS
            )
        if self.parent is None:
            its = session.scalar(select(Sweep.id).where(Sweep.id == self.sweep, Sweep.project_id == project_id))
            return Job.sweep_id == its if its is not None else false()
        mine = session.scalar(select(Job.id).where(Job.id == self.parent, Job.project_id == project_id))
        return Job.parent_id == mine if mine is not None else false()

    def conditions(self, dialect: str) -> list[ColumnElement[bool]]:
        found = top_level() if self.parent is None and self.sweep is None else []
        if self.status:
            found.append(Job.status.in_(self.status))
        if self.kind is not None:
            found.append(Job.kind == self.kind.value)
        if self.name is not None:
            found.append(Job.name == self.name)
        if self.created_after is not None:
            found.append(Job.created_at > self.created_after)
        if self.created_before is not None:
            found.append(Job.created_at < self.created_before)
        return found + [_has(dialect, key, value) for key, value in self.metadata.items()]


async def _filters(
    request: Request,
    status: Annotated[list[JobStatus] | None, Query(description="May be given several times.")] = None,
    kind: Annotated[JobKind | None, Query(description="Only this kind.")] = None,
    name: Annotated[str | None, Query(description="Only this name.")] = None,
    created_after: Annotated[Moment | None, Query(description="RFC 3339.")] = None,
    created_before: Annotated[Moment | None, Query(description="RFC 3339.")] = None,
    parent: Annotated[str | None, Query(description="Children of this job.")] = None,
    sweep: Annotated[str | None, Query(description="Trials of this sweep.")] = None,
) -> _Filters:
    given = request.query_params
    for key, value in given.multi_items():
        if "\0" in key or "\0" in value:
            raise refused(key.replace("\0", "?"), "no text here holds a zero character")
    metadata = {key[9:-1]: given[key] for key in given if key.startswith("metadata[") and key.endswith("]")}
    if len(metadata) > MOST_METADATA:
        raise refused("metadata", f"at most {MOST_METADATA} fields are looked for at once, and these are {len(metadata):,}")
    return _Filters(status, kind, name, created_after, created_before, parent, sweep, metadata)


Filters = Annotated[_Filters, Depends(_filters)]


def _has(dialect: str, key: str, value: str) -> ColumnElement[bool]:
    if dialect == "postgresql":
        return cast(Job.meta, JSONB).contains({key: value})
    pairs = func.json_each(Job.meta).table_valued("key", "value")
    return exists(select(1).select_from(pairs).where(pairs.c.key == key, cast(pairs.c.value, String) == value))
