"""One job in hand: look, follow, wait, steer, fetch what it made."""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from contract.errors import Conflict, ErrorBody, ErrorCode, NotFound, PotstillError
from contract.status import JobStatus
from contract.wire import ArtifactView, CheckpointView, EventView, FreedView, JobView, Progress
from potstill.answers import RETRIED
from potstill.errors import ConnectionFailed, JobCancelled, JobFailed, WaitTimeout
from potstill.follow import PATIENCE, Event, follow
from potstill.metrics import Metrics
from potstill.pull import OnBytes, pull

if TYPE_CHECKING:
    from potstill.jobs import Jobs


class Job:
    """A job as it was when last asked for; `refresh` asks again, and `stream` and `wait` leave it as it ended."""

    def __init__(self, jobs: "Jobs", view: JobView) -> None:
        self._jobs = jobs
        self.view = view

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.name!r} {self.status}>"

    def _repr_html_(self) -> str:
        from potstill.notebook import html_of

        return html_of(self.view)

    @property
    def id(self) -> str:
        return self.view.id

    @property
    def name(self) -> str:
        return self.view.name

    @property
    def status(self) -> JobStatus:
        return self.view.status

    @property
    def progress(self) -> Progress:
        return self.view.progress

    @property
    def latest(self) -> dict[str, float]:
        return self.view.latest

    @property
    def report(self) -> dict[str, Any] | None:
        return self.view.report

    @property
    def model(self) -> str | None:
        return self.view.model

    @property
    def error(self) -> ErrorBody | None:
        return self.view.error

    def refresh(self) -> Self:
        self.view = self._jobs.get(self.id).view
        return self

    def stream(
        self, *, after: int = 0, timeout: float | None = None, on_lost: Callable[[PotstillError], None] | None = None
    ) -> Iterator[Event]:
        """Its events from the first (or from `after`) to the end, live; survives lost connections without gap or repetition."""
        for heard in follow(self._jobs.transport, self.id, after=after, timeout=timeout, on_lost=on_lost):
            if isinstance(heard, Event):
                yield heard
            else:
                self.view = heard

    def wait(self, timeout: float | None = None) -> Self:
        """Returns itself once succeeded; raises JobFailed, JobCancelled, or WaitTimeout after `timeout` seconds.

        Asks instead of listening: a thousand waiting clients then hold no thousand connections, and nothing between here and
        the service can swallow the news.
        """
        started = answered = time.monotonic()
        while True:
            try:
                self.refresh()
                answered = time.monotonic()
            except PotstillError as error:
                transient = isinstance(error, ConnectionFailed) or error.status in RETRIED
                if not transient or answered == started or time.monotonic() - answered > PATIENCE:
                    raise
            if self.status.final:
                return self.result()
            waited = time.monotonic() - started
            if timeout is not None and waited >= timeout:
                raise WaitTimeout(self.id, timeout)
            pause = min(2.0, 0.1 + waited / 10)
            time.sleep(pause if timeout is None else min(pause, timeout - waited))

    def watch(self, timeout: float | None = None) -> Self:
        """Shows it as it goes on: in a notebook in one cell, elsewhere as `potstill watch` does. Returns and raises as `wait` does."""
        from potstill import notebook
        from potstill.cli.watch import show

        if notebook.running_here():
            notebook.watch(self, timeout)
        else:
            show(self, timeout)
        return self.result()

    def result(self) -> Self:
        """Itself if it succeeded; raises how else it ended."""
        if self.status is JobStatus.FAILED:
            raise JobFailed(self.view)
        if self.status is JobStatus.CANCELLED:
            raise JobCancelled(self.view)
        return self

    def before(self, most: int = 20) -> "list[Job]":
        """The jobs it waits for or has waited for, directly or not, nearest first; at most so many. Deleted ones are left out."""
        found, ahead, seen = list[Job](), list(self.view.depends_on), set[str]()
        while ahead and len(seen) < most:
            job_id = ahead.pop(0)
            if job_id in seen:
                continue
            seen.add(job_id)
            with suppress(NotFound):
                found.append(self._jobs.get(job_id))
                ahead += found[-1].view.depends_on
        return found

    def pull(self, folder: str | Path | None = None, on_bytes: OnBytes | None = None, *, kind: str | None = None) -> Path:
        """Its student's files and report.json into `folder`; see `default_folder`. Broken downloads are resumed. With `kind` the artifacts
        of that kind, whatever became of the job: `tensorboard`, `log`, …"""
        if kind is None and self.status is not JobStatus.SUCCEEDED and self.refresh().status is not JobStatus.SUCCEEDED:
            raise Conflict(
                f"{self.id} is {self.status}; its files are there once it has succeeded.",
                code=ErrorCode.STUDENT_NOT_READY,
                hint=f"potstill {'show' if self.status.final else 'watch'} {self.id}",
            )
        wanted = [a for a in self.artifacts() if (a.kind == kind if kind else a.kind == "student" or a.path == "report.json")]
        if kind and not wanted:
            kinds = ", ".join(sorted({artifact.kind for artifact in self.artifacts()})) or "none"
            raise NotFound(f"{self.id} has no files of the kind {kind}.", hint=f"Kinds there are: {kinds}.")
        return pull(self._jobs.transport, wanted, Path(folder) if folder is not None else self.default_folder(), on_bytes)

    def default_folder(self) -> Path:
        """./<name>-<end of the id>: two jobs of one name never mix their files."""
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", self.name).strip("-.")[:80]
        return Path(f"{name or 'student'}-{self.id[-8:]}")

    def update(self, *, name: str | None = None, priority: int | None = None, metadata: Mapping[str, str] | None = None) -> Self:
        self.view = self._jobs.update(self.id, name=name, priority=priority, metadata=metadata).view
        return self

    def cancel(self) -> Self:
        self.view = self._jobs.cancel(self.id).view
        return self

    def pause(self) -> Self:
        self.view = self._jobs.pause(self.id).view
        return self

    def resume(self) -> Self:
        self.view = self._jobs.resume(self.id).view
        return self

    def retry(self, *, fresh: bool = False) -> "Job":
        return self._jobs.retry(self.id, fresh=fresh)

    def delete(self, *, dry_run: bool = False) -> FreedView | None:
        return self._jobs.delete(self.id, dry_run=dry_run)

    def events(self, *, after: int = 0, types: Iterable[str] = ()) -> Iterator[EventView]:
        return self._jobs.events(self.id, after=after, types=types)

    def metrics(self, **filters: Any) -> Metrics:
        return self._jobs.metrics(self.id, **filters)

    def checkpoints(self) -> Iterator[CheckpointView]:
        return self._jobs.checkpoints(self.id)

    def artifacts(self) -> Iterator[ArtifactView]:
        return self._jobs.artifacts(self.id)
