"""`jobs`, `show`, and the verbs that steer: cancel, pause, resume, retry, rm."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from potstill.cli.chain import tell_chain
from potstill.cli.options import JobId, JobIds, Json, connect, first, job_id
from potstill.cli.output import age, duration, emit, fields, line, note, prose, size, table
from potstill.cli.report import classes_table, headline, report_table
from potstill.cli.told import deleted

if TYPE_CHECKING:
    from contract.wire import JobView
    from potstill.client import Client
    from potstill.job import Job


def jobs(
    status: Annotated[list[str] | None, typer.Option(metavar="STATUS", help="Only jobs of this status; may be repeated.")] = None,
    kind: Annotated[str | None, typer.Option(metavar="KIND", help="train, distill, evaluate or export.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Only jobs of this name.")] = None,
    parent: Annotated[str | None, typer.Option(metavar="ID", help="The runs of this job.")] = None,
    metadata: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only jobs that carry this; may be repeated.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="How many.")] = 20,
    as_json: Json = False,
) -> None:
    """List jobs, newest first."""
    tags = dict(_pair(text) for text in metadata or [])
    with connect() as client:
        found, more = first(client.jobs.list(status=status or [], kind=kind, name=name, parent=parent, metadata=tags), limit)
    views = [job.view for job in found]
    if as_json:
        emit(views)
    elif views:
        table(["ID", "NAME", "KIND", "STATUS", "CREATED"], [_row(view) for view in views], cut=1)
        if more is not None:
            note(more)
    elif status or kind or name or parent or tags:
        note("no such jobs; `potstill jobs` lists all")
    else:
        note("no jobs yet; `potstill submit SPEC` queues one, and examples/ has specs to start from")


def show(
    job: JobId,
    classes: Annotated[bool, typer.Option("--classes", help="Also the figures of each class.")] = False,
    spec: Annotated[bool, typer.Option("--spec", help="Only its spec, as YAML, to submit it again.")] = False,
    as_json: Json = False,
) -> None:
    """Show one job: where it stands, the jobs it waits for, its spec's outcome, its report."""
    with connect() as client:
        found = client.jobs.get(job_id(client, job))
        view = found.view
        if spec:
            from contract.document import to_yaml

            print(to_yaml(view.spec, ascii_only=True), end="")
            return
        if as_json:
            emit(view)
            return
        _told(view)
        tell_chain(found, stderr=False)
    if view.report:
        print()
        report_table(view.report)
        if classes:
            classes_table(view.report)
        prose(headline(view.report))
    if (verb := _next(view)) is not None:
        note(f"next: potstill {verb} {view.id}")


def _next(view: "JobView") -> str | None:
    if view.status == "succeeded":
        return "pull" if view.model else None
    return {"failed": "logs", "cancelled": "retry", "paused": "resume"}.get(view.status, "watch")


def _told(view: "JobView") -> None:
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
            ("part of", view.parent),
            ("retry of", view.retry_of),
            ("model", view.model),
            ("metadata", ", ".join(f"{key}={value}" for key, value in view.metadata.items())),
            *((name, size(value) if name.endswith("_bytes") else f"{value:.4g}") for name, value in view.latest.items()),
            ("error", f"{view.error.code}: {view.error.message}" if view.error else None),
            ("hint", view.error.hint if view.error else None),
            *(("warning", warning) for warning in view.warnings),
        ]
    )
    sys.stdout.flush()


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
            deleted(id_, client.jobs.delete(id_, dry_run=dry_run), as_json=as_json, stream=True)


def _each(ids: list[str], act: "Callable[[Client, str], Job]", as_json: bool) -> None:
    with connect() as client:
        for given in ids:
            job = act(client, job_id(client, given))
            if as_json:
                emit(job.view, stream=True)
            else:
                line("✓", job.status, job.id)


def _row(view: "JobView") -> tuple[object, ...]:
    return view.id, view.name, view.kind, " ".join(filter(None, [view.status, _share(view)])), age(view.created_at)


def _share(view: "JobView") -> str:
    done, total = view.progress.step, view.progress.total_steps
    return f"{done / total:.0%}" if done is not None and total and not view.status.final else ""


def _progress(view: "JobView") -> str:
    phase = str(view.progress.phase or "").replace("_", " ")
    return "" if view.status.final else " ".join(filter(None, [phase, _share(view)]))


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise typer.BadParameter(f"{text!r} is not KEY=VALUE.", param_hint="--metadata")
    return key, value
