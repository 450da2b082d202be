"""The run's news on their way into the database: in order, in batches, each batch once, under the fence. The answer says
whether somebody wants the run to stop."""

import contextlib
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from contract.events import CheckpointSaved, LogLine, PhaseChanged, Resumed, RunEvent, Step, news
from contract.status import JobStatus
from models import claims, points, sweeping, teardown
from models.blobs import Blobs
from models.claims import Claim, StoredFile
from models.job import Event, Job
from models.lifecycle import add_event
from models.session import Database
from worker.backlog import Backlog

FLUSH_SECONDS = 0.25
AGAIN_SECONDS = 1.0  # after a try that failed
BATCH = 1000  # events in one transaction
MESSAGE = 10_000  # characters
LOG_LINES = 10_000  # log lines and warnings kept for a job
HISTORY = 20_000  # progress and checkpoint events older than this many are forgotten; points and checkpoints have rows of their own
FORGET_EVERY = 1000


def store_folder(put: teardown.Put, folder: Path, prefix: str, kind: str) -> list[StoredFile]:
    """Puts every file below `folder` into the blob store; their paths start with `prefix`."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    return [store_file(put, path, prefix + path.relative_to(folder).as_posix(), kind) for path in paths]


def store_file(put: teardown.Put, path: Path, name: str, kind: str) -> StoredFile:
    sha256, size = put(path)
    return StoredFile(name, kind, sha256, size)


def discard(event: CheckpointSaved) -> None:
    """Removes the folders of checkpoints that this one replaced and that still wait to be stored: a slow store must not fill the
    disk. What the sink has taken is its own; of the two renames one succeeds."""
    for step in event.dropped:
        folder = Path(event.folder).with_name(str(step))
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder.rename(folder.with_name(f"{step}.replaced")), ignore_errors=True)


def _take(event: CheckpointSaved) -> Path | None:
    """The checkpoint's folder under a name that nobody else removes; None where it was replaced before its turn came."""
    folder = Path(event.folder)
    taken = folder.with_name(f"{event.step}.taken")
    with contextlib.suppress(FileNotFoundError):
        folder.rename(taken)
    return taken if taken.is_dir() else None


