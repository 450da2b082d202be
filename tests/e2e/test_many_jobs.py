"""Sixty tiny jobs: each succeeds exactly once, also when a worker is killed in the middle."""

import collections
import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from servers import TINY, Process, Service, free_port, until

from potstill import Client
from potstill.errors import PotstillError

JOBS = 60


def submit_all(client: Client) -> list[str]:
    return [client.jobs.submit({**TINY, "training": {"epochs": 2, "seed": seed}}).id for seed in range(JOBS)]


def workers_of(client: Client, ids: list[str]) -> collections.Counter[str]:
    """Checks that each job was completed exactly once; by whom."""
    found: collections.Counter[str] = collections.Counter()
    for job_id in ids:
        job = client.jobs.get(job_id).view
        assert job.status == "succeeded", job.error
        changes = [event.data for event in client.jobs.events(job_id) if event.type == "status"]
        assert sum(change["to"] == "succeeded" for change in changes) == 1
        claims = [change for change in changes if change["to"] == "running"]
        assert [claim["attempt"] for claim in claims] == list(range(1, job.attempt + 1))
        found[claims[-1]["worker"]] += 1
    return found


def done(client: Client, ids: list[str]) -> int:
    return sum(job.status in ("succeeded", "failed") for job in client.jobs.list(kind="train") if job.id in ids)


def test_sixty_jobs_on_sqlite_with_two_slots(tmp_path: Path) -> None:
    service = Service(tmp_path / "home", slots=2)
    with service.client() as client:
        ids = submit_all(client)
        until(lambda: done(client, ids) == JOBS, seconds=150, what="sixty jobs")
        assert sum(workers_of(client, ids).values()) == JOBS
        assert all(client.jobs.get(job_id).view.attempt == 1 for job_id in ids)
    assert service.stop() == 0


@pytest.fixture
def deployment(postgres_server: str, redis_server: str, tmp_path: Path) -> Iterator[tuple[Client, list[Process]]]:
    """API and two workers of two slots on Postgres and Redis, as separate processes."""
    name = f"deployment_{secrets.token_hex(4)}"
    with sqlalchemy.create_engine(
        postgres_server.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    ).connect() as admin:
        admin.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    port = free_port()
    environment = {
        "POTSTILL_HOME": str(tmp_path / "home"),
        "POTSTILL_DATABASE_URL": postgres_server.replace("/postgres?", f"/{name}?"),
        "POTSTILL_BROKER_URL": redis_server,
        "POTSTILL_KEY": "psk_" + secrets.token_urlsafe(24),
    }
    assert Process(tmp_path, "migrate", **environment).popen.wait(60) == 0
    api = Process(tmp_path, "api", "--port", str(port), **environment)
    workers = [Process(tmp_path, "worker", "--slots", "2", **environment) for _ in range(2)]
    client = Client(url=f"http://127.0.0.1:{port}", key=environment["POTSTILL_KEY"])
    try:
        until(lambda: _alive_workers(client) == 2, seconds=60, what="two workers")
        yield client, workers
    finally:
        client.close()
        for process in [*workers, api]:
            if process.popen.poll() is None:
                process.stop()


def _alive_workers(client: Client) -> int:
    with contextlib.suppress(PotstillError):
        return sum(worker.alive for worker in client.workers.list())
    return 0


def test_sixty_jobs_on_postgres_and_redis_with_a_worker_killed(deployment: tuple[Client, list[Process]]) -> None:
    client, workers = deployment
    ids = submit_all(client)
    until(lambda: done(client, ids) >= JOBS // 2, seconds=150, what="thirty jobs")
    workers[0].kill()
    until(lambda: done(client, ids) == JOBS, seconds=150, what="sixty jobs")
    by_worker = workers_of(client, ids)
    assert len(by_worker) == 2
    assert min(by_worker.values()) >= 10, by_worker
