"""What this machine can do, measured once while the worker has nothing to do, so that the API can say how long a job will take.

In a process like a trainer's (worker/measure.py). Kept beside the home: a restart measures nothing again.
"""

import contextlib
import tempfile
import threading
import time
from pathlib import Path

import structlog
from pydantic import ValidationError

from contract.machine import Machine
from worker import child
from worker.forkserver import ForkServer
from worker.settings import Settings

log = structlog.get_logger()
IDLE = 3.0  # seconds without a job before it is measured
PATIENCE = 60.0
FAILED = b""


class Probe:
    """Measures when it may, and says what it found in `machine`."""

    def __init__(self, settings: Settings, server: ForkServer, device: str | None) -> None:
        self.settings, self.server, self.device = settings, server, device
        self.machine: Machine | None = None
        self._kept = settings.home_path() / f"machine-{settings.threads()}.json"

    def look(self, busy: threading.Event, stopping: threading.Event) -> Machine | None:
        """Once nobody has been busy for a while; begun again where a job comes in between. None where it cannot be done."""
        self.machine = self._known()
        while self.machine is None and not stopping.wait(IDLE):
            if busy.is_set():
                continue
            with tempfile.TemporaryDirectory(prefix="potstill-probe-") as folder:
                said = self._asked(Path(folder), busy, stopping)
            if said == FAILED:
                return None
            if said is not None:
                self.machine = Machine.model_validate_json(said)
                with contextlib.suppress(OSError):  # then the next start measures again
                    self._kept.write_bytes(said)
        return self.machine

    def _known(self) -> Machine | None:
        try:
            found = Machine.model_validate_json(self._kept.read_bytes())
        except (OSError, ValidationError):
            return None
        here = (self.server.processor, self.server.torch, self.settings.threads(), self.device is None)
        return found if (found.processor, found.torch, found.threads, found.device == "cpu") == here else None

    def _asked(self, folder: Path, busy: threading.Event, stopping: threading.Event) -> bytes | None:
        """What a child measured; None where it had to be ended for others, FAILED where it came to nothing."""
        answer, theirs = self.server.context.Pipe(duplex=False)
        process = self.server.context.Process(target=child.measure, args=(theirs, folder, self.settings.threads(), self.device))
        process.start()
        theirs.close()
        end = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < end:
                if answer.poll(0.1):
                    return answer.recv_bytes()
                if busy.is_set() or stopping.is_set():
                    return None
        except EOFError:
            pass  # what it said stands in its log
        finally:
            process.kill()
            process.join()
            answer.close()
        said = (folder / "log").read_text(errors="replace") if (folder / "log").exists() else ""
        log.warning("this machine could not be measured: there will be no estimates of time", said=said[-1000:])
        return FAILED
