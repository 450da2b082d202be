"""`compare`: jobs side by side, only what differs, and what came out."""

from typing import Annotated

import typer

from contract.compare import MOST
from contract.compare import compare as side_by_side
from potstill.cli.options import JobIds, Json, connect, job_id
from potstill.cli.output import compact, emit, table


def compare(
    job: JobIds, everything: Annotated[bool, typer.Option("--all", help="Also the parameters they share.")] = False, as_json: Json = False
) -> None:
    """Put jobs side by side: the parameters in which they differ, and their results."""
    if not 2 <= len(job) <= MOST:
        raise typer.BadParameter(f"Give 2 to {MOST} jobs.")
    with connect() as client:
        views = [client.jobs.get(job_id(client, given)).view for given in job]
    shown, results = side_by_side(views, everything=everything)
    if as_json:
        emit({"jobs": [view.id for view in views], "parameters": shown, "results": results})
        return
    table(["ID", "NAME"], [(view.id, view.name) for view in views], cut=1)
    print(flush=True)
    called = {view.id: view.name for view in views}
    rows: list[tuple[object, ...]] = [("status", *(view.status for view in views))]
    rows += [(name, *(_value(value, called) for value in values)) for name, values in shown.items()]
    rows += [(name, *("–" if value is None else _number(name, value) for value in values)) for name, values in results.items()]
    table(["", *(view.name for view in views)], rows)


def _value(value: object, called: dict[str, str]) -> object:
    """One of the jobs shown by its name, numbers without the noise of their last digits."""
    if value is None:
        return "–"
    return f"{value:.10g}" if isinstance(value, float) else called.get(value, value) if isinstance(value, str) else value


def _number(name: str, value: float) -> str:
    return compact(value) if name.endswith("parameters") else f"{value:.4f}"
