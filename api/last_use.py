"""When each key was last used: noted in memory, written by a thread of its own, so that no request waits for it."""

import threading
import time

import structlog
from sqlalchemy import update

from models.base import now
from models.project import Key
from models.session import Database

log = structlog.get_logger("potstill.api")
EVERY_SECONDS = 60.0  # of one key
GATHER_SECONDS = 0.5  # a burst of requests comes first


class LastUse:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._written: dict[str, float] = {}  # key id → when, by this process's clock
        self._waiting: set[str] = set()
        self._lock = threading.Lock()
        self._some, self._leaving = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._writing, name="last-use", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Writes what is waiting; a database that does not answer is not waited for long."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._leaving.set()
            self._some.set()
            thread.join(1)

    def note(self, key_id: str) -> None:
        moment = time.monotonic()
        with self._lock:
            if moment - self._written.get(key_id, float("-inf")) < EVERY_SECONDS:
                return
            self._written[key_id] = moment
            self._waiting.add(key_id)
        self._some.set()

    def _writing(self) -> None:
        while not self._leaving.is_set():
            self._some.wait()
            self._leaving.wait(GATHER_SECONDS)
            self._some.clear()
            with self._lock:
                ids, self._waiting = self._waiting, set()
            for key_id in ids:
                self._write(key_id)

    def _write(self, key_id: str) -> None:
        stale = Key.last_used_at.is_(None) | (Key.last_used_at < now(-EVERY_SECONDS))  # other processes write, too
        try:
            with self._database.write() as session:
                session.execute(update(Key).where(Key.id == key_id, stale).values(last_used_at=now()))
        except Exception as error:  # noqa: BLE001 - a minute of somebody's last use is worth nobody's trouble, and others come after it
            log.debug("last use of a key was not written", key=key_id, reason=str(error))
