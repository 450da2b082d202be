"""`client.sweeps`: many jobs that differ in a few fields, and the best of them."""

import time
from collections.abc import Iterator

from contract.errors import PotstillError
from contract.wire import FreedView, SweepView, ValidateView
from potstill.answers import RETRIED
from potstill.errors import ConnectionFailed, WaitTimeout
from potstill.follow import PATIENCE
from potstill.resources import Resource, each, part
from potstill.specs import Spec, load
from potstill.transport import new_key

ASK_SECONDS = 0.5  # at first; then less and less often
SLOWEST_SECONDS = 5.0


class Sweeps(Resource):
    """`client.sweeps`."""

    def submit(self, spec: Spec, *, idempotency_key: str | None = None) -> SweepView:
        """Queues a sweep: a path of a YAML or JSON file, or a mapping."""
        body = self.transport.call("POST", "/v1/sweeps", body=load(spec), idempotency_key=idempotency_key or new_key())
        return self.transport.read(SweepView, body)

    def validate(self, spec: Spec) -> ValidateView:
        """What the service thinks of a sweep, without queueing anything."""
        return self.transport.read(ValidateView, self.transport.call("POST", "/v1/sweeps/validate", body=load(spec)))

    def list(self) -> Iterator[SweepView]:
        """Newest first, without their trials."""
        return each(self.transport, "/v1/sweeps", SweepView)

    def get(self, sweep_id: str) -> SweepView:
        return self.transport.read(SweepView, self.transport.call("GET", _path(sweep_id)))

    def watch(self, sweep_id: str, timeout: float | None = None) -> Iterator[SweepView]:
        """How it stands, whenever that has changed, to its end; WaitTimeout after `timeout` seconds. A service that is away for a
        moment is asked again."""
        started = answered = time.monotonic()
        wait, last = ASK_SECONDS, None
        while True:
            try:
                view = self.get(sweep_id)
                answered = time.monotonic()
            except PotstillError as error:
                transient = isinstance(error, ConnectionFailed) or error.status in RETRIED
                if not transient or last is None or time.monotonic() - answered > PATIENCE:
                    raise
                view = last
            if view != last:
                yield view
                wait = ASK_SECONDS
            if view.finished_at is not None:
                return
            last, wait = view, min(wait * 1.2, SLOWEST_SECONDS)
            left = wait if timeout is None else timeout - (time.monotonic() - started)
            if left <= 0 and timeout is not None:
                raise WaitTimeout(sweep_id, timeout, "potstill sweeps watch")
            time.sleep(min(wait, left))

    def wait(self, sweep_id: str, timeout: float | None = None) -> SweepView:
        """The sweep once it has ended."""
        *_, last = self.watch(sweep_id, timeout)
        return last

    def cancel(self, sweep_id: str) -> SweepView:
        """Nothing more is tried, and what runs stops; what has succeeded stays."""
        return self.transport.read(SweepView, self.transport.call("POST", _path(sweep_id, "/cancel")))

    def delete(self, sweep_id: str, *, dry_run: bool = False) -> FreedView | None:
        """Deletes a sweep that has ended, with its jobs and their files; with `dry_run` only says what that would free."""
        body = self.transport.call("DELETE", _path(sweep_id), params={"dry_run": "true"} if dry_run else {})
        return self.transport.read(FreedView, body) if dry_run else None


def _path(sweep_id: str, rest: str = "") -> str:
    return f"/v1/sweeps/{part(sweep_id)}{rest}"
