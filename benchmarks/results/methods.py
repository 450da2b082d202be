"""The section on methods side by side: every recipe an arm of one job, against the student alone and against the classic."""

from collections.abc import Mapping

from benchmarks.results import store
from benchmarks.results.rows import Row, training
from benchmarks.results.words import interval, listed, percent, points, table, verdict
from contract.evidence import statistic

NEAR = 0.03  # of guessing
STUDENTS = {
    "methods-cnn": "A small network of the teacher's kind",
    "methods-mlp": "A student of another kind",
    "reviews-student": "A small BERT on film reviews",
}


def found() -> list[Row]:
    return [Row(name, label, record) for name, label in STUDENTS.items() if (record := store.read(name)) is not None]


def section() -> list[str]:
    jobs = found()
    if not jobs:
        return []
    parts = "\n\n".join(_part(job).strip() for job in jobs)
    return [
        f"""
## Methods side by side

Every method is an arm of the same job (`evaluation.compare`): same teacher, student, initial weights, row order and budget. `logit_mse` and
`tinybert` hear no labels; the others hear both. Parameters are the recipes' defaults, or a guess made once; none was tuned, so a method
that looks weak here may only be badly set. Of twenty comparisons one seems to differ by chance.

{parts}
"""
    ]


def _part(job: Row) -> str:
    spec = job.record["spec"]
    teacher = job.report["arms"]["teacher"]
    lines = [_line(job, spec["recipe"]["name"], job.report["arms"]["student"], job.report)]
    for name, told in job.report["compared"].items():
        lines.append(_line(job, name, job.report["arms"][name], told))
    heads = ["method", "% right", "gain over the student alone (95 %)", "against the first (95 %)", "agrees with the teacher, %", "verdict"]
    return f"""
### {job.label}

Teacher {percent(teacher["metrics"]["accuracy"])} % right; student of {job.report["arms"]["student"]["parameters"]:,} parameters,
{teacher["parameters"] / job.report["arms"]["student"]["parameters"]:.1f} times fewer, on {spec["data"]["max_train_samples"]:,} rows,
{training(job.record)}, {len(job.seeds)} seeds. Alone it is {percent(job.measured("control"))} % right.

{table(heads, lines)}

{_said(job)}"""


def _line(job: Row, name: str, arm: Mapping[str, object], told: Mapping[str, object]) -> list[str]:
    """told: the gain of this arm, and how it stands to the job's own recipe, which says nothing of itself."""
    gain, against = dict(told["gain"]), told.get("against_objective")  # type: ignore[call-overload]
    accuracy = dict(arm["metrics"])["accuracy"]  # type: ignore[call-overload]
    agrees = statistic(dict(told["agreement"])["values"])  # type: ignore[call-overload]
    beside = interval(dict(against)) if against else "–"  # type: ignore[call-overload]
    return [f"`{name}`", percent(accuracy), interval(gain), beside, percent(agrees), verdict(gain)]


def _said(job: Row) -> str:
    gains = {job.record["spec"]["recipe"]["name"]: job.gain} | {name: told["gain"] for name, told in job.report["compared"].items()}
    best = max(gains, key=lambda name: gains[name]["mean"])
    helped = [f"`{name}`" for name, gain in gains.items() if verdict(gain) == "helped"]
    said = f"{listed(helped)} helped. " if helped else "None is shown to have helped. "
    chance = 1 / len(job.record["dataset"]["classes"])
    names = {job.record["spec"]["recipe"]["name"]: "student"} | {name: name for name in job.report["compared"]}
    lost = [f"`{name}`" for name, arm in names.items() if job.measured(arm)["mean"] < chance + NEAR]
    if lost:
        said += f"{listed(lost)} did not get beyond guessing: with these weights and this budget the labels were never learned. "
    return f"{said}The largest gain is `{best}`'s, {points(gains[best]['mean'])} points."
