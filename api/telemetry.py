"""The service in numbers, for Prometheus. Labels are routes and statuses; never a job."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from sqlalchemy import func, select

from contract.status import JobStatus
from models.job import Job
from models.session import Database

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)


class Telemetry:
    """One registry for each application, so that two in one process do not count for each other."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        labels = ("method", "route", "status")
        self.requests = Counter("potstill_http_requests", "Requests answered.", labels, registry=self.registry)
        self.duration = Histogram(
            "potstill_http_request_duration_seconds", "Time to answer.", ("method", "route"), buckets=BUCKETS, registry=self.registry
        )
        self.jobs = Gauge("potstill_jobs", "Jobs there are, by status.", ("status",), registry=self.registry)
        self.queued = Gauge("potstill_queue_depth", "Jobs a worker could take now.", registry=self.registry)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        self.requests.labels(method, route, str(status)).inc()
        self.duration.labels(method, route).observe(seconds)

    def exposition(self, database: Database) -> bytes:
        """The text Prometheus reads; job numbers are counted now, from the rows."""
        with database.read() as session:
            counts = dict(session.execute(select(Job.status, func.count()).group_by(Job.status)).all())
        for status in JobStatus:
            self.jobs.labels(status.value).set(counts.get(status, 0))
        self.queued.set(counts.get(JobStatus.QUEUED, 0))
        return generate_latest(self.registry)
