"""What a run proved: the arms side by side and one plain sentence."""

from typing import Any

from contract.registry import TASKS
from distill.evaluate import Measured, agreement


def single(task: str, split: str, rows: int, metrics: dict[str, Any], cost: dict[str, Any]) -> dict[str, Any]:
    """The report of a `train` or `evaluate` job: one arm, `model`."""
    found = TASKS[task]
    metric = metrics[found.metric]
    low, high = metric["ci95"]
    return {
        "metric": found.metric,
        "higher_is_better": found.higher_is_better,
        "split": split,
        "rows": rows,
        "arms": {"model": {"metrics": metrics, **cost}},
        "verdict": f"One run: {found.metric} {metric['mean']:.4f} (95 % {low:.4f} to {high:.4f}) on {rows:,} {split} rows.",
    }


def distilled(
    task: str,
    split: str,
    rows: int,
    teacher: tuple[Measured, dict[str, Any]],
    student: tuple[Measured, dict[str, Any]],
    outputs: dict[str, Any],
) -> dict[str, Any]:
    """The report of a `distill` job without a control arm."""
    found = TASKS[task]
    of_teacher, of_student = teacher[0].value(found.metric), student[0].value(found.metric)
    kept = of_student / of_teacher if of_teacher else None
    smaller = teacher[1]["parameters"] / max(1, student[1]["parameters"])
    faster = teacher[1]["latency_ms"]["p50"] / student[1]["latency_ms"]["p50"]
    share = f" = {100 * kept:.1f} % of the teacher's {of_teacher:.4f}" if kept is not None else f" beside the teacher's {of_teacher:.4f}"
    size = f"{smaller:.1f}× smaller" if smaller >= 1 else f"{1 / smaller:.1f}× larger"
    same = agreement(student[0].logits, teacher[0].logits)
    return {
        "metric": found.metric,
        "higher_is_better": found.higher_is_better,
        "split": split,
        "rows": rows,
        "arms": {"teacher": {"metrics": teacher[0].metrics, **teacher[1]}, "student": {"metrics": student[0].metrics, **student[1]}},
        "agreement": _one(same),
        "retained": _one(kept) if kept is not None else None,
        "gain": None,
        "gap_recovered": None,
        "gap_recovered_reason": "no control arm was run",
        "compression": round(smaller, 3),
        "speedup": round(faster, 3),
        "teacher_outputs": outputs,
        "verdict": f"One run: student {found.metric} {of_student:.4f}{share}, {size}. "
        "Without a control arm it cannot be told what the teacher added.",
    }


def _one(value: float) -> dict[str, Any]:
    return {"mean": value, "std": 0.0, "ci95": None, "values": [value]}
