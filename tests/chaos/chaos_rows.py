"""What a database holds about some jobs, as plain records: what the checker looks at, long after the service has gone."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import inspect, select

from models.base import Base
from models.blobs import Blobs
from models.job import Event, Job, JobDependency
from models.results import Artifact, Checkpoint, Model
from models.session import Database

Row = dict[str, Any]
Read = Callable[[str], str | None]  # SHA-256 of the bytes stored under a name; None when there are none


@dataclass
class Rows:
    jobs: dict[str, Row] = field(default_factory=dict)
    events: dict[str, list[Row]] = field(default_factory=dict)  # in order of seq
    artifacts: dict[str, list[Row]] = field(default_factory=dict)
    checkpoints: dict[str, list[Row]] = field(default_factory=dict)
    models: dict[str, list[Row]] = field(default_factory=dict)


def load(database: Database, job_ids: Iterable[str]) -> Rows:
    """Copies the jobs, their runs and everything that belongs to them."""
    found, wanted = Rows(), set(job_ids)
    with database.read() as session:
        wanted |= set(session.scalars(select(JobDependency.needs_id).where(JobDependency.job_id.in_(wanted), JobDependency.is_run)))
        for job in session.scalars(select(Job).where(Job.id.in_(wanted))):
            found.jobs[job.id] = {**_plain(job), "runs": job.runs}
        kinds: list[tuple[Any, dict[str, list[Row]]]] = [
            (Event, found.events),
            (Artifact, found.artifacts),
            (Checkpoint, found.checkpoints),
            (Model, found.models),
        ]
        for table, rows in kinds:
            for row in session.scalars(select(table).where(table.job_id.in_(wanted)).order_by(*table.__table__.primary_key)):
                rows.setdefault(row.job_id, []).append(_plain(row))
    return found


def _plain(row: Base) -> Row:
    return {column.key: getattr(row, column.key) for column in inspect(type(row)).column_attrs}


def reader(blobs: Blobs) -> Read:
    def read(sha256: str) -> str | None:
        try:
            with blobs.open(sha256) as file:
                return hashlib.sha256(file.read()).hexdigest()
        except FileNotFoundError:
            return None

    return read
