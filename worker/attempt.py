"""One attempt at one job, from its order to its end: start the trainer, pass its news on, decide what its leaving means."""

import contextlib
import errno
import shutil
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import TypeVar

import structlog
from pydantic import ValidationError

from contract.errors import ErrorCode, JobError, StoreRefused, Unavailable
from contract.events import RUN_EVENT, CheckpointSaved, Failed, Finished, LogLine, Outcome, Stopped
from contract.model import ModelConfig
from contract.status import JobStatus
from models import claims, teardown
from models.blobs import Blobs, anew
from models.claims import Claim, LeaseLostError, StoredFile
from models.ids import new_id
from models.results import Model
from models.session import Database
from worker import child, parents
from worker.backlog import Backlog
from worker.hold import Hold
from worker.inputs import gather
from worker.mirror import Mirrors
from worker.order import Order
from worker.settings import Settings
from worker.sink import Sink, discard, store_folder
from worker.trackers import Mirrored

log = structlog.get_logger()
T = TypeVar("T")
OFFER_SECONDS = 0.5
LOG_BYTES = 1 << 20
FULL = (errno.ENOSPC, errno.EDQUOT)


class Attempt(Hold):
    """Runs in a thread of its own, and offers every write to the database until it is taken or refused: as long as the fence
    holds, nothing that was computed is thrown away because of an outage."""

    def __init__(
        self, settings: Settings, database: Database, blobs: Blobs, context: ForkServerContext, claim: Claim, device: str | None
    ) -> None:
        super().__init__(settings, log.bind(job=claim.job_id, attempt=claim.attempt, request_id=claim.request_id))
        self.database, self.blobs, self.context, self.claim, self.device = database, blobs, context, claim, device
        self.folder = settings.work_folder() / claim.job_id / f"attempt-{claim.attempt}"
        self.refused = False  # by the store
        self.settled = False  # its end is written, or somebody else's to write
        self._backlog = Backlog(self.folder / "events.spill")
        self._drain: threading.Thread | None = None
        self._mirrors: Mirrors | None = None

    def run(self) -> None:
        try:
            self._guarded()
            self.settled = True
        except LeaseLostError as error:
            self.settled = True
            self._say_why(error)
        except Exception:  # the lease runs out and the job is taken up again; this thread's end must not be silent
            self.log.exception("the end of the attempt could not be written")
        finally:
            self.kill()
            self._close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _close(self) -> None:
        """The thread that drains the pipe removes folders too; while it does, none of them could be removed from here."""
        if self._drain is not None:
            self._backlog.end()
            self._drain.join()
        if self._mirrors is not None:
            self._mirrors.leave()

    def _guarded(self) -> None:
        """Whatever goes wrong here is written down too: what nobody expected counts as a crash."""
        try:
            self._run()
        except LeaseLostError:
            raise
        except JobError as error:
            outcome = Failed(error=error.body())
            self._offer(lambda: self._settle(outcome))
        except Exception as error:
            self.kill()
            if reason := self._pausing(error):
                self._offer(lambda: self._with_session(claims.suspend, reason))
                self.log.warning("paused", reason=reason)
                return
            self.log.exception("attempt ended by an error of ours")
            reason = f"{type(error).__name__} in the worker: {error}"
            self._offer(lambda: self._with_session(claims.crashed, reason))

    def _pausing(self, error: Exception) -> str | None:
        """What somebody has to see to before any job can go on."""
        if isinstance(error, OSError) and error.errno in FULL:
            return f"the disk of {self.settings.home_path()} is full; free some space, then resume the job"
        if isinstance(error, StoreRefused):
            self.refused = True
            return f"{error.detail} {error.hint} Then resume the job."
        return None

    def _run(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        if self.claim.runs:
            mirrors = self._mirrored(lambda said: self.log.warning("mirror", reason=said))
            self._offer(lambda: parents.put_together(self.database, self.blobs, self.claim, self.folder, mirrors))
            return
        try:
            order = self._offer(lambda: gather(self.database, self.blobs, self.claim, self.folder, self.settings, self.device))
        except ValidationError as error:
            place = ".".join(map(str, error.errors()[0]["loc"]))
            reason = f"worker {self.claim.worker_id} does not understand this spec ({place}); is it older than the API?"
            self._decline(reason)
            return
        except StoreRefused as error:  # it may be this worker's keys alone; were it paused, so would be every job that waits
            self.refused = True
            self._decline(f"worker {self.claim.worker_id}: {error.detail} {error.hint}")
            return
        mirrors = self._mirrored(lambda said: self._backlog.put(LogLine(level="warning", message=said)))
        sink = Sink(self.database, self.blobs, self.claim, self._backlog, mirrors.hear)
        self._start(order)
        self._follow(sink)
        self._offer(sink.flush)
        outcome = self._backlog.outcome
        report = outcome.report if isinstance(outcome, Finished) else None
        mirrors.end(report, succeeded=report is not None)
        self._offer(sink.flush)  # what the mirrors had to say
        self._offer(lambda: self._keep(mirrors))
        self._offer(lambda: self._settle(outcome))

    def _decline(self, reason: str) -> None:
        self._offer(lambda: self._with_session(claims.decline, reason))
        self.log.warning("declined", reason=reason)

    def _mirrored(self, warn: Callable[[str], None]) -> Mirrors:
        claim = self.claim
        run = Mirrored(claim.job_id, claim.name, claim.arm, claim.seed, claim.attempt, claim.spec, self.folder / "mirrors")
        self._mirrors = Mirrors(claim.spec.get("report_to") or [], run, self.settings, warn)
        return self._mirrors

    def _keep(self, mirrors: Mirrors) -> None:
        """Also of a run that failed or was stopped: its curves say why."""
        with teardown.storing(self.database, self.blobs) as put:
            files = mirrors.store(put)
            if files:
                with self.database.write() as session:
                    claims.add_files(session, claims.fenced(session, self.claim), files)

    def _start(self, order: Order) -> None:
        """Starts the trainer. A thread of its own drains the pipe, so that a slow database never makes a training step wait."""
        events, events_out = self.context.Pipe(duplex=False)
        control_in, control = self.context.Pipe(duplex=False)
        process = self.context.Process(target=child.train, args=(order.model_dump_json(), events_out, control_in))
        process.start()
        events_out.close()
        control_in.close()
        self.hold(process, control)
        name = f"drain-{self.claim.job_id[-6:]}"
        self._drain = threading.Thread(target=_drain, args=(events, self._backlog), daemon=True, name=name)
        self._drain.start()

    def _follow(self, sink: Sink) -> None:
        """Passes events on until the trainer is gone."""
        while self._backlog.wait(0.05):
            if sink.due():
                with contextlib.suppress(Unavailable):  # the backlog keeps them
                    sink.flush()
            if sink.status in (JobStatus.CANCELLING, JobStatus.PAUSING):
                self.stop(sink.status)
        self.join()

    def _settle(self, outcome: Outcome | None) -> None:
        """What the trainer's end means for the job; one transaction, refused when the lease is lost."""
        if isinstance(outcome, Finished):
            self._finish(outcome)
        elif isinstance(outcome, Stopped):
            status = self._with_session(claims.give_back, f"stopped at step {outcome.step:,}: {self.stop_reason or 'asked to'}")
            self.log.info("gave back", step=outcome.step, status=status)
        elif isinstance(outcome, Failed) and outcome.error.code == ErrorCode.DISK_FULL:
            self._with_session(claims.suspend, f"{outcome.error.message} {outcome.error.hint or ''}".strip())
            self.log.warning("paused", reason=outcome.error.message)
        elif isinstance(outcome, Failed) and not outcome.retryable:
            self._with_log(claims.fail, outcome.error)
            self.log.info("failed", code=outcome.error.code)
        elif outcome is None and self.was_killed is not None:  # by this worker, for reasons that are not the job's
            status = self._with_session(claims.give_back, self.was_killed)
            self.log.warning("gave back", reason=self.was_killed, status=status)
        else:
            status = self._with_log(claims.crashed, self._last_words(outcome))
            self.log.warning("trainer died", status=status)

    def _with_session(self, call: Callable[..., JobStatus | None], about: object) -> JobStatus | None:
        with self.database.write() as session:
            return call(session, self.claim, about)

    def _with_log(self, call: Callable[..., JobStatus | None], about: object) -> JobStatus | None:
        """The same, with what libraries printed before the end as an artifact: the last of it, where the reason stands."""
        path = self.folder / "trainer.log"
        printed = path.read_bytes()[-LOG_BYTES:] if path.exists() else b""
        if not printed.strip():
            return self._with_session(call, about)
        anew(path).write_bytes(printed)
        with teardown.storing(self.database, self.blobs) as put:
            log = StoredFile(f"logs/attempt-{self.claim.attempt}.log", "log", *put(path))
            with self.database.write() as session:
                claims.add_files(session, claims.fenced(session, self.claim), [log])
                return call(session, self.claim, about)

    def _finish(self, outcome: Finished) -> None:
        folder = Path(outcome.folder)
        with teardown.storing(self.database, self.blobs) as put:
            student = store_folder(put, folder / "student", "student/", "student") if outcome.model else []
            (report,) = [f for f in store_folder(put, folder, "", "report") if f.path == "report.json"]
            with self.database.write() as session:
                claims.add_files(session, claims.fenced(session, self.claim), [*student, report])
        # Only now, when the files are known to have stayed where their rows say: the end is a promise.
        model = self._model(ModelConfig.model_validate(outcome.model), student) if outcome.model else None
        with self.database.write() as session:
            claims.finish(session, self.claim, outcome.report, model)
        self.log.info("succeeded")

    def _model(self, config: ModelConfig, files: list[StoredFile]) -> Model:
        return Model(
            id=new_id("mdl"),
            project_id=self.claim.project_id,
            name=self.claim.name,
            task=config.task,
            job_id=self.claim.job_id,
            config=config.model_dump(mode="json"),
            files={f.path.removeprefix("student/"): {"sha256": f.sha256, "size_bytes": f.size_bytes} for f in files},
            parameters=config.parameters,
            size_bytes=sum(f.size_bytes for f in files),
            meta={},
        )

    def _last_words(self, outcome: Outcome | None) -> str:
        if isinstance(outcome, Failed):
            return outcome.error.message
        how = self.how_it_ended()
        with contextlib.suppress(OSError):
            lines = (self.folder / "trainer.log").read_text(errors="replace").strip().splitlines()
            if lines:
                return f"{how}; last line: {lines[-1][:300]}"
        return how

    def _offer(self, write: Callable[[], T]) -> T:
        """Offers a write again until the database takes it or the fence refuses it."""
        while True:
            try:
                return write()
            except Unavailable:
                time.sleep(OFFER_SECONDS)

    def _say_why(self, error: LeaseLostError) -> None:
        """The fence also refuses to write an end a second time, after a commit that went through and whose answer was lost."""
        with contextlib.suppress(Unavailable), self.database.read() as session:
            status = claims.ended(session, self.claim)
            if status is not None and status.final:
                self.log.info("its end is written already", status=status)
                return
        self.log.warning("lease lost", reason=str(error))


def _drain(events: Connection, backlog: Backlog) -> None:
    try:
        with contextlib.suppress(EOFError, OSError):
            while True:
                event = RUN_EVENT.validate_json(events.recv_bytes())
                backlog.put(event)
                if isinstance(event, CheckpointSaved):
                    discard(event)
    finally:
        backlog.end()  # whatever happened, or who follows it waits for ever
