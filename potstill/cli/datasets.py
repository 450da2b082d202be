"""`datasets`: add, ls, show, rm."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from potstill.cli.options import Json, connect
from potstill.cli.output import age, emit, fields, line, note, size, table

if TYPE_CHECKING:
    from contract.wire import DatasetView

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Upload, list, show and remove datasets.")
DatasetId = Annotated[str, typer.Argument(metavar="ID", help="A dataset's id, ds_….")]


@app.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=".npz .csv .jsonl .parquet, also .gz")],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="By default the file's name.")] = None,
    as_json: Json = False,
) -> None:
    """Upload a file. The same bytes give the same dataset."""
    with connect() as client:
        dataset = client.datasets.upload(file, name)
    if as_json:
        emit(dataset)
        return
    line("✓", "uploaded", f"{dataset.name} · {_splits(dataset)} · {size(dataset.size_bytes)}")
    print(dataset.id)


@app.command()
def ls(as_json: Json = False) -> None:
    """List datasets, newest first."""
    with connect() as client:
        found = list(client.datasets.list())
    if as_json:
        emit(found)
    elif found:
        rows = [(d.id, d.name, d.format, _splits(d), size(d.size_bytes), age(d.created_at)) for d in found]
        table(["ID", "NAME", "FORMAT", "ROWS", "SIZE", "CREATED"], rows)
    else:
        note("no datasets yet; `digits` is built in, and `potstill datasets add FILE` uploads one")


@app.command()
def show(dataset: DatasetId, as_json: Json = False) -> None:
    """Show a dataset's columns and first rows."""
    with connect() as client:
        found, preview = client.datasets.get(dataset), client.datasets.preview(dataset)
    if as_json:
        emit({"dataset": found.model_dump(mode="json"), "preview": preview.model_dump(mode="json")})
        return
    fields(
        [
            ("id", found.id),
            ("name", found.name),
            ("format", found.format),
            ("rows", _splits(found)),
            ("size", size(found.size_bytes)),
            ("sha256", found.sha256),
            ("classes", ", ".join(found.classes or [])),
            ("created", age(found.created_at)),
        ]
    )
    print()
    table(["COLUMN", "TYPE", "SHAPE"], [(c.name, c.type, "×".join(map(str, c.shape)) or "–") for c in found.columns])
    print()
    table(preview.columns, [[_short(value) for value in row] for row in preview.rows])


@app.command()
def rm(dataset: DatasetId, as_json: Json = False) -> None:
    """Remove a dataset that no unfinished job needs."""
    with connect() as client:
        client.datasets.delete(dataset)
    if as_json:
        emit({"id": dataset, "deleted": True})
    else:
        line("✓", "deleted", dataset)


def _splits(dataset: "DatasetView") -> str:
    return ", ".join(f"{name} {split.rows:,}" for name, split in dataset.splits.items())


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:39] + "…"
