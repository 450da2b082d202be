"""What a worker's other threads may do to a trainer: tell it that the lease holds, ask it to stop, freeze and kill it."""

import contextlib
import os
import signal
import threading
import time
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import structlog

from worker.order import BEAT, STOP
from worker.settings import Settings

VMSTAT = Path("/proc/vmstat")
TOUCH = "the worker had lost touch with the database"


def kernel_kills() -> int:
    """Of processes, on this machine so far, for want of memory; 0 where the kernel does not count them."""
    with contextlib.suppress(OSError, ValueError):
        return next((int(line.split()[1]) for line in VMSTAT.read_text().splitlines() if line.startswith("oom_kill ")), 0)
    return 0


class Hold:
    """The worker's grip on one trainer. Every method may be called from any thread, also before there is a process."""

    def __init__(self, settings: Settings, log: structlog.stdlib.BoundLogger) -> None:
        self.settings, self.log = settings, log
        self.renewed_at = time.monotonic()
        self.stop_reason: str | None = None
        self.was_killed: str | None = None  # why the worker itself ended the trainer
        self._stop_by: float | None = None
        self._process: ForkServerProcess | None = None
        self._control: Connection | None = None
        self._frozen, self._kills = False, 0
        self._lock = threading.Lock()

    def hold(self, process: ForkServerProcess, control: Connection) -> None:
        """From now on there is a trainer. What was asked of it before it was there is asked again."""
        with self._lock:
            self._process, self._control, self._kills = process, control, kernel_kills()
        if self.stop_reason is not None:
            self._tell(STOP)

    def beat(self, sent_at: float) -> None:
        """The lease was renewed; `sent_at` is from before it was asked for, on this machine's monotonic clock."""
        self._end_silence()
        self.renewed_at = sent_at
        if self._frozen:
            self._frozen = False
            self._signal(signal.SIGCONT)
        self._tell(BEAT)

    def stop(self, reason: str) -> None:
        """Asks the trainer to leave at the next step boundary; it is killed when it has not within stop_seconds."""
        if self._stop_by is None:
            self.stop_reason = reason
            self._stop_by = time.monotonic() + self.settings.stop_seconds
        self._tell(STOP)

    def tick(self) -> None:
        """Looks at the clocks, which no slow database may hold up: silence freezes the trainer, then kills it, before the lease
        can pass to somebody else."""
        self._end_silence()
        if self._silent() >= self.settings.freeze_after and not self._frozen:
            self._frozen = True
            self.log.warning("no renewal; holding the trainer still", seconds=round(self._silent(), 1))
            self._signal(signal.SIGSTOP)
        if self._stop_by is not None and time.monotonic() > self._stop_by and self._alive():
            self.was_killed = f"{self.stop_reason}: killed without a last checkpoint"
            self.kill()

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def join(self) -> None:
        """After its pipe has closed: until the trainer is gone."""
        self._end_silence()
        assert self._process is not None
        self._process.join(10)

    def how_it_ended(self) -> str:
        code = self._process.exitcode if self._process is not None else None
        if code == -signal.SIGKILL and kernel_kills() > self._kills:
            return "killed by the kernel, because memory ran out"
        return f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def _silent(self) -> float:
        return time.monotonic() - self.renewed_at

    def _end_silence(self) -> None:
        """A trainer that hears nothing for kill_after kills itself, and the worker may have been as good as dead meanwhile:
        then it is over here too, and no crash of the job's."""
        if self._silent() >= self.settings.kill_after:
            self.was_killed = self.was_killed or TOUCH
            self.kill()

    def _alive(self) -> bool:
        return self._process is not None and self._process.exitcode is None

    def _tell(self, word: bytes) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._control is not None:
                self._control.send_bytes(word)

    def _signal(self, number: int) -> None:
        with self._lock, contextlib.suppress(ProcessLookupError, PermissionError):
            process = self._process
            if process is not None and process.pid is not None and process.exitcode is None:
                if os.getpgid(process.pid) == process.pid:
                    os.killpg(process.pid, number)
                else:  # it has not got as far as setsid
                    os.kill(process.pid, number)
