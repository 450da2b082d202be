"""The section on Hinton's experiment with MNIST: errors, counted, and those on a digit that the student has never seen."""

from benchmarks.results.rows import Row, again, complete, hidden, needed, training
from benchmarks.results.words import NOT_SHOWN, interval, listed, percent, table, verdict
from contract.evidence import Statistic, statistic

ARMS = {"student": "T = 20", "hinton": "T = 4"}
FORMS = {"helped": "Distillation helped at {}.", "hurt": "It hurt at {}.", NOT_SHOWN: "No difference is shown at {}."}
HEADS = ["network", "errors", "fewer than alone (95 %)", "seeds better", "verdict"]


def found() -> list[Row]:
    return [row for told in TOLD for row in _row(told)]


def section() -> list[str]:
    """What there are results of."""
    parts = [tell(row) for name, tell in TOLD.items() for row in _row(name)]
    return [*parts, again("hinton")] if parts else []


def _row(name: str) -> list[Row]:
    return complete({name: name})


def _whole(job: Row) -> str:
    teacher = needed("hinton-teacher")
    big = ["the big net", _count(statistic(_errors(job, "teacher")["values"][:1])), "", "", ""]
    return f"""
## Hinton's MNIST experiment in small

The paper's nets have 1,200 units in each of two layers and 800, and make 67 errors (big), 146 (small, alone) and 74 (small, distilled at
T = 20). Here the big net is 784-{hidden(teacher)}-10 with dropout and shifted images, the small one 784-{hidden(job.record)}-10 without
either, trained for a short time: {training(job.record)}, all {teacher["dataset"]["rows"]["train"]:,} images, α = 0.9, {len(job.seeds)}
seeds. Errors among {job.report["rows"]:,} test images:

{table(HEADS, [big, *_lines(job)])}

{_said(job)}
"""


def _without(job: Row) -> str:
    return f"""
### A digit the student never sees

The small net learns from {job.record["spec"]["data"]["max_train_samples"]:,} images with no 3 among them; the big one has seen all. Errors
among all {job.report["rows"]:,} test images:

{table(HEADS, _lines(job))}

{_said(job)} The paper then raises the bias of class 3, which is not repeated here.
"""


def _on_threes(job: Row) -> str:
    right = [f"{percent(job.measured(arm))} % ({label})" for arm, label in ARMS.items()]
    return f"""
The same nets' errors among the {job.report["rows"]:,} 3s:

{table(HEADS, _lines(job))}

The distilled net, which knows of them by its teacher's answers about other digits alone, gets {listed(right)} right. The paper's missed 133
of the 1,010.
"""


TOLD = {"hinton-student": _whole, "hinton-no-threes": _without, "hinton-no-threes-on-threes": _on_threes}


def _errors(job: Row, arm: str) -> Statistic:
    """How many rows it got wrong, seed by seed."""
    return statistic([job.report["rows"] * (1 - value) for value in job.measured(arm)["values"]])


def _gain(job: Row, arm: str) -> Statistic:
    return job.gain if arm == "student" else dict(job.report["compared"][arm]["gain"])


def _count(errors: Statistic) -> str:
    return percent(errors, 0, 1)


def _lines(job: Row) -> list[list[str]]:
    lines = [["the small net alone", _count(_errors(job, "control")), "", "", ""]]
    for arm, label in ARMS.items():
        gain, better = _gain(job, arm), sum(value > 0 for value in _gain(job, arm)["values"])
        fewer = interval(gain, 0, job.report["rows"])
        lines.append([f"distilled, {label}", _count(_errors(job, arm)), fewer, f"{better} of {len(gain['values'])}", verdict(gain)])
    return lines


def _said(job: Row) -> str:
    by_verdict = {kind: [label for arm, label in ARMS.items() if verdict(_gain(job, arm)) == kind] for kind in FORMS}
    return " ".join(FORMS[kind].format(listed(labels)) for kind, labels in by_verdict.items() if labels)
