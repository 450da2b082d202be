"""What one run measured, in the shape of the report. contract.evidence puts runs together and finds the words."""

from typing import Any, NamedTuple

from contract import by_class, evidence, written_files
from contract.evidence import RunResult
from contract.export import Export
from contract.registry import TASKS
from distill.evaluate import Measured, agreement, wilson

Arm = tuple[Measured, dict[str, Any]]  # what was measured, and what it costs


class Test(NamedTuple):
    """What a run was measured on. majority: share of the commonest class."""

    task: str
    split: str
    rows: int
    rows_sha256: str
    majority: float | None
    seed: int


def single(test: Test, model: Arm, validation: dict[str, float]) -> dict[str, Any]:
    """The report of a `train` or `evaluate` job: one arm, `model`."""
    raw = {**_head(test, validation), "arms": {"model": _arm(*model)}}
    return _told("model", test.seed, raw)


def distilled(
    test: Test,
    teacher: Arm,
    student: Arm,
    validation: dict[str, float],
    outputs: dict[str, Any],
    mean_kl: float | None,
    disagreements: list[dict[str, Any]] | None,
    diagnosis: dict[str, Any],
) -> dict[str, Any]:
    """The report of one distilled student."""
    same = agreement(student[0].top, teacher[0].top) if len(teacher[0].top) else None  # a remote teacher's text alone says nothing of it
    sizes = teacher[1]["parameters"], student[1]["parameters"]
    raw = {
        **_head(test, validation),
        "arms": {"teacher": _arm(*teacher), "student": _arm(*student)},
        "agreement": {"mean": same, "ci95": list(wilson(same, len(student[0].top)))} if same is not None else None,
        "mean_kl": mean_kl,
        "disagreements": disagreements,
        "diagnosis": diagnosis,
        "compression": sizes[0] / max(1, sizes[1]) if sizes[0] is not None else None,
        "teacher_outputs": outputs,
    }
    return _told("student", test.seed, raw)


def exported(
    test: Test,
    arms: dict[str, Arm],
    asked: Export,
    files: dict[str, str],
    parity: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """The report of an `export` job: `model` is the network itself, every other arm a file; parity: how far its logits are from the
    network's."""
    model = single(test, arms["model"], {})
    told = {**model, "arms": {name: _arm(*arm) for name, arm in arms.items()}, "per_class": None}
    counts = {name: [arm["by_class"]] for name, arm in told["arms"].items()}
    if all(one for (one,) in counts.values()):
        told["per_class"] = by_class.table(counts)
    against = {name: {**written_files.against(told, name, "model"), **parity[name]} for name in files}
    return {
        **told,
        "export": {"format": asked.format, "files": files, "tolerance": asked.tolerance, "against_model": against},
        "verdict": written_files.of_files(told, against),
    }


def _head(test: Test, validation: dict[str, float]) -> dict[str, Any]:
    found = TASKS[test.task]
    common = {"majority": test.majority} if test.majority is not None else {}
    return {
        **common,
        "metric": found.metric,
        "higher_is_better": found.higher_is_better,
        "split": test.split,
        "rows": test.rows,
        "rows_sha256": test.rows_sha256,
        "validation": validation or None,
    }


def _arm(measured: Measured, cost: dict[str, Any]) -> dict[str, Any]:
    return {"metrics": measured.metrics, **cost, "rows_right": measured.rows_right, "by_class": measured.by_class}


def _told(arm: str, seed: int, raw: dict[str, Any]) -> dict[str, Any]:
    """The raw figures with the verdict of one run; row by row results stay in, so that runs can be compared in pairs."""
    told = evidence.combine([RunResult(arm, seed, raw)])
    assert told is not None
    return {**raw, **told, "arms": raw["arms"]}
