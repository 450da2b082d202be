"""Parameters that many commands share, and the way to the service."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from potstill.client import Client

T = TypeVar("T")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="A job's id, or `last` for the newest.")]
JobIds = Annotated[list[str], typer.Argument(metavar="ID", help="Ids of jobs; `last` is the newest.")]
Seconds = Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", min=0.0, help="Stop waiting after this long (exit code 7).")]


def first(found: Iterator[T], limit: int) -> tuple[list[T], str | None]:
    """The first of these, and what to tell of the others; None where there are none."""
    shown = list(islice(found, limit + 1))
    return shown[:limit], f"there are more; -n {10 * limit} shows older ones" if len(shown) > limit else None


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
