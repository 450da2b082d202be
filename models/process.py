"""What every process of the service does alike: how it writes its log, and how it takes the end of its terminal."""

import contextlib
import io
import logging
import os
import signal
import stat
import sys
from collections.abc import Callable
from types import FrameType
from typing import TextIO, cast

import structlog

from models.settings import StoreSettings


def log_to_stderr(settings: StoreSettings) -> None:
    """One line for each event, for a reader or for a machine: ours through structlog, libraries' warnings through logging."""
    terminal = sys.stderr.isatty()
    plain = settings.log_format == "console" or (settings.log_format == "auto" and terminal)
    colours = terminal and "NO_COLOR" not in os.environ
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)
        if plain
        else structlog.processors.JSONRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *([] if plain else [structlog.processors.format_exc_info]),
    ]
    structlog.configure(processors=[*shared, renderer], logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Stderr())))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer], foreign_pre_chain=shared
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


class _Stderr(io.TextIOBase):
    """A terminal that was closed takes no words, and a word is not worth the thread that says it."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            return sys.stderr.write(text)
        return 0

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def leave_on_hangup(leave: Callable[[int, FrameType | None], object]) -> None:
    """SIGHUP asks to leave, like SIGTERM, unless somebody wanted it ignored (nohup). What else is printed goes nowhere then: it
    would be an error in the middle of the farewell."""

    def hung_up(number: int, frame: FrameType | None) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                os.dup2(nowhere, descriptor)
        os.close(nowhere)
        leave(number, frame)

    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, hung_up)
