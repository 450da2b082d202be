"""`python -m benchmarks.costs`: what each thing that a deployment does costs its database: processor time of Postgres and of whoever asks,
questions, and bytes of the write-ahead log. One after the other on a machine that may be busy: processor time, not time on the clock.

benchmarks.scale multiplies them.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

import migrations
from benchmarks import figures, rows, stored
from benchmarks.service import CLI, until
from contract.events import Step
from contract.resources import Offer
from models import claims, lifecycle, schema, sweeping
from models.blobs import Blobs
from models.claims import Claim, StoredFile
from models.ids import new_id
from models.job import Job
from models.project import add_key, default_project
from models.service import Worker
from models.session import Database
from worker.backlog import Backlog
from worker.neighbours import Neighbours
from worker.sink import Sink

TIMES = 200  # the system counts processor time in hundredths of a second
OFFER = Offer("cpu", 16 * 10**9, ())
UNFIT = (0, 1_000, 10_000)  # jobs before the one that this worker may take
COPIES = sa.text("""INSERT INTO jobs SELECT (jsonb_populate_record(job, jsonb_build_object('id', 'job_00' || right(md5(i::text), 30)))).*
FROM jobs AS job, generate_series(CAST(:from AS int), CAST(:to AS int)) AS i WHERE job.id = :first""")  # older than all by their names
FLUSH = [
    Step(
        step=1, epoch=1, total_steps=10**6, metrics={"train/loss": 0.5, "learning_rate": 0.1, "steps_per_second": 9.0, "gradient_norm": 1.0}
    )
]
FILES = [StoredFile(f"{{}}/{name}", "checkpoint", "0" * 64, 1000) for name in ("model.safetensors", "optimizer.safetensors", "state.json")]


class Meter:
    def __init__(self, database: Database, server: psutil.Process) -> None:
        self.database, self.server, self.questions = database, server, 0
        sa.event.listen(database.engine, "before_cursor_execute", self._count)
        sa.event.listen(database.engine, "commit", self._count)

    def _count(self, *_: Any) -> None:
        self.questions += 1

    def of(self, what: str, do: Callable[[], object], times: int = TIMES) -> dict[str, Any]:
        for _ in range(5):
            do()
        before = self._now()
        for _ in range(times):
            do()
        spent = [(after - begun) / times for begun, after in zip(before, self._now(), strict=True)]
        found = {"what": what, "server_ms": 1000 * spent[0], "client_ms": 1000 * spent[1], "questions": spent[2], "log_bytes": spent[3]}
        found = {name: value if isinstance(value, str) else round(value, 3) for name, value in found.items()}
        print(found, flush=True)
        return found

    def _now(self) -> tuple[float, float, float, float]:
        with self.database.read() as session:
            log = float(session.scalar(sa.text("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")) or 0)
        return _spent(self.server), time.process_time(), self.questions, log


def _spent(server: psutil.Process) -> float:
    """Seconds of the processor that the server and those it has buried had."""
    times = [one.cpu_times() for one in (server, *server.children(recursive=True))]
    own = server.cpu_times()
    return float(sum(one.user + one.system for one in times) + own.children_user + own.children_system)


class Costs:
    def __init__(self, url: str, folder: Path, meter: Meter) -> None:
        self.url, self.folder, self.meter, self.database = url, folder, meter, meter.database
        with self.database.write() as session:
            self.project = default_project(session).id
        self.worker = new_id("wrk")
        with self.database.write() as session:
            session.add(Worker(id=self.worker, host="here", version="0", devices=["cpu"], slots=1))
        self.neighbours = Neighbours(folder / "run", self.worker, "here")

    def submit(self, **columns: Any) -> str:
        with self.database.write() as session:
            job = Job(project_id=self.project, kind="train", name="a job", spec=rows.TRAIN, resolved_spec=rows.TRAIN, **columns)
            return lifecycle.create(session, job, []).id

    def claim(self) -> Claim | None:
        with self.database.write() as session:
            return claims.claim(session, self.worker, 36_000, None, OFFER)

    def beat(self, claim: Claim) -> None:
        with self.database.write() as session:
            claims.heartbeat(session, self.worker)
            claims.renew(session, [claim], 36_000)

    def sweep(self) -> None:
        """What Supervisor._sweep asks where nothing is the matter."""
        schema.mismatch(self.database)
        self.neighbours.dead(self.database)
        with self.database.write() as session:
            claims.reap(session, [])
        with self.database.read() as session:
            sweeping.open_sweeps(session)

    def checkpoint(self, claim: Claim, step: int) -> None:
        files = [StoredFile(f"checkpoints/{step}/{file.path[3:]}", file.kind, file.sha256, file.size_bytes) for file in FILES]
        with self.database.write() as session:
            claims.add_checkpoint(session, claim, step, {"loss": 0.5}, files, [step - 2] if step > 2 else [])

    def finish(self, claim: Claim) -> None:
        with self.database.write() as session:
            claims.finish(session, claim, {"verdict": "It works."}, None)

    def all(self) -> list[dict[str, Any]]:
        found = [self.meter.of("look for work, none there", self.claim)]
        found.append(self.meter.of("submit", self.submit, 3 * TIMES))
        taken: list[Claim] = []
        found.append(self.meter.of("claim", lambda: taken.append(_there(self.claim()))))
        held = _there(self.claim())
        found.append(self.meter.of("beat", lambda: self.beat(held)))
        found.append(self.meter.of("sweep", self.sweep))
        backlog = Backlog(self.folder / "spill")
        sink = Sink(self.database, Blobs((self.folder / "blobs").as_uri()), held, backlog)
        steps = iter(range(1, 10**6))

        def write() -> None:
            backlog.put(FLUSH[0].model_copy(update={"step": next(steps)}))
            sink.flush()

        found.append(self.meter.of("write a step's metrics", write))
        numbers = iter(range(1, 10**6))
        found.append(self.meter.of("checkpoint", lambda: self.checkpoint(held, next(numbers))))
        found.append(self.meter.of("finish", lambda: self.finish(taken.pop()), TIMES - 10))
        return found

    def passed_over(self) -> list[dict[str, Any]]:
        """A claim with so many jobs before it that ask for a card."""
        found, there, first = [], 0, self.submit(want_kind="gpu")
        for unfit in UNFIT:
            with self.database.write() as session:
                session.execute(COPIES, {"first": first, "from": there + 1, "to": unfit})
            there = unfit
            with self.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("VACUUM ANALYZE jobs")
            for _ in range(40):
                self.submit()
            found.append({"unfit": unfit, **self.meter.of(f"claim behind {unfit:,}", lambda: _there(self.claim()), 20)})
        return found


def _there(claim: Claim | None) -> Claim:
    assert claim is not None
    return claim


def connections(url: str, folder: Path) -> dict[str, int]:
    """The most that one worker of one slot, and one API process, hold while jobs run."""
    named = {name: sa.make_url(url).update_query_dict({"application_name": name}) for name in ("worker", "api")}
    with _running(named, folder) as api:
        watching, most = sa.create_engine(url, isolation_level="AUTOCOMMIT"), {"worker": 0, "api": 0}
        with watching.connect() as connection:
            end = time.monotonic() + 40
            spec = json.dumps({**rows.TRAIN, "training": {"epochs": 40}}).encode()
            for _ in range(3):
                api.ask("POST", "/v1/jobs", spec, {**api.headers, "Content-Type": "application/json"})
            while time.monotonic() < end:
                counted = connection.execute(sa.text("SELECT application_name, count(*) FROM pg_stat_activity GROUP BY 1"))
                for name, number in counted:
                    if name in most:
                        most[name] = max(most[name], number)
                time.sleep(0.2)
        watching.dispose()
    return most


@contextmanager
def _running(named: dict[str, sa.URL], folder: Path) -> Iterator[stored.Api]:
    api = stored.Api(named["api"].render_as_string(hide_password=False), folder / "api", POTSTILL_ARTIFACTS_URL=(folder / "files").as_uri())
    environment = {
        **os.environ,
        "POTSTILL_DATABASE_URL": named["worker"].render_as_string(hide_password=False),
        "POTSTILL_HOME": str(folder / "worker"),
        "POTSTILL_ARTIFACTS_URL": (folder / "files").as_uri(),
        "POTSTILL_PROBE": "false",
    }
    log = (folder / "worker.log").open("wb")
    worker = subprocess.Popen([sys.executable, "-P", "-c", CLI, "worker"], env=environment, stdout=log, stderr=log)
    try:
        until(lambda: b"ready" in (folder / "worker.log").read_bytes(), 240)
        yield api
    finally:
        worker.terminate()
        worker.wait(90)
        api.stop()
        log.close()


def _fill(url: str) -> None:
    migrations.upgrade(url)
    database = Database(url)
    with database.write() as session:
        add_key(session, default_project(session), "benchmark", stored.KEY)
    database.dispose()


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch, stored.postgres(Path(scratch) / "data") as server:
        folder = Path(scratch)
        url = stored.database(server, "costs", _fill)
        database = Database(url)
        postmaster = psutil.Process(int((next((Path(scratch) / "data").rglob("postmaster.pid"))).read_text().split()[0]))
        costs = Costs(url, folder, Meter(database, postmaster))
        found, behind = costs.all(), costs.passed_over()
        database.dispose()
        held = connections(stored.database(server, "connections", _fill), folder)
    figures.write("costs", "python -m benchmarks.costs", rows=found, passed_over=behind, connections=held)


if __name__ == "__main__":
    main()
