"""A job's report and end, in words and one table."""

import sys
from typing import TYPE_CHECKING, Any

from potstill.cli.output import clean, compact, duration, line, note, size, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contract.wire import JobView

EXIT_FAILED, EXIT_CANCELLED = 5, 6


def headline(report: dict[str, Any]) -> str:
    return str(report.get("verdict") or "")


def arms_of(report: dict[str, Any]) -> "tuple[list[str], list[tuple[str, ...]]]":
    """Headers and rows, one row for each arm: its metric, its size, its speed."""
    metric = str(report.get("metric", ""))
    arrow = "↑" if report.get("higher_is_better", True) else "↓"
    headers = ["ARM", f"{metric} {arrow}".upper(), "95 %", "PARAMETERS", "SIZE", "1 ROW"]
    return headers, [_arm_row(name, arm, metric) for name, arm in _arms(report)]


def report_table(report: dict[str, Any]) -> None:
    """The arms; of several tasks a second table with the metric of each."""
    table(*arms_of(report))
    metric = str(report.get("metric", ""))
    tasks = [name for name in (_arms(report) or [("", {})])[0][1].get("metrics", {}) if name.startswith(f"{metric}/")]
    if tasks:
        table(
            ["TASK", *(name.upper() for name, _ in _arms(report))],
            [(name.removeprefix(f"{metric}/"), *(_with_interval(*_figure(arm, name)) for _, arm in _arms(report))) for name in tasks],
        )
    for warning in (report.get("diagnosis") or {}).get("warnings", []):
        line("!", "warning", clean(warning), stderr=False)


def classes_table(report: dict[str, Any]) -> None:
    """F1 of each class in each arm, and by how much the student is ahead of the same student alone."""
    rows = report.get("per_class")
    if not rows:
        note("this report has no classes: its rows have none or several, or there are more than 60")
        return
    arms = list(rows[0]["arms"])
    gains = ["GAIN", "95 %"] if "gain" in rows[0] else []
    table(["CLASS", "ROWS", *(f"{arm} F1".upper() for arm in arms), *gains], [_class_row(row, arms) for row in rows])


def _class_row(row: dict[str, Any], arms: list[str]) -> tuple[str, ...]:
    found = (clean(row["class"]), f"{row['rows']:,}", *(f"{row['arms'][arm]['f1']:.4f}" for arm in arms))
    if "gain" not in row:
        return found
    interval = " to ".join(f"{bound:+.4f}" for bound in row["gain"]["ci95"] or [])
    return (*found, f"{row['gain']['mean']:+.4f}", interval or "–")


def well(word: str, report: dict[str, Any], took: str = "") -> None:
    """How a job or a run ended well: the verdict, the arms, and what its diagnosis warns of."""
    line("✓", word, " · ".join(filter(None, [took, headline(report)])), stderr=False)
    if _arms(report):
        report_table(report)
    sys.stdout.flush()  # what stderr says next stands below


def _arms(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(name, arm) for name, arm in report.get("arms", {}).items() if arm]


def _arm_row(name: str, arm: dict[str, Any], metric: str) -> tuple[str, ...]:
    value, interval = _figure(arm, metric)
    latency = (arm.get("latency_ms") or {}).get("p50")
    return (
        name,
        value,
        interval or "–",
        _parameters(arm),
        size(arm["size_bytes"]) if arm.get("size_bytes") is not None else "–",
        f"{latency:.3g} ms" if latency is not None else "–",
    )


def _parameters(arm: dict[str, Any]) -> str:
    if arm.get("parameters") is None:
        return "–"
    trained = arm.get("trainable_parameters")
    return compact(arm["parameters"]) + (f" ({compact(trained)} trained)" if trained is not None else "")


def _figure(arm: dict[str, Any], metric: str) -> tuple[str, str]:
    """The mean with its spread, and the interval."""
    measured = arm.get("metrics", {}).get(metric) or {}
    spread = f" ± {measured['std']:.4f}" if len(measured.get("values") or []) > 1 else ""
    interval = " to ".join(f"{bound:.4f}" for bound in measured.get("ci95") or [])
    return f"{measured['mean']:.4f}{spread}" if measured.get("mean") is not None else "–", interval


def _with_interval(value: str, interval: str) -> str:
    return f"{value} ({interval})" if interval else value


def ending(job: "JobView", last_lines: "Sequence[str]") -> int:
    """Tells how a job ended; the exit code for it. A failure: cause, hint, the last it said, and where the rest is."""
    started = job.started_at or job.created_at
    took = duration((job.finished_at - started).total_seconds()) if job.finished_at else ""
    if job.status == "succeeded":
        well("succeeded", job.report or {}, took)
        line(" ", "", f"next: potstill {'pull' if job.model else 'show'} {job.id}")
        return 0
    if job.status == "cancelled":
        line("!", "cancelled", took, hint=f"potstill retry {job.id} goes on from the last checkpoint")
        return EXIT_CANCELLED
    cause = f"{job.error.code}: {job.error.message}" if job.error else job.status_reason or "no reason was given"
    line("✗", "failed", " · ".join(filter(None, [took, cause])), hint=job.error.hint if job.error else None)
    for said in last_lines:
        line(" ", "", clean(said))
    line(" ", "", f"all it said: potstill logs {job.id}")
    return EXIT_FAILED
