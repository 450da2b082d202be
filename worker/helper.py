"""A free slot's help for a run elsewhere: parts of the teacher's pass that nobody is making are made here, and found there.

Nothing is claimed and nothing written but files of the cache, each whole or not at all; so a helper may be killed at any moment, and is
when the slot is wanted for a job.
"""

import shutil
import threading
import time
import uuid
from collections.abc import Callable
from multiprocessing.context import ForkServerContext, ForkServerProcess

import structlog
from pydantic import ValidationError

from contract.errors import JobError, Unavailable
from contract.resources import Offer
from models import claims
from models.blobs import Blobs
from models.claims import Claim
from models.session import Database
from worker import child
from worker.inputs import gather
from worker.settings import Settings

log = structlog.get_logger()
LOOK = 2.0  # seconds; a pass that was seen twice is long enough to be helped with


class Helper:
    def __init__(
        self, settings: Settings, database: Database, blobs: Blobs, context: ForkServerContext, worker_id: str, offer: Offer
    ) -> None:
        self.settings, self.database, self.blobs, self.context = settings, database, blobs, context
        self.worker_id, self.offer = worker_id, offer
        self._seen: dict[tuple[str, int], bool] = {}  # by attempt: whether it was helped, once
        self._process: ForkServerProcess | None = None
        self._lock, self._wanted = threading.Lock(), threading.Event()

    def look(self, device: str | None, free: Callable[[], bool]) -> None:
        """Helps with one pass, if there is one, until it is done or no slot is free any more."""
        with self.database.read() as session:
            found = claims.to_help(session, self.worker_id, self.offer, anywhere=self.blobs.local is None)
        known, self._seen = self._seen, {(claim.job_id, claim.attempt): False for claim in found}
        self._seen |= {key: helped for key, helped in known.items() if key in self._seen}
        due = [claim for claim in found if known.get((claim.job_id, claim.attempt)) is False]
        if due:
            self._seen[due[0].job_id, due[0].attempt] = True
            self._help(due[0], device, free)

    def leave(self) -> None:
        """The slot is needed: at once, and until the process is gone. From the thread that claims."""
        self._wanted.set()
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.join()

    def _help(self, claim: Claim, device: str | None, free: Callable[[], bool]) -> None:
        self._wanted.clear()
        folder = self.settings.work_folder() / f"help-{uuid.uuid4().hex}"
        folder.mkdir(parents=True)
        try:
            order = gather(self.database, self.blobs, claim, folder, self.settings, device)
            with self._lock:
                if self._wanted.is_set() or not free():
                    return
                self._process = process = self.context.Process(target=child.help_along, args=(order.model_dump_json(),))
                process.start()
            log.info("helping with a teacher's pass", job=claim.job_id, attempt=claim.attempt)
            looked = time.monotonic()
            while process.exitcode is None and free():
                process.join(0.2)
                if time.monotonic() - looked > LOOK:
                    if not self._wanted_by(claim):
                        break
                    looked = time.monotonic()
            self.leave()
            log.info("helped", job=claim.job_id, attempt=claim.attempt, exit_code=process.exitcode)
        except (JobError, ValidationError) as error:  # that run will hear of it, too
            log.info("no help", job=claim.job_id, reason=str(error))
        finally:
            with self._lock:
                self._process = None
            shutil.rmtree(folder, ignore_errors=True)

    def _wanted_by(self, claim: Claim) -> bool:
        """Its run may have been cancelled, or have gone on without us."""
        try:
            with self.database.read() as session:
                return claims.asks(session, claim)
        except Unavailable:
            return False
