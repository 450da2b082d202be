"""`audit`: who did what."""

from typing import Annotated

import typer

from potstill.cli.options import Json, connect, first
from potstill.cli.output import emit, note, table


def audit(
    action: Annotated[list[str] | None, typer.Option(metavar="ACTION", help="Only these, key.created say; may be repeated.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=100_000, help="How many.")] = 50,
    as_json: Json = False,
) -> None:
    """Print who made and revoked keys, logged in, deleted what, and was refused for want of room, newest first."""
    with connect() as client:
        found, more = first(client.audit.list(action), limit)  # type: ignore[arg-type]  # the service knows the actions
    if as_json:
        emit(found)
    elif found:
        rows = [
            (
                f"{e.created_at.astimezone():%Y-%m-%d %H:%M:%S}",
                e.action,
                e.subject or "",
                str(e.data.get("name") or e.data.get("detail") or ""),
                e.key or "operator",
                e.address or "",
            )
            for e in found
        ]
        table(["WHEN", "WHAT", "ON", "CALLED", "BY KEY", "FROM"], rows)
        if more is not None:
            note(more)
    else:
        note("nothing yet")
