"""`metrics`: a job's curves, one line each."""

from typing import TYPE_CHECKING, Annotated

import typer

from potstill.cli.gauge import sparkline
from potstill.cli.options import JobId, Json, connect, job_id
from potstill.cli.output import emit, note, size, table

if TYPE_CHECKING:
    from contract.wire import Series

HEADERS = ["METRIC", "ARM", "SEED", "POINTS", "LAST", "MIN", "MAX", "CURVE"]


def metrics(
    job: JobId,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Only this metric, for example train/loss.")] = None,
    arm: Annotated[str | None, typer.Option(metavar="ARM", help="Only this arm: model, student, control or teacher.")] = None,
    points: Annotated[int, typer.Option(metavar="N", min=4, help="At most this many points of each curve; extremes are kept.")] = 500,
    as_json: Json = False,
) -> None:
    """Show a job's metrics: last value, range, and shape. --json has the points."""
    with connect() as client:
        found = client.jobs.metrics(job_id(client, job), name=name, arm=arm, max_points=points)
    if as_json:
        emit(list(found))
    elif found:
        table(HEADERS, map(row, found))
    else:
        note("no such metrics; without --name and --arm come all" if name or arm else "no metrics yet; they come with the first steps")


def row(series: "Series") -> tuple[object, ...]:
    values = [value for _, value, _ in series.points]
    written = size if series.name.endswith("_bytes") else "{:.4g}".format
    numbers = [written(number) for number in (values[-1], min(values), max(values))] if values else ["", "", ""]
    return series.name, series.arm, series.seed, f"{series.total_points:,}", *numbers, sparkline(values)
