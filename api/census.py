"""What the database's rows come to, in numbers for Prometheus. Every API process counts the same rows: take one's word, not the sum."""

import threading
import time
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Gauge, Histogram
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from contract.kind import JobKind
from contract.status import ACTIVE, FINAL, JobStatus
from models.base import now
from models.job import Job
from models.results import Artifact
from models.service import SILENCE, Worker
from models.session import Database
from models.webhook import Message

DURATIONS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 72 * 3600)
STEPS = (0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30)
LATE = timedelta(seconds=60)  # an ending may be committed so long after its time
BYTES_SECONDS = 60.0  # a sum over all files is not made anew for each scrape
MOST = 10_000


class Census:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.jobs = Gauge("potstill_jobs", "Jobs there are, by status.", ("status",), registry=registry)
        # The name that the design promised; no counter, as its ending says, so ours stands beside it.
        self.promised = Gauge("potstill_jobs_total", "The same as potstill_jobs.", ("status",), registry=registry)
        self.queued = Gauge("potstill_queue_depth", "Jobs a worker could take now.", registry=registry)
        self.oldest = Gauge("potstill_queue_oldest_seconds", "Since when the oldest of those waits.", registry=registry)
        self.durations = Histogram(
            "potstill_job_duration_seconds",
            "From a job's first start to its end.",
            ("kind", "status"),
            buckets=DURATIONS,
            registry=registry,
        )
        self.steps = Histogram("potstill_step_seconds", "Of running jobs, looked at with each scrape.", buckets=STEPS, registry=registry)
        self.slots = Gauge("potstill_worker_slots", "Of workers that are alive.", ("state",), registry=registry)
        self.workers = Gauge("potstill_workers", "Alive; deaf ones find jobs by looking.", ("state",), registry=registry)
        self.bytes = Gauge("potstill_artifact_bytes", "Files of jobs, by kind.", ("kind",), registry=registry)
        self.messages = Gauge("potstill_webhook_messages", "Messages that wait to be delivered.", registry=registry)
        for kind in JobKind:
            for status in FINAL:
                self.durations.labels(kind.value, status.value)
        self._lock = threading.Lock()
        self._since: datetime | None = None
        self._ended: dict[str, datetime] = {}  # counted already, and not long ago
        self._weighed_at = float("-inf")

    def take(self, database: Database) -> None:
        with self._lock, database.read() as session:
            moment = session.scalars(select(now())).one()
            self._count(session, moment)
            self._look_at_workers(session)
            self._look_at_endings(session, moment)
            self.messages.set(session.scalar(select(func.count()).select_from(Message).where(Message.status == "pending")) or 0)
            if time.monotonic() - self._weighed_at > BYTES_SECONDS:
                self._weighed_at = time.monotonic()
                self.bytes.clear()
                for kind, size in session.execute(select(Artifact.kind, func.sum(Artifact.size_bytes)).group_by(Artifact.kind)):
                    self.bytes.labels(kind).set(size)

    def _count(self, session: Session, moment: datetime) -> None:
        counts = dict(session.execute(select(Job.status, func.count()).group_by(Job.status)).all())
        for status in JobStatus:
            for gauge in (self.jobs, self.promised):
                gauge.labels(status.value).set(counts.get(status, 0))
        self.queued.set(counts.get(JobStatus.QUEUED, 0))
        first = session.scalar(select(func.min(Job.queued_at)).where(Job.status == JobStatus.QUEUED))
        self.oldest.set((moment - first).total_seconds() if first is not None else 0)

    def _look_at_workers(self, session: Session) -> None:
        alive = session.execute(select(Worker.slots, Worker.deaf_since).where(Worker.last_heartbeat_at > now(-SILENCE))).all()
        deaf = sum(since is not None for _, since in alive)
        held = select(Job.progress, Job.want_devices).where(Job.status.in_(ACTIVE), Job.worker_id.is_not(None))
        running = session.execute(held).all()
        busy = sum(devices or 1 for _, devices in running)
        self.workers.labels("hearing").set(len(alive) - deaf)
        self.workers.labels("deaf").set(deaf)
        self.slots.labels("busy").set(busy)
        self.slots.labels("free").set(max(0, sum(slots for slots, _ in alive) - busy))
        for progress, _ in running:
            if speed := progress.get("steps_per_second"):
                self.steps.observe(1 / speed)

    def _look_at_endings(self, session: Session, moment: datetime) -> None:
        """Jobs that have ended since this process came up, each counted once."""
        if self._since is None:
            self._since = moment
        ended = select(Job.id, Job.kind, Job.status, Job.started_at, Job.finished_at).where(Job.finished_at > self._since - LATE)
        for id_, kind, status, started, finished in session.execute(ended.order_by(Job.finished_at).limit(MOST)):
            assert finished is not None
            if id_ not in self._ended and started is not None:
                self.durations.labels(kind, status).observe((finished - started).total_seconds())
            self._ended[id_] = finished
            self._since = max(self._since, finished)
        self._ended = {id_: finished for id_, finished in self._ended.items() if finished > self._since - LATE}
