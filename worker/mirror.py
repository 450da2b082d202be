"""Mirrors of a run: its points also go where people already look, each by a thread of its own and as well as may be. A tracker that is
slow, away or broken loses points and leaves a warning; training never waits for it, and no job fails by it.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from contract.events import Resumed, RunEvent, Step
from contract.spec import TrackerName
from models import teardown
from models.claims import StoredFile
from worker.settings import Settings
from worker.sink import store_file
from worker.trackers import KEPT, TRACKERS, Mirrored, Tracker, missing

ROOM = 1000  # steps that wait for a slow tracker
END_SECONDS = 20.0  # that a run's end waits for all of them together
Warn = Callable[[str], None]


class Mirror:
    """One tracker of one run."""

    def __init__(self, name: TrackerName, run: Mirrored, settings: Settings, warn: Warn, room: int = ROOM) -> None:
        self.name, self._run, self._settings, self._warn = name, run, settings, warn
        self._waiting: queue.Queue[Callable[[Tracker], None] | None] = queue.Queue(room)
        self._lost, self._gone = 0, False
        self._thread = threading.Thread(target=self._work, daemon=True, name=f"{name}-{run.job_id[-6:]}")
        self._thread.start()

    def hear(self, event: Step | Resumed) -> None:
        at = time.time()
        said = (lambda to: to.points(event.step, event.metrics, at)) if isinstance(event, Step) else (lambda to: to.resumed(event.step))
        try:
            self._waiting.put_nowait(said)
        except queue.Full:
            self._lost += 1

    def end(self, report: dict[str, Any] | None, succeeded: bool, until: float) -> None:
        """Waits for it until then, on the monotonic clock, and not longer."""
        with contextlib.suppress(queue.Full):
            for last in (lambda to: to.end(report, succeeded), None):
                self._waiting.put(last, timeout=max(0.0, until - time.monotonic()))
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            self.leave()
            self._warn(f"report_to: {self.name} was too slow for the end of this run, and lacks some of it")
        elif self._lost:
            self._warn(f"report_to: {self.name} was too slow; {self._lost:,} steps are not there")

    def leave(self) -> None:
        """Whatever still waits: the run is somebody else's."""
        self._gone = True
        with contextlib.suppress(queue.Full):  # then it is busy, and looks when it is done
            self._waiting.put_nowait(None)

    def _work(self) -> None:
        try:
            tracker = TRACKERS[self.name](self._run, self._settings)
            while not self._gone and (said := self._waiting.get()) is not None:
                said(tracker)
        except Exception as error:  # noqa: BLE001 - each library has its own errors, and none of them is the job's
            self._warn(f"report_to: {self.name} is told no more of this run: {type(error).__name__}: {error}"[:500])
            while self._waiting.get() is not None:
                pass


class Mirrors:
    """All of one run; none for a job that names none. `warn` may be called from any thread."""

    def __init__(self, names: Sequence[TrackerName], run: Mirrored, settings: Settings, warn: Warn) -> None:
        self._folder = run.folder
        self._mirrors: list[Mirror] = []
        self._ended = False
        for name in dict.fromkeys(names):
            if (why := missing(name, settings)) is not None:
                warn(f"report_to: {name} is not told of this run: {why}")
                continue
            folder = run.folder / name
            folder.mkdir(parents=True, exist_ok=True)
            self._mirrors.append(Mirror(name, replace(run, folder=folder), settings, warn))

    def hear(self, events: Sequence[RunEvent]) -> None:
        for event in events:
            if isinstance(event, Step | Resumed):
                for mirror in self._mirrors:
                    mirror.hear(event)

    def end(self, report: dict[str, Any] | None, succeeded: bool) -> None:
        """Once; an end that has to be written again does not wait again."""
        until = time.monotonic() + END_SECONDS
        for mirror in [] if self._ended else self._mirrors:
            mirror.end(report, succeeded, until)
        self._ended = True

    def leave(self) -> None:
        """Without an end."""
        for mirror in self._mirrors:
            mirror.leave()

    def store(self, put: teardown.Put) -> list[StoredFile]:
        """What they wrote into files, as artifacts."""
        return [
            store_file(put, path, f"{mirror.name}/{path.relative_to(self._folder / mirror.name).as_posix()}", mirror.name)
            for mirror in self._mirrors
            if mirror.name in KEPT
            for path in sorted((self._folder / mirror.name).rglob(KEPT[mirror.name]))
        ]
