"""One worker process, with its fork server and its trainers, and what can be done to it."""

import contextlib
import re
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import psutil
from chaos_points import START
from servers import Process, trainers, until

PYTHON = [sys.executable, "-P", "-c"]


class Worker:
    def __init__(self, folder: Path, host: str, environment: dict[str, Any], inside: Sequence[str] = ()) -> None:
        """inside: a command before its own that puts it somewhere and becomes it."""
        self.host = host
        self.process = Process(folder, "worker", program=[*inside, *PYTHON, START], **environment)

    @property
    def alive(self) -> bool:
        return self.process.popen.poll() is None

    @property
    def id(self) -> str:
        """The id it is registered under, once it is ready."""
        found = re.search(r"(?m)^(?=.*\bready\b).*?(wrk_\w+)", self.process.said())
        return found[1] if found else ""

    def ready(self, seconds: float = 240) -> Self:
        until(lambda: self.id or not self.alive, seconds, "a worker")
        assert self.id, self.process.said()
        return self

    def trainers(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return trainers(self.process.ps)
        return []

    def family(self) -> list[psutil.Process]:
        """It and everything below it."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [self.process.ps, *self.process.ps.children(recursive=True)]
        return []

    def kill(self) -> None:
        self.process.kill()

    def stop(self) -> None:
        self.process.popen.send_signal(signal.SIGTERM)

    def freeze(self) -> None:
        """Every thread of it has stopped when this returns; a busy machine lets them go on for a while."""
        self.process.popen.send_signal(signal.SIGSTOP)
        until(self._stopped, 10, "a stop")

    def _stopped(self) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):  # a thread that ended meanwhile
            return {psutil.Process(thread.id).status() for thread in self.process.ps.threads()} == {psutil.STATUS_STOPPED}
        return False

    def thaw(self) -> None:
        self.process.popen.send_signal(signal.SIGCONT)


def living(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
