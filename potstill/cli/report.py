"""A job's report and end, in words and one table."""

from typing import TYPE_CHECKING, Any

from potstill.cli.output import clean, compact, duration, line, size, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contract.wire import JobView

EXIT_FAILED, EXIT_CANCELLED = 5, 6


def headline(report: dict[str, Any]) -> str:
    return str(report.get("verdict") or "")


def report_table(report: dict[str, Any]) -> None:
    """One row for each arm: its metric, its size, its speed."""
    metric = str(report.get("metric", ""))
    arrow = "↑" if report.get("higher_is_better", True) else "↓"
    table(
        ["ARM", f"{metric} {arrow}".upper(), "95 %", "PARAMETERS", "SIZE", "1 ROW"],
        [_arm_row(name, arm, metric) for name, arm in _arms(report)],
    )
    for warning in (report.get("diagnosis") or {}).get("warnings", []):
        line("!", "warning", clean(warning), stderr=False)


def _arms(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(name, arm) for name, arm in report.get("arms", {}).items() if arm]


def _arm_row(name: str, arm: dict[str, Any], metric: str) -> tuple[str, ...]:
    measured = arm.get("metrics", {}).get(metric) or {}
    spread = f" ± {measured['std']:.4f}" if len(measured.get("values") or []) > 1 else ""
    interval = " to ".join(f"{bound:.4f}" for bound in measured.get("ci95") or [])
    latency = (arm.get("latency_ms") or {}).get("p50")
    return (
        name,
        f"{measured['mean']:.4f}{spread}" if measured.get("mean") is not None else "–",
        interval or "–",
        compact(arm["parameters"]) if arm.get("parameters") is not None else "–",
        size(arm["size_bytes"]) if arm.get("size_bytes") is not None else "–",
        f"{latency:.3g} ms" if latency is not None else "–",
    )


def ending(job: "JobView", last_lines: "Sequence[str]") -> int:
    """Tells how a job ended; the exit code for it. A failure: cause, hint, the last it said, and where the rest is."""
    started = job.started_at or job.created_at
    took = duration((job.finished_at - started).total_seconds()) if job.finished_at else ""
    if job.status == "succeeded":
        line("✓", "succeeded", " · ".join(filter(None, [took, headline(job.report or {})])), stderr=False)
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
