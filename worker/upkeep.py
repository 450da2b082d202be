"""What a worker does for all: looks for leases that ran out and workers that died, goes on with sweeps, cleans up, and sees when somebody
has migrated the database."""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator

import structlog

from contract.errors import StoreRefused, Unavailable
from models import claims, cleaning, proposals, schema, sweeping
from models.blobs import Blobs
from models.session import Database
from worker.neighbours import Neighbours
from worker.settings import Settings

log = structlog.get_logger()
CLEAN_SECONDS = 3600.0


class Upkeep:
    """Its loops run in threads of their own, until `stopping`."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        blobs: Blobs,
        neighbours: Neighbours,
        stopping: threading.Event,
        wake: Callable[[], None],
    ) -> None:
        """wake: says that there may be jobs to take."""
        self.settings, self.database, self.blobs, self.neighbours = settings, database, blobs, neighbours
        self.unfit: str | None = None  # why this version may not touch the database's tables
        self._stopping, self._wake = stopping, wake
        self._away_at: float | None = None  # when the database was last there, while it is not

    def sweep_loop(self) -> None:
        while not self._stopping.wait(self.settings.sweep_seconds):
            with survived("sweeping"):
                self.sweep()
            with survived("going on with sweeps"):
                self.go_on(self._unfinished())

    def sweep(self) -> None:
        """Leases that ran out, on any host, and jobs of this host's dead workers. Nobody needs to be rung: idle workers look
        every poll_seconds."""
        started = time.monotonic()
        try:
            self._look_at_tables()
            if self.unfit is not None:
                return
            self._forgive_outage()
            dead = self.neighbours.dead(self.database)
            with self.database.write() as session:
                taken = claims.reap(session, dead)
        except Unavailable:
            self._away_at = self._away_at or started
            raise
        if dead:
            self.neighbours.bury(self.database, dead)
        if taken:
            log.warning("took jobs back", jobs=taken)
            self._wake()

    def _unfinished(self) -> list[str]:
        if self.unfit is not None:
            return []
        with self.database.read() as session:
            return sweeping.open_sweeps(session)

    def go_on(self, sweeps: list[str]) -> None:
        """Trials that are due now, and the ends of sweeps: also of those whose last worker died before it came to this."""
        if self.unfit is not None:
            return
        if sweeps:
            proposals.load()  # half a second, once, and not inside a transaction
        for sweep_id in sweeps:
            with survived("going on with a sweep"):
                with self.database.write() as session:
                    due = sweeping.go_on(session, sweep_id)
                if due:
                    self._wake()

    def _look_at_tables(self) -> None:
        """Somebody may have migrated the database: what runs is finished as well as may be, nothing more is taken."""
        unfit = schema.mismatch(self.database)
        if unfit is not None and self.unfit is None:
            log.error("taking no more jobs", reason=unfit, hint=schema.cure(self.database))
        self.unfit = unfit

    def clean_loop(self) -> None:
        wait = CLEAN_SECONDS * random.random()  # noqa: S311 - so that workers that start together do not clean together
        while not self._stopping.wait(wait):
            wait = CLEAN_SECONDS
            with survived("cleaning"):
                shared = cleaning.eldest(self.database, self.neighbours.worker_id)
                gone = [found for found in cleaning.collect(self.database, self.blobs, self.settings, shared=shared) if found.count]
                if gone:
                    log.info("cleaned up", **{found.what.replace(" ", "_"): found.count for found in gone})

    def _forgive_outage(self) -> None:
        if self._away_at is None:
            return
        outage = time.monotonic() - self._away_at + self.settings.sweep_seconds
        with self.database.write() as session:
            claims.forgive(session, outage, self.settings.lease_seconds)
        self._away_at = None
        log.info("the database is back; leases that ran out meanwhile are extended", seconds=round(outage, 1))


@contextlib.contextmanager
def survived(what: str) -> Iterator[None]:
    """These loops must outlive every error: a worker that only looks alive is worse than a dead one."""
    try:
        yield
    except (Unavailable, StoreRefused) as error:
        log.warning(f"{what}: {error}")
    except Exception:
        log.exception(f"{what} failed; going on")
