"""`keys`: create, ls, revoke."""

from typing import Annotated

import typer

from potstill.cli.options import Json, connect
from potstill.cli.output import age, clean, emit, line, note, table

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Create, list and revoke API keys.")


@app.command()
def create(name: Annotated[str, typer.Argument(metavar="NAME", help="Who or what it is for.")], as_json: Json = False) -> None:
    """Create a key. It is printed once, to stdout, and cannot be shown again."""
    with connect() as client:
        key = client.keys.create(name)
    if as_json:
        emit(key)
        return
    line("✓", "created", f"{key.id} · {key.name}")
    print(clean(key.secret or ""))
    note("keep it now: it cannot be shown again")


@app.command()
def ls(as_json: Json = False) -> None:
    """List keys, newest first."""
    with connect() as client:
        found = list(client.keys.list())
    if as_json:
        emit(found)
        return
    rows = [(k.id, k.name, f"{k.prefix}…", age(k.created_at), f"revoked {age(k.revoked_at)}" if k.revoked_at else "valid") for k in found]
    table(["ID", "NAME", "BEGINS WITH", "CREATED", "STATE"], rows)


@app.command()
def revoke(key: Annotated[str, typer.Argument(metavar="ID", help="A key's id, key_….")], as_json: Json = False) -> None:
    """Revoke a key. What it created stays."""
    with connect() as client:
        client.keys.revoke(key)
    if as_json:
        emit({"id": key, "revoked": True})
    else:
        line("✓", "revoked", key)
