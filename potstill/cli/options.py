"""Parameters that many commands share, and the way to the service."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from potstill.client import Client

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="A job's id, or `last` for the newest.")]
JobIds = Annotated[list[str], typer.Argument(metavar="ID", help="Ids of jobs; `last` is the newest.")]
Seconds = Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", min=0.0, help="Stop waiting after this long (exit code 7).")]


def connect() -> "Client":
    from potstill.client import Client

    return Client()


def job_id(client: "Client", given: str) -> str:
    """The id meant; only `last` has to be asked for."""
    if given != "last":
        return given
    newest = client.jobs.page(limit=1).data
    if not newest:
        from potstill.errors import NotFound

        raise NotFound("There are no jobs yet.", hint="Submit one: potstill submit SPEC")
    return newest[0].id
