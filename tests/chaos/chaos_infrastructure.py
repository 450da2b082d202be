"""A deployment whose Postgres, Redis and network are the test's own, and a stream of tiny jobs through it."""

import contextlib
import itertools
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from chaos_faults import Trial
from chaos_proxy import Proxy
from chaos_servers import Postgres, Redis
from chaos_world import Deployment, Worker
from servers import TINY, until

from contract.errors import ErrorCode
from contract.status import FINAL
from models.job import Event, Job
from potstill.errors import ConnectionFailed, PotstillError, Unavailable
from potstill.transport import new_key

LONGER = {**TINY, "student": {"arch": "mlp", "hidden": [32]}, "training": {"epochs": 150, "checkpoint_every_seconds": 0.3}}


class Site(Deployment):
    """`proxied`: hosts of workers, or "api", whose way to Postgres goes through a proxy of their own."""

    def __init__(self, folder: Path, *, redis: bool = True, proxied: Sequence[str] = (), clock: dict[str, str] | None = None, **more: Any):
        folder.mkdir(parents=True, exist_ok=True)
        self.postgres = Postgres(**(clock or {}))
        self.redis = Redis(folder, present=redis)
        self.name = self.postgres.new_database()
        self.proxies = {host: Proxy(self.postgres.port) for host in proxied}
        try:
            super().__init__(
                Path(tempfile.mkdtemp(dir=folder)), database_url=self.postgres.url(self.name), broker_url=self.redis.url, **more
            )
        except BaseException:
            self.close() if hasattr(self, "api") else self._close_servers()  # nothing of a failed start is left behind
            raise

    def start_api(self, **environment: str) -> Any:
        return super().start_api(**{**self._way("api"), **environment})

    def worker(self, host: str, **environment: str) -> Worker:
        return super().worker(host, **{**self._way(host), **environment})

    def _way(self, host: str) -> dict[str, str]:
        return {"POTSTILL_DATABASE_URL": self.postgres.url(self.name, self.proxies[host].port)} if host in self.proxies else {}

    def close(self) -> None:
        super().close()
        self._close_servers()

    def _close_servers(self) -> None:
        for proxy in self.proxies.values():
            proxy.close()
        self.redis.close()
        self.postgres.close()

    # ---- what is asked and seen through outages

    def insist(self, spec: dict[str, Any] = TINY, seconds: float = 60) -> str:
        """Submits under one key, again and again until the service says yes: what a careful client does."""
        return self.acknowledged(lambda key: self.submit(spec, key), seconds)

    def acknowledged(self, send: Callable[[str], str], seconds: float = 60) -> str:
        key, end = new_key(), time.monotonic() + seconds
        while True:
            try:
                return send(key)
            except PotstillError as error:
                patient = isinstance(error, Unavailable | ConnectionFailed) or error.code == ErrorCode.IDEMPOTENCY_IN_FLIGHT
                if not patient or time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def patiently(self, look: Callable[[], Any]) -> Any:
        """What it returns, None while the database is away."""
        with contextlib.suppress(Unavailable):
            return look()
        return None

    def unfinished(self, job_ids: Sequence[str]) -> int:
        with self.database.read() as session:
            count = sa.select(sa.func.count()).select_from(Job).where(Job.id.in_(job_ids), Job.status.not_in(FINAL))
            return session.scalar(count) or 0

    def all_end(self, job_ids: Sequence[str], seconds: float) -> None:
        until(lambda: self.patiently(lambda: self.unfinished(job_ids) == 0), seconds, f"the end of {len(job_ids)} jobs")

    def succeeded(self, trial: Trial, job_ids: Sequence[str]) -> list[Job]:
        """Each of them, exactly once, and as many rows as there were submissions."""
        trial.violations += self.check(*job_ids)
        rows = [self.row(job_id) for job_id in job_ids]
        for row in rows:
            trial.expect(row.status == "succeeded", f"{row.id} is {row.status}: {row.error}")
        with self.database.read() as session:
            there = set(session.scalars(sa.select(Job.id)))
        known = {entry["job"] for entry in self.history.entries("submission")}
        trial.expect(there == known, f"jobs that nobody was told of: {sorted(there - known)}")
        trial.facts |= {"jobs": len(rows), "attempts": sum(row.attempt for row in rows)}
        return rows

    def waits(self, job_id: str) -> list[float]:
        """How long it was due before each claim, by the database's clock."""
        with self.database.read() as session:
            query = sa.select(Event).where(Event.job_id == job_id, Event.type == "status").order_by(Event.seq)
            changes = [(event.data["to"], event.created_at.timestamp()) for event in session.scalars(query)]
        pairs = itertools.pairwise(changes)
        return [after - before for (was, before), (to, after) in pairs if was == "queued" and to == "running"]


@contextlib.contextmanager
def storm(chance: random.Random, between: tuple[float, float], strike: Callable[[], None]) -> Iterator[list[float]]:
    """Strikes again and again in a thread until the block is left; when it did. What a strike raises is raised at the end."""
    over, strikes, errors = threading.Event(), [], []

    def rage() -> None:
        try:
            while not over.wait(chance.uniform(*between)):
                strikes.append(time.time())
                strike()
        except Exception as error:  # noqa: BLE001 - raised below
            errors.append(error)

    thread = threading.Thread(target=rage, daemon=True)
    thread.start()
    try:
        yield strikes
    finally:
        over.set()
        thread.join(60)
    if errors:
        raise errors[0]
