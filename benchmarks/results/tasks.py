"""The section on several tasks: one student of both beside a student of each, all with the same teachers."""

from collections.abc import Sequence
from typing import Any

from benchmarks.results import store
from benchmarks.results.rows import Row, needed, training
from benchmarks.results.words import interval, listed, percent, points, table, verdict
from contract.evidence import Statistic, statistic

TASKS = ("news", "reviews")
CALLED = {"student": "`bam`", "mt_dnn_kd": "`mt_dnn_kd`"}


def found() -> list[Row]:
    names = ("tasks-news", "tasks-reviews", "tasks-both")
    records = {name: store.read(name) for name in names}
    return [Row(name, name, record) for name, record in records.items() if record is not None] if all(records.values()) else []


def section() -> list[str]:
    jobs = found()
    if not jobs:
        return []
    *alone, both = jobs
    single = {task: job.report["arms"] for task, job in zip(TASKS, alone, strict=True)}
    arms, spec = both.report["arms"], both.record["spec"]
    teachers = [needed(f"tasks-{task}-teacher") for task in TASKS]
    few = [job.report["teacher_outputs"]["rows"] for job in alone]
    kept = both.report["teacher_outputs"]["tasks"]
    lines = [
        ["a student of each task, alone", *_cells([_of(single[task]["control"]) for task in TASKS], None)],
        ["a student of each task, taught (`hinton`, T = 1)", *_cells([_of(single[task]["student"]) for task in TASKS], None)],
        ["one student of both, alone", *_cells(_both(arms["control"]), single)],
        *([f"one student of both, {name}", *_cells(_both(arms[arm]), single)] for arm, name in CALLED.items()),
    ]
    heads = [head for task in TASKS for head in (f"{task}, % right", f"{task}: against its own taught student (95 %)")]
    sizes = [arm["parameters"] / 1e6 for arm in (single["news"]["student"], single["reviews"]["student"], arms["student"])]
    figures = [f"{percent(record['report']['arms']['model']['metrics']['accuracy'])} %" for record in teachers]
    hits = [task for task in TASKS if kept[task]["cache"] == "hit"]
    shared = f"What the teachers said of {listed(hits)} was found, kept by the jobs of one task." if hits else ""
    return [
        f"""
## Several tasks: one student of two

AG News (four subjects) and SST-2 (film reviews, good or bad). Teachers, each of its task's whole rows: {listed(figures)} right. Students
learn from {few[0]:,} and {few[1]:,} of these rows, {training(both.record)}, {len(both.seeds)} seeds; one of both draws tasks by the
power {spec["data"]["sampling"]} of their rows (`data.sampling`). It has {sizes[2]:.2f} M parameters, those of one task {sizes[0]:.2f} M
and {sizes[1]:.2f} M. Differences are paired by seed. {shared}

{table(["student", *heads], lines)}

{_said(arms, single)} Specs and commands: [examples/tasks](../examples/tasks).
"""
    ]


def _of(arm: Any) -> Statistic:
    return dict(arm["metrics"]["accuracy"])


def _both(arm: Any) -> list[Statistic]:
    return [dict(arm["metrics"][f"accuracy/{task}"]) for task in TASKS]


def _against(measured: Statistic, task: str, single: Any) -> Statistic:
    pairs = zip(measured["values"], _of(single[task]["student"])["values"], strict=True)
    return statistic([one - other for one, other in pairs])


def _cells(measured: Sequence[Statistic], single: Any) -> list[str]:
    """Accuracy in each task, and beside it how it stands to the taught student of that task alone."""
    found = []
    for task, figure in zip(TASKS, measured, strict=True):
        found += [percent(figure), interval(_against(figure, task, single)) if single is not None else "–"]
    return found


def _said(arms: Any, single: Any) -> str:
    """What a teacher for each task adds to a student of both, and what a student of both loses to one of each."""
    said = []
    for arm, name in CALLED.items():
        gains = []
        for task, mine, control in zip(TASKS, _both(arms[arm]), _both(arms["control"]), strict=True):
            gain = statistic([a - b for a, b in zip(mine["values"], control["values"], strict=True)])
            gains.append(f"{points(gain['mean'])} points in {task} ({verdict(gain)})")
        said.append(f"Beside the same student of both alone, {name} brings {listed(gains)}.")
    return " ".join(said)
