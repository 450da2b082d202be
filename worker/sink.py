"""The run's news on their way into the database: batched, fenced, and the answer says whether somebody wants it to stop."""

import time
from pathlib import Path
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from contract.events import CheckpointSaved, PhaseChanged, Resumed, RunEvent, Step, news
from contract.status import JobStatus
from models import claims, teardown
from models.base import now
from models.blobs import Blobs
from models.claims import Claim, StoredFile
from models.job import Job
from models.lifecycle import add_event
from models.results import MetricPoint
from models.session import Database

FLUSH_SECONDS = 0.25
ROWS = 500  # metric points in one INSERT


def store_folder(blobs: Blobs, folder: Path, prefix: str, kind: str) -> list[StoredFile]:
    """Puts every file below `folder` into the blob store; their paths start with `prefix`."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        sha256, size = blobs.put(path)
        found.append(StoredFile(prefix + path.relative_to(folder).as_posix(), kind, sha256, size))
    return found


class Sink:
    """Collects events of one attempt and writes them a few times a second. Every write may raise LeaseLostError."""

    def __init__(self, database: Database, blobs: Blobs, claim: Claim) -> None:
        self.database, self.blobs, self.claim = database, blobs, claim
        self.status = JobStatus.RUNNING  # as of the last write
        self._waiting: list[RunEvent] = []
        self._flushed_at = 0.0
        self._stepped = False

    def add(self, event: RunEvent) -> None:
        if isinstance(event, CheckpointSaved):
            self.flush()
            self._checkpoint(event)
        else:
            self._waiting.append(event)

    def due(self) -> bool:
        """A few times a second; at once for the first step, which somebody is waiting to see."""
        first_step = not self._stepped and any(isinstance(event, Step) for event in self._waiting)
        return first_step or (bool(self._waiting) and time.monotonic() - self._flushed_at >= FLUSH_SECONDS)

    def flush(self) -> None:
        if not self._waiting:
            return
        with self.database.write() as session:
            job = claims.fenced(session, self.claim)
            self._write(session, job, self._waiting)
            self.status = JobStatus(job.status)
        self._waiting = []
        self._flushed_at = time.monotonic()

    def _write(self, session: Session, job: Job, events: list[RunEvent]) -> None:
        steps = [event for event in events if isinstance(event, Step)]
        progress: dict[str, Any] = dict(job.progress)
        for event in events:
            told = news(event)
            if told is None or isinstance(event, Step):
                continue
            add_event(session, job, told.type, told.message, level=told.level, data=told.data)
            if told.type == "warning":
                job.warnings = [*job.warnings, told.message]
            if isinstance(event, PhaseChanged):
                progress["phase"] = event.phase
            elif isinstance(event, Resumed) and event.inexact is not None:
                job.resumed_inexactly = True
        if steps:
            self._stepped = True
            metrics = {name: value for step in steps for name, value in step.metrics.items()}
            last = steps[-1]
            timed = next((step for step in reversed(steps) if step.steps_per_second), last)
            progress |= last.model_dump(include={"step", "total_steps", "epoch"})
            progress |= timed.model_dump(include={"steps_per_second", "eta_seconds"})
            job.latest = {**job.latest, **metrics}
            add_event(session, job, "metrics", f"step {last.step:,} of {last.total_steps:,}", data={**progress, "metrics": metrics})
            self._points(session, steps)
        job.progress = progress

    def _points(self, session: Session, steps: list[Step]) -> None:
        key = {"job_id": self.claim.job_id, "arm": self.claim.arm, "seed": self.claim.seed}
        rows = [{**key, "name": name, "step": step.step, "value": value} for step in steps for name, value in step.metrics.items()]
        insert = postgresql.insert if self.database.dialect == "postgresql" else sqlite.insert
        for start in range(0, len(rows), ROWS):
            statement = insert(MetricPoint).values(rows[start : start + ROWS])
            repeated = {"value": statement.excluded.value, "time": now()}
            session.execute(statement.on_conflict_do_update(index_elements=list(MetricPoint.__table__.primary_key), set_=repeated))

    def _checkpoint(self, event: CheckpointSaved) -> None:
        files = store_folder(self.blobs, Path(event.folder), f"checkpoints/{event.step}/", "checkpoint")
        with self.database.write() as session:
            loose = claims.add_checkpoint(session, self.claim, event.step, event.metrics, files, event.dropped)
        with self.database.read() as session:
            unused = teardown.unreferenced(session, loose) if loose else []
        teardown.free(self.blobs, unused)
