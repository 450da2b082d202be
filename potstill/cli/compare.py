"""`compare`: jobs side by side, only what differs, and what came out."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from potstill.cli.options import JobIds, Json, connect, job_id
from potstill.cli.output import compact, emit, table

if TYPE_CHECKING:
    from contract.wire import JobView

MOST = 10


def compare(
    job: JobIds, everything: Annotated[bool, typer.Option("--all", help="Also the parameters they share.")] = False, as_json: Json = False
) -> None:
    """Put jobs side by side: the parameters in which they differ, and their results."""
    if not 2 <= len(job) <= MOST:
        raise typer.BadParameter(f"Give 2 to {MOST} jobs.")
    with connect() as client:
        views = [client.jobs.get(job_id(client, given)).view for given in job]
    flat = [_flat(view.resolved_spec) for view in views]
    names = [name for name in dict.fromkeys(name for one in flat for name in one) if name not in ("name", "metadata")]
    parameters = {name: [one.get(name) for one in flat] for name in names}
    shown = {name: values for name, values in parameters.items() if everything or any(value != values[0] for value in values)}
    results = _results(views)
    if as_json:
        emit({"jobs": [view.id for view in views], "parameters": shown, "results": results})
        return
    rows: list[tuple[object, ...]] = [("job", *(view.id for view in views)), ("status", *(view.status for view in views))]
    rows += [(name, *("–" if value is None else value for value in values)) for name, values in shown.items()]
    rows += [(name, *("–" if value is None else _number(name, value) for value in values)) for name, values in results.items()]
    table(["", *(view.name for view in views)], rows)


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """{"training": {"seed": 1}} → {"training.seed": 1}; lists of mappings by position, other lists whole."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {} if value is None else {name: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{name}.{key}" if name else str(key))
    return found


def _results(views: "list[JobView]") -> dict[str, list[float | None]]:
    """Each arm's metric and the student's size; of jobs without a report the latest validation metrics."""
    columns = [_of_report(view.report) if view.report else _of_latest(view) for view in views]
    names = dict.fromkeys(name for column in columns for name in column)
    return {name: [column.get(name) for column in columns] for name in names}


def _of_report(report: dict[str, Any]) -> dict[str, float]:
    metric, arrow = str(report.get("metric")), "↑" if report.get("higher_is_better", True) else "↓"
    found: dict[str, float] = {}
    for name, arm in report.get("arms", {}).items():
        if arm and (measured := arm.get("metrics", {}).get(metric)):
            found[f"{name} {metric} {arrow}"] = measured["mean"]
            found[f"{name} parameters"] = arm["parameters"]
    return found


def _of_latest(view: "JobView") -> dict[str, float]:
    return {name: value for name, value in view.latest.items() if name.startswith("validation/")}


def _number(name: str, value: float) -> str:
    return compact(value) if name.endswith("parameters") else f"{value:.4f}"
