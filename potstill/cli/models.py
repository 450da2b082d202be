"""`models`: ls, show, pull, push, rm."""

from pathlib import Path
from typing import Annotated

import typer

from potstill.cli.options import Json, connect
from potstill.cli.output import age, compact, emit, fields, line, note, size, table
from potstill.cli.pull import Folder, fetch

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="List, show, pull, push and remove models.")
ModelId = Annotated[str, typer.Argument(metavar="ID", help="A model's id, mdl_….")]


@app.command()
def ls(as_json: Json = False) -> None:
    """List models, newest first."""
    with connect() as client:
        found = list(client.models.list())
    if as_json:
        emit(found)
    elif found:
        rows = [(m.id, m.name, m.task, compact(m.parameters), size(m.size_bytes), m.job or "uploaded", age(m.created_at)) for m in found]
        table(["ID", "NAME", "TASK", "PARAMETERS", "SIZE", "FROM", "CREATED"], rows)
    else:
        note("no models yet; a job that succeeds makes one, and `potstill models push DIR` uploads one")


@app.command()
def show(model: ModelId, as_json: Json = False) -> None:
    """Show a model and its configuration."""
    with connect() as client:
        found = client.models.get(model)
    if as_json:
        emit(found)
        return
    fields(
        [
            ("id", found.id),
            ("name", found.name),
            ("task", found.task),
            ("from", found.job or "an upload"),
            ("parameters", compact(found.parameters)),
            ("size", size(found.size_bytes)),
            ("created", age(found.created_at)),
            *((f"config.{name}", value) for name, value in found.config.items()),
        ]
    )


@app.command()
def pull(model: ModelId, folder: Folder = None, as_json: Json = False) -> None:
    """Download a model: the student of the job that made it."""
    with connect() as client:
        found = client.models.get(model)
        if found.job is None:
            from potstill.errors import Refused

            raise Refused(f"{found.id} was uploaded; the service hands out the files of jobs.", hint="They are where you pushed them from.")
        fetch(client.jobs.get(found.job), folder, as_json)


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="With model.safetensors and config.json.")],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="By default the folder's name.")] = None,
    as_json: Json = False,
) -> None:
    """Upload a model folder, to be a teacher or a student's start."""
    with connect() as client:
        found = client.models.upload(folder, name)
    if as_json:
        emit(found)
        return
    line("✓", "uploaded", f"{found.name} · {compact(found.parameters)} parameters · {size(found.size_bytes)}")
    print(found.id)


@app.command()
def rm(model: ModelId, as_json: Json = False) -> None:
    """Remove a model that no unfinished job needs."""
    with connect() as client:
        client.models.delete(model)
    if as_json:
        emit({"id": model, "deleted": True})
    else:
        line("✓", "deleted", model)
