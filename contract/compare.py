"""Jobs side by side: the parameters in which they differ, and what came out."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from contract.wire import JobView

MOST = 10


class Compared(NamedTuple):
    """Rows of a table, one value for each job: parameters, and results (numbers, None where a job has none)."""

    parameters: dict[str, list[Any]]
    results: dict[str, list[float | None]]


def compare(views: Sequence[JobView], *, everything: bool = False) -> Compared:
    """everything: also the parameters they share."""
    specs = [flat(view.resolved_spec) for view in views]
    names = [name for name in dict.fromkeys(name for one in specs for name in one) if name not in ("name", "metadata")]
    parameters = {name: [one.get(name) for one in specs] for name in names}
    shown = {name: values for name, values in parameters.items() if everything or any(value != values[0] for value in values)}
    return Compared(shown, _results(views))


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """{"training": {"seed": 1}} → {"training.seed": 1}; lists of mappings by position, other lists whole."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {} if value is None else {name: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= flat(inner, f"{name}.{key}" if name else str(key))
    return found


def _results(views: Sequence[JobView]) -> dict[str, list[float | None]]:
    """Each arm's metric and size, of exported files in bytes; of jobs without a report the latest validation metrics."""
    columns = [_of_report(view.report) if view.report else _of_latest(view) for view in views]
    names = dict.fromkeys(name for column in columns for name in column)
    return {name: [column.get(name) for column in columns] for name in names}


def _of_report(report: dict[str, Any]) -> dict[str, float]:
    metric, arrow = str(report.get("metric")), "↑" if report.get("higher_is_better", True) else "↓"
    found: dict[str, float] = {}
    written = (report.get("export") or {}).get("files", {})
    for name, arm in report.get("arms", {}).items():
        if arm and (measured := arm.get("metrics", {}).get(metric)):
            found[f"{name} {metric} {arrow}"] = measured["mean"]
            if name not in written:
                found[f"{name} parameters"] = arm["parameters"]
            else:
                found |= {f"{name} bytes": arm["size_bytes"], f"{name} ms for a row": arm["latency_ms"]["p50"]}
    return found


def _of_latest(view: JobView) -> dict[str, float]:
    return {name: value for name, value in view.latest.items() if name.startswith("validation/")}
