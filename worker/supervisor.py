"""The worker's own threads: one claims jobs for free slots, one renews leases, one looks at the clocks, one helps others; what it does for
all is in worker/upkeep.py."""

import contextlib
import threading
import time

import structlog
from sqlalchemy import update

from contract.errors import StoreRefused, Unavailable
from contract.resources import GB, Offer
from contract.status import JobStatus
from models import claims, turns
from models.blobs import Blobs
from models.claims import Claim
from models.ids import new_id
from models.service import Worker
from models.session import Database
from worker.attempt import Attempt
from worker.forkserver import ForkServer
from worker.helper import LOOK, Helper
from worker.neighbours import Neighbours
from worker.probe import Probe
from worker.settings import Settings
from worker.trackers import TRACKERS, missing
from worker.upkeep import Upkeep, survived

log = structlog.get_logger()


class Supervisor:
    def __init__(self, settings: Settings, database: Database, blobs: Blobs, server: ForkServer, version: str) -> None:
        self.settings, self.database, self.blobs, self.version = settings, database, blobs, version
        self.context = server.context
        self.id = new_id("wrk")
        self.neighbours = Neighbours(settings.run_folder(), self.id, settings.host_id)
        self._attempts: dict[int, tuple[Attempt, threading.Thread]] = {}  # by slot
        self._lock = threading.Lock()
        self._wake, self._stopping, self._stopped = threading.Event(), threading.Event(), threading.Event()
        self._unsure = False  # a claim may have gone through without our hearing of it
        self.upkeep = Upkeep(settings, database, blobs, self.neighbours, self._stopping, self._wake.set)
        self._look_at_store, self._looked_at = blobs.local is None, float("-inf")
        self._devices = [str(i) for i in range(server.devices)]
        memory = round(settings.memory_gb * GB) if settings.memory_gb is not None else server.memory
        self._offer = Offer.of(len(self._devices), settings.slots, memory, settings.words)
        self._busy = threading.Event()
        self.helper = Helper(settings, database, blobs, server.context, self.id, self._offer)
        self.probe = Probe(settings, server, self._devices[0] if self._devices else None)

    # ---- life

    def start(self) -> None:
        with self.database.write() as session:
            session.add(self._row())
        self.upkeep.sweep()
        loops = {
            "claim": self._claim_loop,
            "renew": self._renew_loop,
            "clock": self._clock_loop,
            "sweep": self.upkeep.sweep_loop,
            "clean": self.upkeep.clean_loop,
            **({"probe": self._probe} if self.settings.probe else {}),
            **({"help": self._help_loop} if self.settings.help_along else {}),
        }
        for name, target in loops.items():
            threading.Thread(target=target, name=name, daemon=True).start()

    def _row(self) -> Worker:
        names = [f"cuda:{i}" for i in self._devices] or ["cpu"]
        return Worker(
            id=self.id,
            host=self.settings.host_id,
            version=self.version,
            devices=names,
            slots=self.settings.slots,
            memory_bytes=self._offer.memory_bytes,
            labels=list(self._offer.labels),
            preempts=self.settings.preempt,
            trackers=[name for name in TRACKERS if missing(name, self.settings) is None],
            machine=self.probe.machine.model_dump(mode="json") if self.probe.machine is not None else None,
        )

    def _probe(self) -> None:
        found = None
        with survived("measuring this machine"):
            found = self.probe.look(self._busy, self._stopping)
        while found is not None and not self._stopping.is_set():
            with survived("writing down what was measured"):
                with self.database.write() as session:
                    session.execute(update(Worker).where(Worker.id == self.id).values(machine=found.model_dump(mode="json")))
                log.info("measured", **found.model_dump(mode="json"))
                return
            self._stopping.wait(self.settings.renew_seconds)

    def _help_loop(self) -> None:
        while not self._stopping.wait(LOOK):
            with survived("helping"):
                idle = self._idle()
                if idle:
                    self.helper.look(self._device(idle[-1]) if self._devices else None, lambda: bool(self._idle()))

    def _idle(self) -> list[int]:
        """Slots that may help others: a GPU's only where nobody else has its memory."""
        if self.upkeep.unfit is not None or self._stopping.is_set():
            return []
        with self._lock:
            busy = {self._device(slot) for slot in self._attempts} if self._devices else set()
        return [slot for slot in self._free() if not busy or self._device(slot) not in busy]

    def look(self) -> None:
        """Somebody rang: look for work now. Safe from any thread and from a signal handler."""
        self._wake.set()

    def stop(self) -> None:
        """Takes no more jobs, brings every trainer to a checkpoint and gives the jobs back."""
        self._stopping.set()
        self._wake.set()
        self.helper.leave()
        running = self._running()
        for attempt, _ in running:
            attempt.stop("the worker is shutting down")
        end = time.monotonic() + self.settings.stop_seconds + 10
        for _, thread in running:
            thread.join(max(0.1, end - time.monotonic()))
        self._stopped.set()
        self.neighbours.leave(self.database)

    # ---- claiming

    def _claim_loop(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(self.settings.poll_seconds)
            self._wake.clear()
            with survived("claiming"):
                if self._unsure:
                    self._take_strays_back()
                while self._fill_a_slot():
                    pass
                if self.settings.preempt and self._running():
                    self._make_way()

    def _fill_a_slot(self) -> bool:
        free = self._free()
        if not free or self.upkeep.unfit is not None or self._stopping.is_set() or self._refused():
            return False
        sent_at = time.monotonic()
        try:
            with self.database.write() as session:
                claim = claims.claim(
                    session, self.id, self.settings.lease_seconds, self.settings.quota_running_jobs, self._offer, len(free)
                )
        except Unavailable:
            self._unsure = True
            raise
        if claim is None:
            return False
        self.helper.leave()
        slots = free[: claim.devices]
        device = ",".join(map(self._device, slots)) if self._devices else None
        attempt = Attempt(self.settings, self.database, self.blobs, self.context, claim, device)
        attempt.renewed_at = sent_at
        thread = threading.Thread(target=self._run, args=(slots, attempt), name=f"slot-{slots[0]}", daemon=True)
        with self._lock:
            self._attempts |= dict.fromkeys(slots, (attempt, thread))
            self._busy.set()
        attempt.log.info("claimed", slots=slots)
        thread.start()
        if self._stopping.is_set():
            attempt.stop("the worker is shutting down")
        return True

    def _free(self) -> list[int]:
        """Slots without a job, each with a device of its own; where several share one, those that share none come first."""
        with self._lock:
            slots = [i for i in range(self.settings.slots) if i not in self._attempts]
        if not self._devices:
            return slots
        own = list({self._device(slot): slot for slot in reversed(slots)}.values())
        return sorted(own)

    def _device(self, slot: int) -> str:
        return self._devices[slot % len(self._devices)]

    def _refused(self) -> bool:
        """Whether the store will not have this worker: then it takes nothing, or the whole queue would fail by its hands one by one."""
        if self._look_at_store and time.monotonic() >= self._looked_at + self.settings.renew_seconds:
            self._looked_at = time.monotonic()
            try:
                self.blobs.exists("0" * 64, 0)
                self._look_at_store = False
            except StoreRefused as error:
                log.error("taking no jobs", reason=error.detail, hint=error.hint)
        return self._look_at_store

    def _make_way(self) -> None:
        with self.database.read() as session:
            found = turns.make_way(session, self.id, self.settings.quota_running_jobs, self._offer)
        for attempt, _ in self._running():
            better = found.get(attempt.claim.job_id)
            if better is not None:
                attempt.stop(f"made way for {better}, whose priority is higher")

    def _run(self, slots: list[int], attempt: Attempt) -> None:
        try:
            attempt.run()
        finally:
            with self._lock:
                for slot in slots:
                    del self._attempts[slot]
                if not self._attempts:
                    self._busy.clear()
            self._unsure = self._unsure or not attempt.settled
            self._look_at_store = self._look_at_store or attempt.refused
            self._wake.set()
        if attempt.claim.sweep_id is not None:
            self.upkeep.go_on([attempt.claim.sweep_id])

    def _take_strays_back(self) -> None:
        """Jobs that the database says are here and that are not. Only the thread that claims may ask: nobody else adds to them."""
        held = [attempt.claim.job_id for attempt, _ in self._running()]
        with self.database.write() as session:
            taken = claims.strays(session, self.id, held)
        self._unsure = False
        if taken:
            log.warning("took back what was claimed unheard", jobs=taken)

    def _running(self) -> list[tuple[Attempt, threading.Thread]]:
        with self._lock:
            return list(dict.fromkeys(self._attempts.values()))

    # ---- leases

    def _renew_loop(self) -> None:
        wait = 0.0
        while not self._stopped.wait(wait):
            try:
                self._renew([attempt for attempt, _ in self._running()])
                wait = self.settings.renew_seconds
            except Exception as error:  # noqa: BLE001 - whatever it is, the clocks decide what it means
                log.warning("renewal failed", error=str(error))
                wait = min(1.0, self.settings.renew_seconds)

    def _clock_loop(self) -> None:
        """Apart from the renewals, because one of those may hang for as long as a network lets it."""
        while not self._stopped.wait(min(0.5, self.settings.renew_seconds / 2)):
            for attempt, _ in self._running():
                with contextlib.suppress(Exception):  # the next one's clock goes on, and this one's with the next look
                    attempt.tick()

    def _renew(self, attempts: list[Attempt]) -> None:
        by_claim: dict[Claim, Attempt] = {attempt.claim: attempt for attempt in attempts}
        sent_at = time.monotonic()
        with self.database.write() as session:
            if not claims.heartbeat(session, self.id):
                session.add(self._row())
            answers = claims.renew(session, by_claim, self.settings.lease_seconds)
        for claim, status in answers.items():
            attempt = by_claim[claim]
            if status is None:
                attempt.kill()
                continue
            attempt.beat(sent_at)
            if status in (JobStatus.CANCELLING, JobStatus.PAUSING):
                attempt.stop(status)
