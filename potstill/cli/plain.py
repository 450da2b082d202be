"""A watched job as plain lines: for files, pipes and CI."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from contract.status import FINAL
from potstill.cli.gauge import Gauge
from potstill.cli.output import clean, console

if TYPE_CHECKING:
    from contract.wire import EventView, JobView

PAUSE = 2.0  # seconds between two lines of progress


class Lines:
    """Changes at once, progress every PAUSE seconds, on stderr."""

    def __init__(self, job: "JobView") -> None:
        self.gauge = Gauge(job)
        self.last = self.gauge.status  # whoever watches has just been told
        self.shown_at = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return

    def show(self, event: "EventView") -> None:
        self.gauge.take(event)
        if event.type == "warning":
            self._print("warning", event.message)
        elif event.type in ("status", "phase"):
            word = self.gauge.status if event.type == "status" else self.gauge.phase
            ended = event.type == "status" and word in FINAL  # told at the end, with all there is to tell
            concluding = event.type == "status" and self.gauge.share == 1.0 and word != "paused"  # a parent's last work, too short to tell
            if word != self.last and not ended and not concluding:
                self._print(word.replace("_", " "), "" if event.message == word else event.message)
            self.last = word
        elif event.type == "metrics" and time.monotonic() - self.shown_at >= PAUSE:
            self.shown_at = time.monotonic()
            share = f"{self.gauge.share:.0%}" if self.gauge.share is not None else ""
            self._print(
                self.gauge.phase or "progress", " · ".join(filter(None, [share, self.gauge.pace(), self.gauge.readings(drawn=False)]))
            )

    def _print(self, word: str, text: str) -> None:
        console(stderr=True).print(f"  {clean(word):<11} {clean(text)}".rstrip())
