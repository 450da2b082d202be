"""`logs`: what a job said."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from potstill.cli.options import JobId, Json, connect, job_id
from potstill.cli.output import clean, emit, note
from potstill.cli.watch import lost

if TYPE_CHECKING:
    from contract.wire import EventView

SAID = ("log", "warning")


def logs(
    job: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing until the job has ended.")] = False,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="log, warning, status, phase, checkpoint, metrics; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a job's log. Ctrl-C while following detaches; the job goes on."""
    wanted = tuple(types or SAID)
    with connect() as client:
        id_ = job_id(client, job)
        if not follow:
            if not _print(client.jobs.events(id_, types=wanted), as_json):
                note(f"nothing of {' or '.join(wanted)}; its history: potstill logs {id_} --type status --type phase")
            return
        try:
            _print((event for event in client.jobs.get(id_).stream(on_lost=lost) if event.type in wanted), as_json)
        except KeyboardInterrupt:
            note(f"detached; the job goes on — potstill logs -f {id_}")
            raise typer.Exit(130) from None


def _print(events: "Iterable[EventView]", as_json: bool) -> int:
    """How many there were."""
    count = 0
    for event in events:
        count += 1
        if as_json:
            emit(event, stream=True)
        else:
            word = event.level if event.level != "info" else event.type
            mark = "" if word == "log" else f"{word}: "
            said = clean(event.message, keep="\n\t").replace("\n", "\n" + " " * 10)
            print(f"{event.created_at.astimezone():%H:%M:%S}  {mark}{said}", flush=True)
    return count
