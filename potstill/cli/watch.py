"""`watch`: a job's events until its end, as a live panel, as plain lines or as NDJSON."""

from collections import deque
from typing import TYPE_CHECKING

import typer

from potstill.cli.chain import tell_chain
from potstill.cli.options import JobId, Json, Seconds, connect, job_id
from potstill.cli.output import console, emit, note
from potstill.cli.report import ending

if TYPE_CHECKING:
    from contract.wire import JobView
    from potstill.cli.live import Panel
    from potstill.cli.plain import Lines
    from potstill.errors import PotstillError
    from potstill.job import Job

LAST_LINES = 10


def watch(job: JobId, timeout: Seconds = None, as_json: Json = False) -> None:
    """Follow a job to its end: exit code 0 if it succeeded, 5 failed, 6 cancelled. Ctrl-C detaches; the job goes on."""
    with connect() as client:
        watched = client.jobs.get(job_id(client, job))
        if watched.status in ("queued", "waiting", "paused") and not as_json:  # nothing may come for a long time
            note(f"{watched.name} is {watched.status}")
        raise typer.Exit(to_the_end(watched, timeout=timeout, as_json=as_json))


def to_the_end(job: "Job", *, timeout: float | None, as_json: bool) -> int:
    """Follows until the job is final; the exit code that says how it ended."""
    try:
        if not as_json:
            return show(job, timeout)
        for event in job.stream(timeout=timeout, on_lost=lost):
            emit(event, stream=True)
        emit(job.view, stream=True)
    except KeyboardInterrupt:
        note(f"detached; the job goes on — potstill watch {job.id}")
        raise typer.Exit(130) from None
    return {"succeeded": 0, "cancelled": 6}.get(job.status, 5)


def lost(error: "PotstillError") -> None:
    note(f"{error.detail} Trying again; the job does not notice.")


def show(job: "Job", timeout: float | None) -> int:
    """Draws the job until it is final, then how it ended; the exit code for that."""
    last_lines: deque[str] = deque(maxlen=LAST_LINES)
    tell_chain(job)
    over = job.view.status.final  # its history is not drawn again; `logs` has it
    with screen_for(job.view) as screen:
        for event in job.stream(timeout=timeout, on_lost=lost):
            if event.type in ("log", "warning"):
                last_lines.append(event.message)
            if not over:
                screen.show(event)
    return ending(job.view, last_lines)


def screen_for(job: "JobView") -> "Panel | Lines":
    """A panel where there is a terminal to redraw, plain lines elsewhere."""
    screen = console(stderr=True)
    if screen.is_terminal and not screen.is_dumb_terminal:
        from potstill.cli.live import Panel

        return Panel(job)
    from potstill.cli.plain import Lines

    return Lines(job)
