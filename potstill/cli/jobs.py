"""`jobs`, `show`, and the verbs that steer: cancel, pause, resume, retry, rm."""

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from potstill.cli.options import JobId, JobIds, Json, connect, job_id
from potstill.cli.output import age, clean, duration, emit, fields, line, note, plain, size, table
from potstill.cli.report import headline, report_table

if TYPE_CHECKING:
    from contract.wire import JobView
    from potstill.client import Client
    from potstill.job import Job


def jobs(
    status: Annotated[list[str] | None, typer.Option(help="Only jobs of this status; may be repeated.")] = None,
    kind: Annotated[str | None, typer.Option(help="train, distill or evaluate.")] = None,
    name: Annotated[str | None, typer.Option(help="Only jobs of this name.")] = None,
    parent: Annotated[str | None, typer.Option(metavar="ID", help="The runs of this job.")] = None,
    metadata: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only jobs that carry this; may be repeated.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 20,
    as_json: Json = False,
) -> None:
    """List jobs, newest first."""
    tags = dict(_pair(text) for text in metadata or [])
    with connect() as client:
        found = client.jobs.list(status=status or [], kind=kind, name=name, parent=parent, metadata=tags)
        views = [job.view for job in islice(found, limit)]
    if as_json:
        emit(views)
    elif views:
        table(["ID", "NAME", "KIND", "STATUS", "PROGRESS", "CREATED"], [_row(view) for view in views])
    else:
        note("no jobs")


def show(job: JobId, as_json: Json = False) -> None:
    """Show one job: where it stands, its spec's outcome, its report."""
    with connect() as client:
        view = client.jobs.get(job_id(client, job)).view
    if as_json:
        emit(view)
        return
    ended = view.finished_at
    fields(
        [
            ("id", view.id),
            ("name", view.name),
            ("kind", view.kind),
            ("status", view.status),
            ("because", None if view.status.final else view.status_reason),
            ("progress", _progress(view)),
            ("created", age(view.created_at)),
            ("took", duration((ended - view.started_at).total_seconds()) if ended and view.started_at else None),
            ("attempt", view.attempt),
            ("after", ", ".join(view.depends_on)),
            ("part of", view.parent),
            ("retry of", view.retry_of),
            ("model", view.model),
            ("metadata", ", ".join(f"{key}={value}" for key, value in view.metadata.items())),
            *((name, f"{value:.4g}") for name, value in view.latest.items()),
            ("error", f"{view.error.code}: {view.error.message}" if view.error else None),
            ("hint", view.error.hint if view.error else None),
            *(("warning", warning) for warning in view.warnings),
        ]
    )
    if view.report:
        print()
        report_table(view.report)
        print(clean(headline(view.report)))


def cancel(job: JobIds, as_json: Json = False) -> None:
    """Cancel jobs. A running one stops at its next step and keeps its last checkpoint."""
    _each(job, lambda client, id_: client.jobs.cancel(id_), as_json)


def pause(job: JobIds, as_json: Json = False) -> None:
    """Pause jobs at their next step, with a checkpoint."""
    _each(job, lambda client, id_: client.jobs.pause(id_), as_json)


def resume(job: JobIds, as_json: Json = False) -> None:
    """Let paused jobs go on."""
    _each(job, lambda client, id_: client.jobs.resume(id_), as_json)


def retry(
    job: JobIds,
    fresh: Annotated[bool, typer.Option("--fresh", help="From the beginning, not from the last checkpoint.")] = False,
    as_json: Json = False,
) -> None:
    """Run failed or cancelled jobs again, as new jobs. Prints the new ids."""
    with connect() as client:
        for given in job:
            again = client.jobs.retry(job_id(client, given), fresh=fresh)
            if as_json:
                emit(again.view, stream=True)
            else:
                line("✓", again.status, f"{again.id} · in place of {again.view.retry_of}")
                print(again.id)


def rm(
    job: JobIds, dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be freed.")] = False, as_json: Json = False
) -> None:
    """Delete finished jobs with their checkpoints and files. Their models go with them."""
    with connect() as client:
        for given in job:
            id_ = job_id(client, given)
            freed = client.jobs.delete(id_, dry_run=dry_run)
            if as_json:
                emit({"id": id_, "deleted": not dry_run, **(plain(freed) or {})}, stream=True)
            elif freed:
                print(f"{clean(id_)}: would free {size(freed.freed_bytes)} in {freed.files} files")
            else:
                line("✓", "deleted", id_)


def _each(ids: list[str], act: "Callable[[Client, str], Job]", as_json: bool) -> None:
    with connect() as client:
        for given in ids:
            job = act(client, job_id(client, given))
            if as_json:
                emit(job.view, stream=True)
            else:
                line("✓", job.status, job.id)


def _row(view: "JobView") -> tuple[object, ...]:
    return view.id, view.name, view.kind, view.status, _progress(view), age(view.created_at)


def _progress(view: "JobView") -> str:
    if view.status.final:
        return ""
    done, total = view.progress.step, view.progress.total_steps
    share = f"{done / total:.0%}" if done is not None and total else ""
    return " ".join(filter(None, [view.progress.phase, share]))


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise typer.BadParameter(f"{text!r} is not KEY=VALUE.", param_hint="--metadata")
    return key, value
