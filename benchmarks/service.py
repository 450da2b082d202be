"""A real service for measuring: `potstill up` in a process of its own, on a free port and an empty home."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from potstill import Client
from potstill.errors import PotstillError

CLI = "from potstill.cli import main; main()"


@contextlib.contextmanager
def running(slots: int = 1, *, probe: bool = False) -> Iterator[tuple[Client, psutil.Process]]:
    """The client of a warm service and its `up` process. probe: whether its worker measures the machine, which takes some seconds."""
    with tempfile.TemporaryDirectory(prefix="potstill-bench-") as home, (Path(home) / "log").open("wb") as log:
        environment = {**os.environ, "POTSTILL_HOME": home, "POTSTILL_PROBE": str(probe)}
        command = [sys.executable, "-P", "-c", CLI, "up", "--port", "0", "--slots", str(slots)]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            with _client(Path(home), process) as client:
                until(lambda: any(worker.alive for worker in client.workers.list()))
                yield client, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(60)


def _client(home: Path, process: "subprocess.Popen[bytes]") -> Client:
    """The address stands in the lock file of the home, the key beside it."""
    lock, key = home / "up.lock", home / "key"
    until(lambda: key.exists() and "http" in lock.read_text())
    client = Client(url=lock.read_text().rsplit(" ", 1)[1], key=key.read_text().strip())
    until(lambda: _answers(client))
    return client


def _answers(client: Client) -> bool:
    try:
        client.jobs.page(limit=1)
    except PotstillError:
        return False
    return True


def until(condition: "object", seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        if time.monotonic() > end:
            raise TimeoutError("the service did not get ready")
        time.sleep(0.05)
