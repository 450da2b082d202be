"""Who waits for events is told of them: one poller for each process asks for the jobs that are being watched, and only while any is."""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import structlog
from anyio import CapacityLimiter, to_thread
from sqlalchemy import select

from models.job import Job
from models.session import Database

T = TypeVar("T")
log = structlog.get_logger("potstill.api")


class Watch:
    """One stream's wish to hear of one job."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.round: int | None = None  # of the poller, that found the newest news
        self._news = asyncio.Event()

    def tell(self, number: int | None = None) -> None:
        self.round = number
        self._news.set()

    async def wait(self, seconds: float) -> bool:
        """Whether there was news within that time."""
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            return False
        self._news.clear()
        return True


class News:
    def __init__(self, database: Database, interval: float) -> None:
        self.database = database
        self.interval = interval
        self.closing = False
        self.threads: CapacityLimiter | None = None  # the streams' own: a hundred of them must not keep other requests waiting
        self._watches: set[Watch] = set()
        self._poller: asyncio.Task[None] | None = None
        self._last: dict[str, int | None] = {}
        self._round = 0
        self._looks: dict[Hashable, asyncio.Task[Any]] = {}  # of this round

    def open(self) -> None:
        self.closing = False
        self.threads = CapacityLimiter(4)

    def close(self) -> None:
        """Streams end now: the process is about to. Clients take up elsewhere where they were."""
        self.closing = True
        for watch in self._watches:
            watch.tell()

    @asynccontextmanager
    async def watching(self, job_id: str) -> AsyncIterator[Watch]:
        watch = Watch(job_id)
        self._watches.add(watch)
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll())
        try:
            yield watch
        finally:
            self._watches.discard(watch)
            if not self._watches:
                self._poller.cancel()
                self._poller = None
                self._last.clear()

    async def shared(self, watch: Watch, place: tuple[str, str, int], look: Callable[[], T]) -> T:
        """What `look` says. Streams that were told in the same round and are at the same place look once for all of them; one that was
        not told yet looks by itself, because a look that others began earlier may have missed what nobody will tell it of."""
        if watch.round is None:
            return await to_thread.run_sync(look, limiter=self.threads)
        key = (*place, watch.round)
        if key not in self._looks:
            self._looks[key] = asyncio.create_task(to_thread.run_sync(look, limiter=self.threads))
        found: T = await asyncio.shield(self._looks[key])  # whoever began it may hang up
        return found

    async def _poll(self) -> None:
        thread = CapacityLimiter(1)  # its own, so that busy downloads do not starve it
        while True:
            await asyncio.sleep(self.interval)
            self._round += 1
            self._looks.clear()
            wanted = {watch.job_id for watch in self._watches}
            try:
                found = await to_thread.run_sync(self._sequences, wanted, limiter=thread)
            except Exception as error:  # noqa: BLE001 - a database that is away comes back, and the streams still want to know
                log.warning("no news", reason=str(error))
                continue
            for watch in list(self._watches):
                sequence = found.get(watch.job_id)
                # One who started to watch between two looks has read by itself; being told again costs one look.
                if watch.job_id in wanted and (watch.job_id not in self._last or self._last[watch.job_id] != sequence):
                    watch.tell(self._round)
            self._last = {job_id: found.get(job_id) for job_id in wanted}

    def _sequences(self, job_ids: set[str]) -> dict[str, int]:
        """job → number of its newest event; jobs that were deleted are missing."""
        with self.database.read() as session:
            return dict(session.execute(select(Job.id, Job.event_seq).where(Job.id.in_(job_ids))).all())
