"""What `potstill up` runs: a home folder that only one service may have (home.py) and two child processes."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from contract.errors import PotstillError
from potstill.cli.home import Home
from potstill.cli.output import line, note

if TYPE_CHECKING:
    from models.session import Database

CLI = "from potstill.cli import main; main()"
PATIENCE = 2.0  # seconds until the user is told what is waited for
STOP_SECONDS = 15.0  # beyond those of its trainers
PREDECESSOR_SECONDS = 10.0
PR_SET_PDEATHSIG = 1
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # one for the outside world knows nothing of this machine


class Embedded:
    def __init__(self, home: Path, host: str, port: int, slots: int | None) -> None:
        self.home, self.host = Home(home), host
        self.port = port or free_port(host)
        cores = len(os.sched_getaffinity(0))
        self.slots = slots or min(2, cores)
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.deaths: dict[str, list[float]] = {"worker": [], "api": []}
        self.ready = self.leaving = False
        self._interrupts = 0

    @property
    def url(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def run(self) -> int:
        """Serves until Ctrl-C, SIGTERM or the end of its terminal; the exit code."""
        from api.settings import Settings
        from models.exposure import refuse_guessable
        from models.process import leave_on_hangup

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._leave)
        leave_on_hangup(self._leave)
        with self.home.taken(self.url) as left_behind:
            _wait_for_port(self.host, self.port, PREDECESSOR_SECONDS if left_behind else 0)
            database = self.home.prepare()
            try:
                if not Settings(host=self.host).loopback:
                    refuse_guessable(database, self.host)
                self._start("worker", "worker", "--slots", str(self.slots))
                self._start("api", "api", "--host", self.host, "--port", str(self.port))
                self._say_when_ready(database)
                while not self.leaving:
                    self._keep_running()
            finally:
                self._stop()
                database.dispose()
        return 0

    def _say_when_ready(self, database: "Database") -> None:
        known = _workers(database)
        self._wait("the API", self._answers)
        self._wait("the worker, which loads torch", lambda: bool(_workers(database) - known))
        self.ready = not self.leaving
        if self.ready:
            line("✓", "ready", f"{self.url} · {self.slots} slot{'s' * (self.slots > 1)} · home {self.home.folder}")
            if (path := _login(database, self.home.key)) is not None:
                line("·", "open", f"{self.url}{path} (once, within ten minutes; later: potstill login)")
            note(f"              key in {self.home.key} · potstill submit SPEC --watch · Ctrl-C stops")

    def _wait(self, what: str, true: Callable[[], bool]) -> None:
        """As long as it takes: a machine may be slow, and a child that cannot stay up ends this."""
        patience = time.monotonic() + PATIENCE
        while not self.leaving and not true():
            if time.monotonic() > patience:
                patience = float("inf")
                line("·", "waiting", f"for {what}")
            self._keep_running()

    def _answers(self) -> bool:
        try:
            with NO_PROXY.open(f"{self.url}/livez", timeout=1):
                return True
        except (OSError, urllib.error.URLError):
            return False

    # ---- children

    def _start(self, name: str, *command: str) -> None:
        environment = {**os.environ, "POTSTILL_HOME": str(self.home.folder), "PYTHONSAFEPATH": "1"}
        parent = os.getpid()
        self.children[name] = subprocess.Popen(  # noqa: S603 - our own command line
            [sys.executable, "-P", "-c", CLI, *command],
            env=environment,
            preexec_fn=lambda: leave_with_parent(parent),
        )

    def _keep_running(self) -> None:
        """A child that dies is started again; one that cannot stay up ends the service."""
        for name, child in list(self.children.items()):
            if child.poll() is None or self.leaving:
                continue
            deaths = self.deaths[name] = [*(t for t in self.deaths[name] if t > time.monotonic() - 60), time.monotonic()]
            if child.returncode > 0 and not self.ready:  # it said why, and would say so again
                raise PotstillError(f"The {name} ended before it was ready.", hint="Its message is above.")
            if len(deaths) > 3:
                raise PotstillError(f"The {name} died {len(deaths)} times within a minute.", hint="Its last messages are above.")
            line("!", "warning", f"the {name} died ({_how(child.returncode)}); starting it again")
            self._start(name, *child.args[4:])  # type: ignore[index]
        time.sleep(0.05)

    def _leave(self, number: int, _frame: FrameType | None) -> None:
        """Asked once, everything leaves in order; a second Ctrl-C ends it at once."""
        self._interrupts += number == signal.SIGINT
        if self._interrupts > 1:
            for child in self.children.values():
                if child.poll() is None:
                    child.kill()
            os._exit(130)
        if not self.leaving:
            note("stopping: running jobs go back to the queue at a checkpoint …")
        self.leaving = True

    def _stop(self) -> None:
        for child in self.children.values():
            if child.poll() is None:
                child.terminate()
        from worker.settings import Settings

        end = time.monotonic() + Settings().stop_seconds + STOP_SECONDS
        for child in self.children.values():
            try:
                child.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def leave_with_parent(parent: int) -> None:
    """If `up` itself is killed, its children are asked to leave as on Ctrl-C."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before we asked to be told
        os._exit(1)


def _login(database: "Database", key: Path) -> str | None:
    """A path that logs one browser in with the first key; None where that was revoked."""
    from sqlalchemy import select

    from models.browser import new_link
    from models.project import Key
    from models.secret import secret_hash

    with database.write() as session:
        valid = Key.secret_sha256 == secret_hash(key.read_text().strip()), Key.revoked_at.is_(None)
        id_ = session.scalar(select(Key.id).where(*valid))
        return f"/login?once={new_link(session, id_)}" if id_ is not None else None


def _workers(database: "Database") -> set[str]:
    from sqlalchemy import select

    from models.service import Worker

    with database.read() as session:
        return set(session.scalars(select(Worker.id)))


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def free_port(host: str) -> int:
    family, address = _address(host, 0)
    with socket.socket(family) as probe:
        probe.bind(address)
        return int(probe.getsockname()[1])


def _address(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise PotstillError(f"--host {host} is no address of this machine: {error.strerror}.", hint="127.0.0.1 is this machine.") from None
    return family, address


def _wait_for_port(host: str, port: int, patience: float) -> None:
    """What a killed `up` left is asked to leave by the kernel; until it has, the port may be its."""
    end = time.monotonic() + patience
    family, address = _address(host, port)
    while True:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                return probe.bind(address)
            except OSError as error:
                if time.monotonic() >= end:
                    raise PotstillError(
                        f"Port {port} on {host} cannot be used: {error.strerror}.",
                        hint="Choose another one with --port, or --port 0 for any free one.",
                    ) from None
        time.sleep(0.05)
