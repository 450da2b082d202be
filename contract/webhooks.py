"""Webhooks: what one can be told of. Messages, headers and secrets are those of the Standard Webhooks specification."""

from typing import Literal, get_args

from contract.status import FINAL

EventType = Literal[
    "job.running", "job.paused", "job.succeeded", "job.failed", "job.cancelled", "sweep.succeeded", "sweep.failed", "sweep.cancelled",
]  # fmt: skip
EVENTS: tuple[str, ...] = get_args(EventType)
ENDINGS: list[EventType] = [event for event in get_args(EventType) if event.partition(".")[2] in FINAL]
PING = "ping"  # what a test sends; nobody subscribes to it