class Sink:
    """Writes one attempt's events down. Every write may raise LeaseLostError, and Unavailable, after which nothing is lost:
    the events stay in the backlog, and the job's row knows how many of them it has, so that a commit whose answer got lost
    is not repeated."""

    def __init__(
        self, database: Database, blobs: Blobs, claim: Claim, backlog: Backlog, hear: Callable[[list[RunEvent]], None] = lambda events: None
    ) -> None:
        """hear: told of what has been written."""
        self.database, self.blobs, self.claim, self.backlog, self._hear = database, blobs, claim, backlog, hear
        self.status = JobStatus.RUNNING  # as of the last write
        self._position = 0  # events taken out of the backlog
        self._replaced: list[int] = []  # checkpoints to forget with the next that is stored
        self._tried_at = 0.0
        self._stepped = False
        self._failed = False

    def due(self) -> bool:
        """A few times a second; at once for the first step, which somebody is waiting to see."""
        if not len(self.backlog):
            return False
        if time.monotonic() - self._tried_at >= (AGAIN_SECONDS if self._failed else FLUSH_SECONDS):
            return True
        return not self._stepped and not self._failed and any(isinstance(event, Step) for event in self.backlog.first(BATCH))

    def flush(self) -> None:
        """Writes all there is."""
        self._tried_at, self._failed = time.monotonic(), True
        while events := self._batch():
            last = events[-1]
            if isinstance(last, CheckpointSaved):
                self._checkpoint(last, events)
            else:
                self._commit(events, [])
            self._position += len(events)
            self.backlog.drop(len(events))
            self._hear(events)
            self._stepped = self._stepped or any(isinstance(event, Step) for event in events)
        self._failed = False

    def _batch(self) -> list[RunEvent]:
        """The next events, up to a checkpoint, whose files have to be stored before its row."""
        events = self.backlog.first(BATCH)
        stop = next((i + 1 for i, event in enumerate(events) if isinstance(event, CheckpointSaved)), len(events))
        return events[:stop]

    def _checkpoint(self, event: CheckpointSaved, events: list[RunEvent]) -> None:
        """Files first, then the row, then those it replaced; no file waits inside a transaction."""
        folder = _take(event)
        if folder is None:
            self._commit(events, [])
            self._replaced += event.dropped  # they stay until a newer one is stored
            return
        with teardown.storing(self.database, self.blobs) as put:
            loose = self._commit(events, store_folder(put, folder, f"checkpoints/{event.step}/", "checkpoint"))
        self._replaced = []
        shutil.rmtree(folder, ignore_errors=True)  # the store has it; a second link would keep the bytes of dropped ones alive
        teardown.let_go(self.database, self.blobs, loose)

    def _commit(self, events: list[RunEvent], files: Sequence[StoredFile]) -> list[str]:
        """One transaction; returns blobs that may now be unused. files: those of the checkpoint with which `events` end."""
        loose: list[str] = []
        with self.database.write() as session:
            job = claims.fenced(session, self.claim)
            seq = job.event_seq
            fresh = events[max(0, job.accepted - self._position) :]
            if fresh:
                self._write(session, job, fresh)
                self._judge(session, job, fresh)
                saved = fresh[-1]
                if isinstance(saved, CheckpointSaved) and files:
                    dropped = [*self._replaced, *saved.dropped]
                    loose = claims.add_checkpoint(session, self.claim, saved.step, saved.metrics, files, dropped)
                job.accepted = self._position + len(events)
                if job.event_seq // FORGET_EVERY > seq // FORGET_EVERY:
                    _forget(session, job)
            self.status = JobStatus(job.status)
        return loose

    def _write(self, session: Session, job: Job, events: list[RunEvent]) -> None:
        steps = [event for event in events if isinstance(event, Step)]
        progress: dict[str, Any] = dict(job.progress)
        for event in events:
            if isinstance(event, Step | CheckpointSaved):
                continue
            self._tell(session, job, event)
            if isinstance(event, PhaseChanged):
                progress["phase"] = event.phase
            elif isinstance(event, Resumed) and event.inexact is not None:
                job.resumed_inexactly = True
        if steps:
            metrics = {name: value for step in steps for name, value in step.metrics.items()}
            last = steps[-1]
            timed = next((step for step in reversed(steps) if step.steps_per_second), last)
            progress |= last.model_dump(include={"step", "total_steps", "epoch"})
            progress |= timed.model_dump(include={"steps_per_second", "eta_seconds"})
            job.latest = {**job.latest, **metrics}
            add_event(session, job, "metrics", f"step {last.step:,} of {last.total_steps:,}", data={**progress, "metrics": metrics})
            values = {(name, step.step): value for step in steps for name, value in step.metrics.items()}
            points.add(session, self.claim.job_id, self.claim.arm, self.claim.seed, values)
        job.progress = progress

    def _tell(self, session: Session, job: Job, event: RunEvent) -> None:
        told = news(event)
        if told is None:
            return
        if isinstance(event, LogLine):
            job.logged += 1
            if job.logged == LOG_LINES + 1:
                limit = f"{LOG_LINES:,} log lines are kept for a job; later ones are left out"
                add_event(session, job, "warning", limit, level="warning")
                job.warnings = [*job.warnings, limit]
            if job.logged > LOG_LINES:
                return
        message = told.message
        if len(message) > MESSAGE:
            message = f"{message[:MESSAGE]} … ({len(message) - MESSAGE:,} more characters)"
        add_event(session, job, told.type, message, level=told.level, data=told.data)
        if told.type == "warning" and message not in job.warnings:
            job.warnings = [*job.warnings, message][-100:]

    def _judge(self, session: Session, job: Job, events: list[RunEvent]) -> None:
        """A trial of a sweep may have to make way for better ones; what it is told then comes back as `status`."""
        seen = [(event.epoch, event.metrics) for event in events if isinstance(event, Step) and "validation/loss" in event.metrics]
        if self.claim.sweep_id is not None and seen:
            sweeping.judge(session, self.claim, job, seen)


def _forget(session: Session, job: Job) -> None:
    """Old progress goes: its numbers are metric points. Statuses, warnings and log lines stay."""
    old = Event.job_id == job.id, Event.seq <= job.event_seq - HISTORY, Event.type.in_(("metrics", "checkpoint"))
    session.execute(delete(Event).where(*old))
