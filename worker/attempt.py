"""One attempt at one job, from its order to its end: start the trainer, pass its news on, decide what its leaving means."""

import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from queue import Empty, SimpleQueue

import structlog

from contract.errors import JobError, Unavailable
from contract.events import RUN_EVENT, Failed, Finished, Outcome, RunEvent, Stopped
from contract.model import ModelConfig
from contract.status import JobStatus
from models import claims
from models.blobs import Blobs
from models.claims import Claim, LeaseLostError
from models.ids import new_id
from models.results import Model
from models.session import Database
from worker import parents, trainer
from worker.inputs import gather
from worker.settings import Settings
from worker.sink import Sink, store_folder

log = structlog.get_logger()
OUTAGE_SECONDS = 60.0  # how long an outcome is offered to a database that does not answer; the lease decides in the end


class Attempt:
    """Runs in a thread of its own. Other threads may call beat, stop, freeze, thaw and kill."""

    def __init__(
        self, settings: Settings, database: Database, blobs: Blobs, context: ForkServerContext, claim: Claim, device: str | None
    ) -> None:
        self.settings, self.database, self.blobs, self.context = settings, database, blobs, context
        self.claim, self.device = claim, device
        self.folder = settings.work_folder() / claim.job_id / f"attempt-{claim.attempt}"
        self.renewed_at = time.monotonic()
        self.stop_reason: str | None = None
        self.log = log.bind(job=claim.job_id, attempt=claim.attempt)
        self._stop_by: float | None = None
        self._process: ForkServerProcess | None = None
        self._control: Connection | None = None
        self._frozen = False
        self._lock = threading.Lock()

    def run(self) -> None:
        try:
            self._run()
        except LeaseLostError as error:
            self.log.warning("lease lost", reason=str(error))
        except Exception:  # the lease runs out and the job is taken up again; this thread's end must not be silent
            self.log.exception("attempt ended by an error of ours")
        finally:
            self.kill()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        if self.claim.runs:
            _through_outages(lambda: parents.put_together(self.database, self.blobs, self.claim, self.folder))
            return
        try:
            order = gather(self.database, self.blobs, self.claim, self.folder, self.settings, self.device)
        except JobError as error:
            with self.database.write() as session:
                claims.fail(session, self.claim, error.body())
            return
        sink = Sink(self.database, self.blobs, self.claim)
        outcome = self._follow(self._start(order), sink)
        _through_outages(sink.flush)
        _through_outages(lambda: self._settle(outcome))

    def _start(self, order: trainer.Order) -> "SimpleQueue[RunEvent | None]":
        """Starts the trainer; its events come through the queue, None at their end. A thread of its own drains the pipe, so
        that a slow database never makes a training step wait."""
        events, events_out = self.context.Pipe(duplex=False)
        control_in, control = self.context.Pipe(duplex=False)
        process = self.context.Process(target=trainer.main, args=(order.model_dump_json(), events_out, control_in))
        process.start()
        events_out.close()
        control_in.close()
        with self._lock:
            self._process, self._control = process, control
        queue: SimpleQueue[RunEvent | None] = SimpleQueue()
        threading.Thread(target=_drain, args=(events, queue), daemon=True, name=f"drain-{self.claim.job_id[-6:]}").start()
        return queue

    def _follow(self, queue: "SimpleQueue[RunEvent | None]", sink: Sink) -> Outcome | None:
        """Passes events on until the trainer is gone; returns its last word, None when it died without one."""
        outcome: Outcome | None = None
        while True:
            with contextlib.suppress(Empty):
                event = queue.get(timeout=0.05)
                if event is None:
                    break
                if isinstance(event, Finished | Stopped | Failed):
                    outcome = event
                else:
                    sink.add(event)
            if sink.due():
                with contextlib.suppress(Unavailable):  # it keeps them and tries again
                    sink.flush()
            if sink.status in (JobStatus.CANCELLING, JobStatus.PAUSING):
                self.stop(sink.status)
            if self._stop_by is not None and time.monotonic() > self._stop_by:
                self.kill()
        assert self._process is not None
        self._process.join(10)
        return outcome

    def _settle(self, outcome: Outcome | None) -> None:
        """What the trainer's end means for the job; one transaction, refused when the lease is lost."""
        if isinstance(outcome, Finished):
            self._finish(outcome)
            return
        with self.database.write() as session:
            if isinstance(outcome, Stopped):
                status = claims.give_back(session, self.claim, f"stopped at step {outcome.step:,}: {self.stop_reason or 'asked to'}")
                self.log.info("given back", status=status, step=outcome.step)
            elif isinstance(outcome, Failed) and not outcome.retryable:
                claims.fail(session, self.claim, outcome.error)
                self.log.info("failed", code=outcome.error.code)
            elif self._stop_by is not None and outcome is None:  # it was asked to stop and had to be killed
                claims.give_back(session, self.claim, "stopped without a last checkpoint")
            else:
                status = claims.crashed(session, self.claim, self._last_words(outcome))
                self.log.warning("trainer died", status=status)

    def _finish(self, outcome: Finished) -> None:
        folder = Path(outcome.folder)
        student = store_folder(self.blobs, folder / "student", "student/", "student") if outcome.model else []
        (report_file,) = [f for f in store_folder(self.blobs, folder, "", "report") if f.path == "report.json"]
        model = None
        if outcome.model is not None:
            config = ModelConfig.model_validate(outcome.model)
            model = Model(
                id=new_id("mdl"),
                project_id=self.claim.project_id,
                name=self.claim.name,
                task=config.task,
                job_id=self.claim.job_id,
                config=outcome.model,
                files={f.path.removeprefix("student/"): {"sha256": f.sha256, "size_bytes": f.size_bytes} for f in student},
                parameters=config.parameters,
                size_bytes=sum(f.size_bytes for f in student),
                meta={},
            )
        with self.database.write() as session:
            claims.finish(session, self.claim, outcome.report, [*student, report_file], model)
        self.log.info("succeeded")

    def _last_words(self, outcome: Outcome | None) -> str:
        if isinstance(outcome, Failed):
            return outcome.error.message
        assert self._process is not None
        code = self._process.exitcode
        how = f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        with contextlib.suppress(OSError):
            lines = (self.folder / "trainer.log").read_text(errors="replace").strip().splitlines()
            if lines:
                return f"{how}; last line: {lines[-1][:300]}"
        return how

    # ---- called from the supervisor's threads

    def beat(self, sent_at: float) -> None:
        """The lease was renewed; `sent_at` is from before it was asked for, on this machine's monotonic clock."""
        self.renewed_at = sent_at
        self.thaw()
        self._tell(trainer.BEAT)

    def stop(self, reason: str) -> None:
        """Asks the trainer to leave at the next step boundary; it is killed when it has not within stop_seconds."""
        if self._stop_by is None:
            self.stop_reason = reason
            self._stop_by = time.monotonic() + self.settings.stop_seconds
        self._tell(trainer.STOP)

    def freeze(self) -> None:
        if not self._frozen:
            self._frozen = True
            self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._frozen:
            self._frozen = False
            self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _tell(self, word: bytes) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._control is not None:
                self._control.send_bytes(word)

    def _signal(self, number: int) -> None:
        with self._lock, contextlib.suppress(ProcessLookupError, PermissionError):
            process = self._process
            if process is not None and process.pid is not None and process.exitcode is None:
                if os.getpgid(process.pid) == process.pid:
                    os.killpg(process.pid, number)
                else:  # it has not got as far as setsid
                    os.kill(process.pid, number)


def _drain(events: Connection, queue: "SimpleQueue[RunEvent | None]") -> None:
    with contextlib.suppress(EOFError, OSError):
        while True:
            queue.put(RUN_EVENT.validate_json(events.recv_bytes()))
    queue.put(None)


def _through_outages(write: Callable[[], None]) -> None:
    """Offers a write again while the database is away. Whether the first try went through does not matter: the fence refuses
    a second one."""
    end = time.monotonic() + OUTAGE_SECONDS
    while True:
        try:
            return write()
        except Unavailable:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
