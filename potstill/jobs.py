"""`client.jobs`: submit, find, steer."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from contract.wire import ArtifactView, CheckpointView, EventView, FreedView, JobView, MetricsView, Page, ValidateView
from potstill.job import Job
from potstill.metrics import Metrics
from potstill.resources import Resource, each, part
from potstill.specs import Spec, load
from potstill.transport import new_key

When = datetime | str


class Jobs(Resource):
    """`client.jobs`."""

    def submit(self, spec: Spec, *, idempotency_key: str | None = None) -> Job:
        """Queues a job: a path of a YAML or JSON file, a mapping, or a JobSpec. Your own key makes a repeated call harmless."""
        body = self.transport.call("POST", "/v1/jobs", body=load(spec), idempotency_key=idempotency_key or new_key())
        return self._job(body)

    def submit_batch(self, specs: Iterable[Spec], *, idempotency_key: str | None = None) -> list[Job]:
        """Queues all or none. Members refer to each other by name: `teacher: {job: "@assistant"}`."""
        batch = {"jobs": [load(spec) for spec in specs]}
        body = self.transport.call("POST", "/v1/jobs/batch", body=batch, idempotency_key=idempotency_key or new_key())
        return [Job(self, view) for view in self.transport.read(Page[JobView], body).data]

    def validate(self, spec: Spec) -> ValidateView:
        """What the service thinks of a spec, without queueing anything."""
        return self.transport.read(ValidateView, self.transport.call("POST", "/v1/jobs/validate", body=load(spec)))

    def list(self, **filters: Any) -> Iterator[Job]:
        """Newest first, page after page as they are needed. Filters as in `page`."""
        return (Job(self, view) for view in each(self.transport, "/v1/jobs", JobView, _filters(**filters)))

    def page(self, *, limit: int = 20, after: str | None = None, before: str | None = None, **filters: Any) -> Page[JobView]:
        """One page. `after` takes its `last_id` for the next, older one. Filters: status, kind, name, metadata, created_after, …"""
        params = _filters(**filters) | {"limit": limit, "after": after, "before": before}
        return self.transport.read(Page[JobView], self.transport.call("GET", "/v1/jobs", params=params))

    def get(self, job_id: str) -> Job:
        return self._job(self.transport.call("GET", _path(job_id)))

    def update(
        self, job_id: str, *, name: str | None = None, priority: int | None = None, metadata: Mapping[str, str] | None = None
    ) -> Job:
        given = {"name": name, "priority": priority, "metadata": dict(metadata) if metadata is not None else None}
        return self._job(self.transport.call("PATCH", _path(job_id), body={k: v for k, v in given.items() if v is not None}))

    def cancel(self, job_id: str) -> Job:
        return self._job(self.transport.call("POST", _path(job_id, "/cancel")))

    def pause(self, job_id: str) -> Job:
        return self._job(self.transport.call("POST", _path(job_id, "/pause")))

    def resume(self, job_id: str) -> Job:
        return self._job(self.transport.call("POST", _path(job_id, "/resume")))

    def retry(self, job_id: str, *, fresh: bool = False) -> Job:
        """A new job in place of a failed or cancelled one, from its last checkpoint unless `fresh`."""
        params = {"fresh": "true"} if fresh else {}
        return self._job(self.transport.call("POST", _path(job_id, "/retry"), params=params, idempotency_key=new_key()))

    def delete(self, job_id: str, *, dry_run: bool = False) -> FreedView | None:
        """Deletes a final job with its files; with `dry_run` only says what that would free."""
        body = self.transport.call("DELETE", _path(job_id), params={"dry_run": "true"} if dry_run else {})
        return self.transport.read(FreedView, body) if dry_run else None

    def events(self, job_id: str, *, after: int = 0, types: Iterable[str] = ()) -> Iterator[EventView]:
        """What was said so far, oldest first; only of these types, if any are named."""
        params = {"type": list(types), "after": after or None}
        return each(self.transport, _path(job_id, "/events"), EventView, params, lambda event: str(event.seq))

    def metrics(self, job_id: str, **filters: Any) -> Metrics:
        """Series by name, arm and seed. Filters: name, arm, seed, after_step, max_points."""
        return Metrics(self.transport.read(MetricsView, self.transport.call("GET", _path(job_id, "/metrics"), params=filters)).data)

    def checkpoints(self, job_id: str) -> Iterator[CheckpointView]:
        return each(self.transport, _path(job_id, "/checkpoints"), CheckpointView)

    def artifacts(self, job_id: str) -> Iterator[ArtifactView]:
        return each(self.transport, _path(job_id, "/artifacts"), ArtifactView)

    def _job(self, body: Any) -> Job:
        return Job(self, self.transport.read(JobView, body))


def _path(job_id: str, rest: str = "") -> str:
    return f"/v1/jobs/{part(job_id)}{rest}"


def _filters(
    *,
    status: str | Iterable[str] = (),
    kind: str | None = None,
    name: str | None = None,
    metadata: Mapping[str, str] | None = None,
    created_after: When | None = None,
    created_before: When | None = None,
    parent: str | None = None,
    sweep: str | None = None,
) -> dict[str, Any]:
    tagged = {f"metadata[{key}]": value for key, value in (metadata or {}).items()}
    return tagged | {
        "status": [status] if isinstance(status, str) else list(status),
        "kind": kind,
        "name": name,
        "created_after": _moment(created_after),
        "created_before": _moment(created_before),
        "parent": parent,
        "sweep": sweep,
    }


def _moment(when: When | None) -> str | None:
    return when.astimezone().isoformat() if isinstance(when, datetime) else when
