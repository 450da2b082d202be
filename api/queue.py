"""The doorbell: tells workers, after the commit, that there is something to do.

A hint and nothing more: workers look by themselves too, so a ring that is lost costs a second and a broker that is down costs
nothing. Ringing therefore happens in a thread of its own, and no answer ever waits for it.
"""

import queue
import threading
import time
from typing import Any

import structlog

from models.settings import DOORBELL_QUEUE, DOORBELL_TASK

log = structlog.get_logger("potstill.api")
WAITING = 1000  # rings kept while the broker is slow; workers that look find every job at once
QUIET_SECONDS = 30.0  # a broker that stays away is mentioned this often


class Bell:
    def __init__(self, broker: tuple[str, dict[str, object]], timeout: float) -> None:
        self._url, self._options = broker
        self._timeout = timeout
        self._rings: queue.Queue[str | None] = queue.Queue(WAITING)
        self._thread: threading.Thread | None = None
        self._celery: Any = None
        self._lock = threading.Lock()
        self._complained_at = float("-inf")

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._ringing, name="doorbell", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Rings what is waiting, within the broker's timeout."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._put(None)
            thread.join(2 * self._timeout)

    def ring(self, job_id: str) -> None:
        self._put(job_id)

    def reachable(self) -> bool:
        """Whether the broker takes a connection now."""
        try:
            with self._app().connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=self._timeout)
        except Exception as error:  # noqa: BLE001 - each transport has its own errors
            self._complain(error)
            return False
        return True

    def _put(self, ring: str | None) -> None:
        try:
            self._rings.put_nowait(ring)
        except queue.Full:
            log.debug("doorbell is busy", job=ring)

    def _ringing(self) -> None:
        try:
            self._app().amqp.queues  # noqa: B018 - importing Celery and its transport takes a third of a second: now, not at the first ring
        except Exception as error:  # noqa: BLE001
            self._complain(error)
        while (job_id := self._rings.get()) is not None:
            try:
                self._app().send_task(DOORBELL_TASK, args=[job_id], queue=DOORBELL_QUEUE, ignore_result=True, retry=False)
            except Exception as error:  # noqa: BLE001
                self._complain(error)
                self._forget()

    def _forget(self) -> None:
        """The broker is away: do not let each waiting ring wait for its own timeout."""
        while self._rings.qsize():
            if self._rings.get_nowait() is None:
                self._put(None)
                return

    def _complain(self, error: Exception) -> None:
        if time.monotonic() - self._complained_at > QUIET_SECONDS:
            self._complained_at = time.monotonic()
            log.warning("the broker does not answer; workers look by themselves", reason=f"{type(error).__name__}: {error}")

    def _app(self) -> Any:
        with self._lock:
            if self._celery is None:
                from celery import Celery

                self._celery = Celery("potstill-api", broker=self._url, set_as_current=False)
                self._celery.conf.update(
                    broker_transport_options={**self._options, **self._patience()},
                    broker_connection_timeout=self._timeout,
                    broker_connection_retry=False,
                    broker_pool_limit=1,
                    task_ignore_result=True,
                    task_publish_retry=False,
                )
            return self._celery

    def _patience(self) -> dict[str, object]:
        """Redis' own timeouts; other transports do not know these words."""
        if not self._url.startswith(("redis", "sentinel")):
            return {}
        return {"socket_connect_timeout": self._timeout, "socket_timeout": self._timeout, "max_retries": 0}
