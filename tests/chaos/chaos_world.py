"""A deployment of real processes for breaking: API, workers on hosts of their own, one database, one store of artifacts.

    world = Deployment(folder, hosts=("one", "two"))         # SQLite and file doorbell; a worker on each host, all ready
    world = Deployment(folder, database_url=…, broker_url=…, lease=3.0, slots=1, POTSTILL_…="…")  # for API and workers
    job_id = world.submit(spec)                              # through the API, with a line in world.history
    world.request("pause", job_id)                           # pause, resume, cancel; the same
    row = world.row(job_id); events = world.events(job_id)   # straight from the database
    row = world.wait(job_id, seconds=60)                     # the final row; every change seen on the way is in the history
    worker = world.worker("three", POTSTILL_DATABASE_URL=…)  # one more; `worker.ready()` waits; environment of its own
    worker.kill() / .stop() (SIGTERM) / .freeze() / .thaw(); worker.trainers(), .family(), .id, .alive
    world.holder(job_id)                                     # the worker that runs it, None if nobody
    world.plan.arm("after-claim", nth=1)                     # see chaos_points; workers and their trainers obey it
    world.api, world.start_api()                             # a servers.Process; kill it and start it again on the same port
    world.did("redis flushed", …)                            # a fault, for the history
    violations = world.check(job_id, …)                      # what the checker says of these jobs (of all without arguments)
    world.close()                                            # kills everything; the folder stays

`with Deployment(…) as world` closes it. A worker that was killed is replaced by `world.worker(host)`.
"""

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import chaos_checker
import psutil
from chaos_history import History
from chaos_points import Plan
from chaos_worker import PYTHON, Worker, living
from servers import Process, free_port, until
from sqlalchemy import select

import migrations
from models.blobs import Blobs
from models.job import Event, Job
from models.project import ensure_key
from models.session import Database
from potstill import Client
from potstill.errors import PotstillError

HERE = Path(__file__).parent
__all__ = ["PYTHON", "Deployment", "Worker", "living"]


class Deployment:
    def __init__(
        self,
        folder: Path,
        *,
        hosts: tuple[str, ...] = ("one", "two"),
        database_url: str = "",
        broker_url: str = "",
        lease: float = 3.0,
        slots: int = 1,
        **environment: str,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port, self.key, self.lease = folder, free_port(), "psk_" + secrets.token_urlsafe(24), lease
        self.database_url = database_url or f"sqlite:///{folder / 'potstill.db'}"
        self.history, self.plan = History(folder / "history.jsonl"), Plan(folder / "plan")
        self.environment = {
            "POTSTILL_DATABASE_URL": self.database_url,
            "POTSTILL_BROKER_URL": broker_url,
            "POTSTILL_ARTIFACTS_URL": (folder / "artifacts").as_uri(),
            "POTSTILL_SLOTS": str(slots),
            "POTSTILL_LEASE_SECONDS": str(lease),
            "POTSTILL_RENEW_SECONDS": str(lease / 6),
            "POTSTILL_SWEEP_SECONDS": str(min(2.0, lease / 6)),
            "POTSTILL_POLL_SECONDS": "0.2",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")])),
            "CHAOS_PLAN": str(self.plan.folder),
            **environment,
        }
        migrations.upgrade(self.database_url)
        self.database, self.blobs = Database(self.database_url), Blobs(self.environment["POTSTILL_ARTIFACTS_URL"])
        with self.database.write() as session:
            ensure_key(session, self.key, "chaos")
        self.workers: list[Worker] = []
        self.client = Client(url=f"http://127.0.0.1:{self.port}", key=self.key)
        self.start_api()
        try:
            for worker in [self.worker(host) for host in hosts]:
                worker.ready()
            until(self._answers, 120, "the API")
        except BaseException:
            Deployment.close(self)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start_api(self, **environment: str) -> Process:
        home = {"POTSTILL_HOME": str(self.folder / "api")}
        everything: dict[str, Any] = {**self.environment, **home, **environment}
        self.api = Process(self.folder, "api", "--port", str(self.port), **everything)
        return self.api

    def worker(self, host: str, **environment: str) -> Worker:
        """Starts a worker on a host: the same name is the same machine, with the same home folder."""
        home = {"POTSTILL_HOME": str(self.folder / host), "POTSTILL_HOST_ID": host}
        worker = Worker(self.folder, host, {**self.environment, **home, **environment}, self.inside(host))
        self.workers = [*(w for w in self.workers if w.alive), worker]
        return worker

    def inside(self, host: str) -> list[str]:
        """What a worker's command begins with so that it runs on that host; nothing where all share this machine's network."""
        return []

    def close(self) -> None:
        self.client.close()
        processes = [self.api.ps, *(process for worker in self.workers for process in worker.family())]
        for process in living(processes):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for popen in [self.api.popen, *(worker.process.popen for worker in self.workers)]:
            popen.wait(10)
        self.database.dispose()

    # ---- what users do

    def submit(self, spec: Mapping[str, Any], key: str | None = None) -> str:
        job = self.client.jobs.submit(spec, idempotency_key=key)
        self.history.note("submission", job=job.id, status=201, key=key)
        return job.id

    def request(self, what: str, job_id: str) -> None:
        try:
            getattr(self.client.jobs, what)(job_id)
        except PotstillError as error:
            self.history.note("request", job=job_id, what=what, status=error.status)
            raise
        self.history.note("request", job=job_id, what=what, status=200)

    def wait(self, job_id: str, seconds: float = 90) -> Job:
        seen: tuple[Any, ...] = ()

        def final() -> bool:
            nonlocal seen
            with contextlib.suppress(PotstillError):
                view = self.client.jobs.get(job_id).view
                if seen != (view.status, view.attempt):
                    seen = (view.status, view.attempt)
                    self.history.note("observed", job=job_id, status=view.status, attempt=view.attempt)
                return view.status.final
            return False

        until(final, seconds, f"the end of {job_id}")
        return self.row(job_id)

    # ---- what the harness sees and does

    def row(self, job_id: str) -> Job:
        with self.database.read() as session:
            return session.get_one(Job, job_id)

    def events(self, job_id: str, type_: str | None = None) -> list[Event]:
        query = select(Event).where(Event.job_id == job_id).order_by(Event.seq)
        with self.database.read() as session:
            return list(session.scalars(query if type_ is None else query.where(Event.type == type_)))

    def holder(self, job_id: str) -> Worker | None:
        worker_id = self.row(job_id).worker_id
        return next((worker for worker in self.workers if worker_id and worker.alive and worker.id == worker_id), None)

    def did(self, what: str, **target: Any) -> None:
        self.history.note("fault", what=what, **target)

    def check(self, *job_ids: str) -> list[str]:
        entries = list(self.history.entries())
        wanted = set(job_ids) or {entry["job"] for entry in entries if entry["kind"] == "submission"}
        kept = [entry for entry in entries if entry.get("job", next(iter(wanted), None)) in wanted]
        return chaos_checker.check(kept, chaos_checker.load(self.database, wanted), chaos_checker.reader(self.blobs))

    def _answers(self) -> bool:
        with contextlib.suppress(PotstillError):
            return self.client.jobs.page(limit=1) is not None
        return False
