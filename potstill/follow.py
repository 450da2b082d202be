"""A job's events as they happen: server-sent events, taken up again where they were when the connection was lost.

Lines are read here and not by httpx2's own SSE reader, because that one swallows keep-alive comments: whoever waits with a
deadline must be woken by them.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple
from urllib.parse import quote

import httpx2
from pydantic import ValidationError

from contract.wire import EventView, JobView
from potstill.answers import RETRIED
from potstill.errors import ConnectionFailed, PotstillError, WaitTimeout
from potstill.transport import LOST, Transport, backoff

SILENCE = 60.0  # seconds without even a keep-alive: the connection is dead
PATIENCE = 300.0  # seconds a lost service is waited for: a deployment, a restarted host


class Event(EventView):
    """One event of a job; prints as one line."""

    def __str__(self) -> str:
        numbers = self.data.get("metrics")
        said = [self.message, *(f"{name} {value:.4g}" for name, value in numbers.items())] if isinstance(numbers, dict) else [self.message]
        return f"{self.created_at.astimezone():%H:%M:%S}  {self.type:<10}  {'  '.join(said)}"


class Message(NamedTuple):
    """One server-sent event as it stands on the wire."""

    event: str
    data: str


def follow(
    transport: Transport,
    job_id: str,
    *,
    after: int = 0,
    timeout: float | None = None,
    on_lost: Callable[[PotstillError], None] | None = None,
) -> Iterator[Event | JobView]:
    """Every event after `after`, each once and in order, and last the final job.

    A service that was never reached is an error at once; one that went away is waited for PATIENCE seconds, and `on_lost` is
    told. `timeout` seconds after the start WaitTimeout is raised, at the latest with the next keep-alive.
    """
    path = f"/v1/jobs/{quote(job_id, safe='')}/events/stream"
    heard_at, reached, last, losses = time.monotonic(), False, after, 0
    deadline = heard_at + (math.inf if timeout is None else timeout)
    while True:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"} | ({"Last-Event-ID": str(last)} if last else {})
        lost: PotstillError
        try:
            patience = max(0.05, min(SILENCE, deadline - time.monotonic()))
            with transport.stream(path, headers=headers, read_timeout=patience) as response:
                _refuse_other_than_events(transport, response)
                reached = True
                for message in messages(response.iter_bytes()):
                    heard_at, losses = time.monotonic(), 0
                    if message is not None and message.event == "done":
                        yield transport.read(JobView, message.data)
                        return
                    event = _event(message)
                    if event is not None and event.seq > last:
                        last = event.seq
                        yield event
                    if time.monotonic() >= deadline:
                        break
            lost = ConnectionFailed(f"{transport.url} closed the stream before the job ended.")
        except LOST as error:
            lost = transport.unreachable(error)
        except PotstillError as error:
            if not reached or not (isinstance(error, ConnectionFailed) or error.status in RETRIED):
                raise
            lost = error
        now = time.monotonic()
        if now >= deadline:
            raise WaitTimeout(job_id, timeout or 0.0)
        if now - heard_at > PATIENCE:
            raise lost
        losses += 1
        if on_lost is not None and losses == 2:  # once is routine: proxies cut idle connections
            on_lost(lost)
        time.sleep(min(backoff(losses, longest=5.0), deadline - now))


def messages(chunks: Iterable[bytes]) -> Iterator[Message | None]:
    """The messages of a stream, and None for each keep-alive. One that was cut off is never given out."""
    event, data = "message", list[str]()
    for line in _lines(chunks):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield Message(event, "\n".join(data))
            event, data = "message", []
        elif not name:
            yield None
        elif name == "event":
            event = value
        elif name == "data":
            data.append(value)


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Split at line feeds alone: JSON may hold U+2028 and its kin, which str.splitlines takes for line ends."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")


def _refuse_other_than_events(transport: Transport, response: httpx2.Response) -> None:
    kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "text/event-stream":
        raise ConnectionFailed(
            f"{transport.url} answered with {kind or 'no content type'} instead of events.", hint="Is POTSTILL_URL right?"
        )


def _event(message: Message | None) -> Event | None:
    """None for keep-alives, and for what a newer service may say and this client does not know."""
    try:
        return Event.model_validate_json(message.data) if message is not None else None
    except ValidationError:
        return None
