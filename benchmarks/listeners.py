"""`python -m benchmarks.listeners`: event streams on one API process on Postgres: from the commit of an event to its arrival at each.

Listeners live in this process; events are committed by a thread of it, so both ends are on one clock.
"""

import asyncio
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks import figures, rows, stored
from benchmarks.stored import Api
from models import lifecycle
from models.job import Job
from models.session import Database

EVENTS, PAUSE = 40, 0.5
CASES = [("1 listener", 1, 0), ("500 listeners", 500, 0), ("500 listeners, 100 of them never read", 500, 100)]
LONG = "x" * 8000  # what each event says; those who never read are to be full soon


class Listeners:
    """Streams of one job. deaf: how many of them never read what comes."""

    def __init__(self, api: Api, job: str, after: int, count: int, deaf: int) -> None:
        self.api, self.job, self.after, self.count, self.deaf = api, job, after, count, deaf
        self.heard: dict[str, list[float]] = {}  # what an event said → when each listener heard it

    async def run(self, seconds: float) -> None:
        open_ = [await self._connect(number < self.deaf) for number in range(self.count)]
        for _, writer in open_:
            asked = f"GET /v1/jobs/{self.job}/events/stream?after={self.after} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            writer.write(f"{asked}Authorization: {self.api.headers['Authorization']}\r\n\r\n".encode())
        hearing = [asyncio.create_task(self._hear(reader)) for reader, _ in open_[self.deaf :]]
        await asyncio.sleep(seconds)
        for task in hearing:
            task.cancel()
        for _, writer in open_:
            writer.close()

    async def _connect(self, deaf: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        taken = socket.socket()
        if deaf:  # little fits between them and the server
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        taken.connect(("127.0.0.1", self.api.port))
        return await asyncio.open_connection(sock=taken, limit=4096 if deaf else 1 << 20)

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            if line.startswith(b"data:") and (at := line.find(b'"message":"news ')) > 0:
                self.heard.setdefault(line[at + 16 :].split(b" ")[0].decode(), []).append(time.perf_counter())


def _commits(store: Database) -> int:
    with store.engine.connect() as connection:
        return int(connection.scalar(sa.text("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")) or 0)


def case(api: Api, store: Database, job: str, count: int, deaf: int) -> dict[str, Any]:
    with store.read() as session:
        after = session.get_one(Job, job).event_seq
    listeners = Listeners(api, job, after, count, deaf)
    opening = 3 + count / 50
    thread = threading.Thread(target=lambda: asyncio.run(listeners.run(opening + 8 + EVENTS * PAUSE)))
    thread.start()
    time.sleep(opening)
    before = _commits(store)
    time.sleep(5)
    idle = (_commits(store) - before) / 5
    committed, before, cpu = {}, _commits(store), sum(api.ps.cpu_times()[:2])
    started = time.perf_counter()
    for number in range(EVENTS):
        with store.write() as session:
            row = session.scalars(sa.select(Job).where(Job.id == job).with_for_update()).one()
            lifecycle.add_event(session, row, "log", f"news {count}-{deaf}-{number} {LONG}")
        committed[f"{count}-{deaf}-{number}"] = time.perf_counter()
        time.sleep(PAUSE)
    took = time.perf_counter() - started
    busy, cpu = (_commits(store) - before - EVENTS) / took, (sum(api.ps.cpu_times()[:2]) - cpu) / took
    memory = api.ps.memory_info().rss / 2**20
    thread.join()
    late = [at - committed[said] for said, times in listeners.heard.items() for at in times]
    missed = EVENTS * (count - deaf) - len(late)
    row = figures.spread(late) | {"max": round(1000 * max(late), 1), "missed": missed}
    return row | {"transactions_idle": round(idle, 1), "transactions": round(busy, 1), "rss_mib": round(memory), "cpu": round(cpu, 2)}


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="potstill-bench-") as name, stored.postgres(Path(name) / "pg") as server:
        url = stored.database(server, "listeners", lambda url: rows.fill(url, Path(name), 1000, {}))
        api, store = Api(url, Path(name)), Database(url)
        try:
            with store.read() as session:
                running = "status = 'running' AND project_id = (SELECT id FROM projects WHERE name = 'default')"
                job = session.scalars(sa.text(f"SELECT id FROM jobs WHERE {running}")).first()
            found: list[dict[str, Any]] = [{"what": "nobody", "rss_mib": round(api.ps.memory_info().rss / 2**20)}]
            for what, count, deaf in CASES:
                found.append({"what": what, **case(api, store, str(job), count, deaf)})
                print(found[-1], flush=True)
        finally:
            api.stop()
            store.dispose()
    figures.write("listeners", "python -m benchmarks.listeners", events=EVENTS, pause=PAUSE, bytes=len(LONG), rows=found)


if __name__ == "__main__":
    main()
