"""The doorbell, and whether it can still be heard.

Celery's consumer runs in a thread of ours. The worker rings itself every doorbell_seconds, on a queue of its own; when no ping
has come back for three periods it is deaf: it goes on by looking every poll_seconds, says so, and replaces its consumer as soon
as the broker takes pings again. What is done here can neither hold up nor end anything else of the worker.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from celery.bootsteps import CLOSE
from celery.worker import WorkController
from sqlalchemy import update

from contract.errors import Unavailable
from models.base import now
from models.service import Worker
from models.session import Database
from worker import files, tasks
from worker.celery_app import KEPT_SECONDS, make_app, make_ringer, make_worker, own_queue
from worker.settings import Settings

log = structlog.get_logger()
PERIODS = 3  # without a ping: deaf
HUNG = 3  # replaced consumers that have not ended: then it is not the consumer
FAREWELL_SECONDS = 2.0


class Doorbell:
    def __init__(self, settings: Settings, database: Database, worker_id: str, look: Callable[[], None]) -> None:
        self.settings, self.database, self.worker_id = settings, database, worker_id
        self.deaf = False
        self._app, self._ringer = make_app(settings, worker_id), make_ringer(settings)
        tasks.register(self._app, look, self._hear)
        self._own = own_queue(worker_id, expires=KEPT_SECONDS)
        self._leaving = threading.Event()
        self._heard_at = self._replaced_at = time.monotonic()
        self._told: bool | None = None  # what stands in the worker's row
        self._consumer: WorkController | None = None
        self._threads: list[threading.Thread] = []
        self._ear = threading.Thread(target=self._check, daemon=True, name="ear")

    def start(self) -> None:
        if folder := self.settings.broker()[1].get("data_folder_in"):
            files.sweep(Path(str(folder)), KEPT_SECONDS)
        self._listen()
        self._ear.start()

    def stop(self) -> None:
        """Leaves nothing of its own in the broker, if that answers."""
        self._leaving.set()
        self._retire()
        sweeper = threading.Thread(target=self._sweep_up, daemon=True)
        sweeper.start()
        sweeper.join(FAREWELL_SECONDS)

    # ---- the consumer

    def _listen(self) -> None:
        thread = threading.Thread(target=self._consume, daemon=True, name="doorbell")
        self._threads = [*(t for t in self._threads if t.is_alive()), thread]
        thread.start()

    def _consume(self) -> None:
        try:
            consumer = self._consumer = make_worker(self._app, f"{self.worker_id}@{self.settings.host_id}")
            consumer.start()
            consumer.stop()
        except Exception as error:  # noqa: BLE001 - nothing about the doorbell may end the worker; a dead consumer is replaced
            log.error("the doorbell broke; going on by looking", error=str(error))

    def _replace(self) -> None:
        """A new consumer; the old one, if there still is one, ends at its next look around, or never, and rings the same bell."""
        if sum(thread.is_alive() for thread in self._threads) > HUNG:
            return
        log.info("listening afresh")
        self._replaced_at = time.monotonic()
        self._retire()
        self._listen()

    def _retire(self) -> None:
        consumer = getattr(self._consumer, "consumer", None)
        if consumer is not None:
            consumer.blueprint.state = CLOSE

    # ---- the ear

    def _hear(self) -> None:
        self._heard_at = time.monotonic()

    def _check(self) -> None:
        while True:
            taken = self._ping()
            if self._leaving.wait(self.settings.doorbell_seconds):
                return
            try:
                self._judge(taken)
            except Exception:
                log.exception("looking after the doorbell failed; going on")

    def _ping(self) -> bool:
        """Whether the broker took it."""
        try:
            self._ringer.send_task(tasks.PING_TASK, queue=self._own, ignore_result=True, retry=False)
        except Exception:  # noqa: BLE001 - each transport has its own errors, and three of any kind make it deaf
            return False
        return True

    def _judge(self, taken: bool) -> None:
        patience = PERIODS * self.settings.doorbell_seconds
        silent = time.monotonic() - self._heard_at
        if self.deaf and silent < patience:
            log.info("hears the broker again")
        elif not self.deaf and silent >= patience:
            log.warning("deaf to the broker; going on by looking", seconds=round(silent, 1), look_every=self.settings.poll_seconds)
        self.deaf = silent >= patience
        if self.deaf != self._told:
            self._tell(silent)
        died = not any(thread.is_alive() for thread in self._threads)
        if died or (self.deaf and taken and time.monotonic() - self._replaced_at >= patience):
            self._replace()

    def _tell(self, silent: float) -> None:
        since = now(-silent) if self.deaf else None
        with contextlib.suppress(Unavailable), self.database.write() as session:  # at the next period, then
            session.execute(update(Worker).where(Worker.id == self.worker_id).values(deaf_since=since))
            self._told = self.deaf

    def _sweep_up(self) -> None:
        self._ear.join()  # a ping sent after the sweep would stay
        with contextlib.suppress(Exception), self._ringer.connection_for_write() as connection:
            connection.default_channel.queue_purge(self._own.name)
