"""The service in numbers, for Prometheus. Labels are routes and statuses; never a job."""

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest

from api.census import Census
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
        self.census = Census(self.registry)
        self.deliveries = Counter("potstill_webhook_deliveries", "Tries, by outcome.", ("outcome",), registry=self.registry)
        for outcome in ("delivered", "to_repeat", "given_up"):
            self.deliveries.labels(outcome)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        self.requests.labels(method, route, str(status)).inc()
        self.duration.labels(method, route).observe(seconds)

    def exposition(self, database: Database) -> bytes:
        """The text Prometheus reads; what stands in rows is counted now."""
        self.census.take(database)
        return generate_latest(self.registry)
