"""What `potstill up` runs: a home folder that only one service may have, its database and key, and two child processes."""

import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType
from typing import IO

from contract.errors import PotstillError
from potstill.cli.output import line, note

CLI = "from potstill.cli import main; main()"
READY_SECONDS = 60.0
STOP_SECONDS = 45.0
PR_SET_PDEATHSIG = 1


class Embedded:
    def __init__(self, home: Path, host: str, port: int, slots: int | None) -> None:
        self.home, self.host = home.expanduser().resolve(), host
        self.port = port or _free_port(host)
        cores = len(os.sched_getaffinity(0))
        self.slots = slots or min(2, cores)
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.leaving = False
        self._lock: IO[str] | None = None

    @property
    def url(self) -> str:
        return f"http://{'127.0.0.1' if self.host in ('0.0.0.0', '::') else self.host}:{self.port}"  # noqa: S104 - compared, not bound

    def run(self) -> int:
        """Serves until Ctrl-C or SIGTERM; the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._leave)
        self._take_home()
        _refuse_taken_port(self.host, self.port)
        self._prepare_store()
        try:
            self._start("worker", "worker", "--slots", str(self.slots))
            self._start("api", "api", "--host", self.host, "--port", str(self.port))
            if self._wait_until_ready():
                line("✓", "ready", f"{self.url} · {self.slots} slot{'s' * (self.slots > 1)} · home {self.home}")
                note(f"              key in {self.home / 'key'} · potstill submit SPEC --watch · Ctrl-C stops")
            self._keep_running()
        finally:
            self._stop()
        return 0

    # ---- before anything runs

    def _take_home(self) -> None:
        """One service for each home: two would run each other's jobs and fight for its files."""
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = (self.home / "up.lock").open("a+")
        except OSError as error:
            raise PotstillError(
                f"The home folder {self.home} cannot be written: {error.strerror}.",
                hint="Choose another one with --home or POTSTILL_HOME.",
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            raise PotstillError(
                f"{self.home} is already served{' by ' + self._lock.read().strip() if self._lock else ''}.",
                hint="Use that service, stop it, or choose another folder with --home.",
            ) from None
        self._lock.truncate(0)
        self._lock.write(f"process {os.getpid()} at {self.url}")
        self._lock.flush()

    def _prepare_store(self) -> None:
        import migrations
        from models.project import ensure_key, new_secret
        from models.session import Database
        from models.settings import StoreSettings

        url = StoreSettings(home=self.home).database()
        migrations.upgrade(url)
        key = self.home / "key"
        if not key.exists():
            temporary = self.home / ".key"
            temporary.touch(mode=0o600)
            temporary.write_text(new_secret() + "\n")
            temporary.replace(key)
        database = Database(url)
        with database.write() as session:
            ensure_key(session, key.read_text().strip(), "first key")
        database.dispose()

    # ---- children

    def _start(self, name: str, *command: str) -> None:
        environment = {**os.environ, "POTSTILL_HOME": str(self.home), "PYTHONSAFEPATH": "1"}
        self.children[name] = subprocess.Popen(  # noqa: S603 - our own command line
            [sys.executable, "-P", "-c", CLI, *command],
            env=environment,
            preexec_fn=_leave_with_parent,
        )

    def _wait_until_ready(self) -> bool:
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end and not self.leaving:
            try:
                with urllib.request.urlopen(f"{self.url}/livez", timeout=1):  # noqa: S310 - our own address
                    return True
            except (OSError, urllib.error.URLError):
                if self.children["api"].poll() is not None:
                    raise PotstillError("The API ended before it was ready.", hint="Its message is above.") from None
                time.sleep(0.05)
        return False

    def _keep_running(self) -> None:
        """A child that dies is started again; one that cannot stay up ends the service."""
        deaths: dict[str, list[float]] = {name: [] for name in self.children}
        while not self.leaving:
            for name, child in list(self.children.items()):
                if child.poll() is None or self.leaving:
                    continue
                deaths[name] = [*(t for t in deaths[name] if t > time.monotonic() - 60), time.monotonic()]
                if len(deaths[name]) > 3:
                    raise PotstillError(f"The {name} died {len(deaths[name])} times within a minute.", hint="Its last messages are above.")
                line("!", "warning", f"the {name} died ({_how(child.returncode)}); starting it again")
                self._start(name, *child.args[4:])  # type: ignore[index]
            time.sleep(0.1)

    def _leave(self, number: int, _frame: FrameType | None) -> None:
        if not self.leaving:
            note("stopping: running jobs go back to the queue at a checkpoint …")
        self.leaving = True

    def _stop(self) -> None:
        for child in self.children.values():
            if child.poll() is None:
                child.terminate()
        end = time.monotonic() + STOP_SECONDS
        for child in self.children.values():
            try:
                child.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _leave_with_parent() -> None:
    """If `up` itself is killed, its children are asked to leave as on Ctrl-C."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _refuse_taken_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PotstillError(
                f"Port {port} on {host} cannot be used: {error.strerror}.",
                hint="Choose another one with --port, or --port 0 for any free one.",
            ) from None
