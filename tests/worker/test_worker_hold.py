"""Why a trainer is gone: its exit, its signal, or a kernel that had no memory left."""

import os
import signal
from multiprocessing import get_context
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

import pytest
import structlog

from worker import hold
from worker.hold import Hold
from worker.settings import Settings


def _end(code: int) -> None:
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)


@pytest.mark.parametrize(
    ("code", "kills", "how"),
    [
        (3, 1, "exit code 3"),
        (-signal.SIGKILL, 0, "killed by signal 9"),
        (-signal.SIGKILL, 1, "killed by the kernel, because memory ran out"),
        (-signal.SIGSEGV, 1, "killed by signal 11"),
    ],
)
def test_how_a_trainer_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kills: int, how: str) -> None:
    assert hold.kernel_kills() >= 0  # this machine's own
    counts = tmp_path / "vmstat"
    monkeypatch.setattr(hold, "VMSTAT", counts)
    counts.write_text("nr_free_pages 1\noom_kill 7\n")
    held = Hold(Settings(home=tmp_path), structlog.get_logger())
    process: Any = get_context("spawn").Process(target=_end, args=(code,))
    process.start()
    held.hold(process, Pipe()[0])
    counts.write_text(f"nr_free_pages 1\noom_kill {7 + kills}\n")
    held.join()
    assert held.how_it_ended() == how
