"""`pull`: a job's student onto this disk."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from potstill.cli.options import JobId, Json, connect, job_id
from potstill.cli.output import clean, console, emit, line, size

if TYPE_CHECKING:
    from potstill.job import Job

Folder = Annotated[Path | None, typer.Argument(metavar="DIR", help="Where to; by default ./<name>-<end of the id>.")]


def pull(
    job: JobId,
    folder: Folder = None,
    kind: Annotated[str | None, typer.Option(metavar="KIND", help="Files of this kind instead: tensorboard, wandb, log, …")] = None,
    as_json: Json = False,
) -> None:
    """Download a job's student and report. A broken download goes on where it stopped; every file's SHA-256 is checked."""
    with connect() as client:
        fetch(client.jobs.get(job_id(client, job)), folder, as_json, kind)


def fetch(job: "Job", folder: Path | None, as_json: bool, kind: str | None = None) -> None:
    """Pulls with a progress bar on a terminal; prints the folder."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

    columns = (TextColumn("  {task.description}", markup=False), BarColumn(24), DownloadColumn(), TransferSpeedColumn())
    totals: dict[str, int] = {}
    with Progress(*columns, console=console(stderr=True), transient=True, disable=not console(stderr=True).is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def on_bytes(path: str, done: int, total: int) -> None:
            totals[path] = total
            if path not in tasks:
                tasks[path] = bars.add_task(clean(path), total=total)
            bars.update(tasks[path], completed=done)

        where = job.pull(folder, on_bytes, kind=kind)
    if as_json:
        emit({"job": job.id, "path": str(where), "files": sorted(totals), "bytes": sum(totals.values())})
        return
    line("✓", "pulled", f"{len(totals)} files, {size(sum(totals.values()))}, checksums right")
    print(where)
