"""`python -m benchmarks.claims`: how many jobs a second workers take from Postgres, and what looking for lost ones costs, with few and with
many jobs stored.

32 claimers in 4 processes take jobs of five projects for some seconds; each is a transaction with its commit, as a worker makes it. Both
databases lie on one server and take turns. --data keeps the filled server for the next time.
"""

import argparse
import multiprocessing
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import sqlalchemy as sa

from benchmarks import figures, rows, stored
from contract.resources import Offer
from models import claims
from models.ids import new_id
from models.session import Database

SIZES = {"few": 60_000, "many": 1_000_000}
WAITING = 50_000  # jobs in the queue
PROCESSES, THREADS = 4, 8
SECONDS, ROUNDS, LOOKS = 8.0, 3, 30
OFFER = Offer("cpu", 16 * 10**9, ("a", "b"))
QUEUE = """UPDATE jobs SET status = 'queued', worker_id = NULL, lease_until = NULL, due_at = NULL, attempt = 0, finished_at = NULL
  WHERE id IN (SELECT id FROM jobs WHERE parent_id IS NULL ORDER BY id LIMIT :waiting)"""
EMPTY = "UPDATE jobs SET status = 'succeeded' WHERE status IN ('queued', 'running', 'cancelling', 'pausing')"


def taken(url: str, answer: Any, begin: Any) -> None:
    """A process of claimers: how many they took, and how long each took, from when all have taken one."""
    database, times = Database(url), []

    def take() -> None:
        worker, end = new_id("wrk"), 0.0
        while (began := time.monotonic()) < end or not end:
            with database.write() as session:
                if claims.claim(session, worker, 30, None, OFFER) is None:
                    return
            if end:
                times.append(time.monotonic() - began)
            else:  # connections are there, and statements made
                begin.wait()
                end = time.monotonic() + SECONDS

    threads = [threading.Thread(target=take) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answer.put(times)


def claimed(url: str) -> list[float]:
    context = multiprocessing.get_context("spawn")
    answers, begin = context.Queue(), context.Barrier(PROCESSES * THREADS)
    processes = [context.Process(target=taken, args=(url, answers, begin)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    found = [seconds for _ in processes for seconds in answers.get()]
    for process in processes:
        process.join()
    return found


def swept(url: str) -> list[float]:
    """Seconds of each look for leases that ran out, where none has."""
    database, found = Database(url), []
    for _ in range(LOOKS):
        began = time.monotonic()
        with database.write() as session:
            claims.reap(session, ["wrk_dead"])
        found.append(time.monotonic() - began)
    database.dispose()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the filled server, kept")
    with tempfile.TemporaryDirectory() as scratch:
        folder = parser.parse_args().data or Path(scratch) / "data"
        with stored.postgres(folder) as server:
            urls = {name: _filled(server, name, Path(scratch)) for name in SIZES}
            times: dict[str, list[float]] = {name: [] for name in SIZES}
            looks: dict[str, list[float]] = {name: [] for name in SIZES}
            rates: dict[str, list[float]] = {name: [] for name in SIZES}
            for number in range(ROUNDS):
                for name in list(SIZES)[:: 1 if number % 2 else -1]:
                    _queue(urls[name])
                    found = claimed(urls[name])
                    rates[name].append(len(found) / SECONDS)
                    times[name] += found
                    looks[name] += swept(urls[name])
                    print(name, f"{rates[name][-1]:.0f} jobs/s", f"{1000 * median(looks[name]):.2f} ms a look", flush=True)
    found_rows = [
        {
            "jobs": SIZES[name],
            "rate": round(median(rates[name])),
            "rates": [round(rate) for rate in rates[name]],
            "claim": figures.spread(times[name]),
            "look": figures.spread(looks[name]),
        }
        for name in SIZES
    ]
    figures.write("claims", "python -m benchmarks.claims", claimers=PROCESSES * THREADS, waiting=WAITING, rows=found_rows)


def _filled(server: str, name: str, scratch: Path) -> str:
    return stored.database(server, f"claims_{name}", lambda url: rows.fill(url, scratch / name, SIZES[name], {}))


def _queue(url: str) -> None:
    """The oldest wait again, nothing runs, and the server knows it."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(EMPTY))
        connection.execute(sa.text(QUEUE), {"waiting": WAITING})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE jobs")
    engine.dispose()


if __name__ == "__main__":
    main()
