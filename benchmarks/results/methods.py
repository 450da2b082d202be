"""The section on methods side by side: every recipe an arm of one job, against the student alone and against the classic."""

import math
from collections.abc import Mapping, Sequence

from benchmarks.results import store
from benchmarks.results.rows import Row, training
from benchmarks.results.words import interval, listed, percent, points, table, verdict
from contract.evidence import statistic

NEAR = 0.03  # of guessing
MEASURED = {"accuracy": "% right", "perplexity": "perplexity"}
STUDENTS = {
    "methods-cnn": "A small network of the teacher's kind",
    "methods-mlp": "A student of another kind",
    "reviews-student": "A small BERT on film reviews",
    "reviews-bilstm": "A BiLSTM on film reviews",
    "lines-student": "A small GPT on Shakespeare",
}
BESIDE = {  # jobs of the same student and seeds, which are no arms: chains of jobs, and other teachers
    "methods-cnn": ("methods-cnn-self", "methods-cnn-takd", "methods-cnn-born-again", "methods-cnn-several"),
    "methods-mlp": ("methods-mlp-self", "methods-mlp-takd", "methods-mlp-born-again", "methods-mlp-several"),
    "reviews-student": ("reviews-bert-self", "reviews-bert-takd", "reviews-bert-born-again", "reviews-bert-several", "reviews-well-read"),
    "reviews-bilstm": ("reviews-bilstm-self", "reviews-bilstm-takd", "reviews-bilstm-born-again", "reviews-bilstm-several"),
    "lines-student": ("lines-self", "lines-takd", "lines-born-again", "lines-seq-kd"),
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

Every method is an arm of the same job (`evaluation.compare`): same teacher, student, initial weights, row order and budget. Methods that
cannot be an arm run as jobs of their own, with the same student and seeds beside their own control, and agree with their own teacher:
{listed([f"`{name}`" for name in _beside_names(jobs)])}.
`logit_mse`, `tang_bilstm`, `tinybert`, `minilm` and `gkd` do not use the labels, nor does `seq_kd`, which learns the texts that its
teacher writes; the others use both. A gain is for the better, also where less is better.
Parameters are the recipes' defaults, or a guess made once; none was tuned, so a method
that looks weak here may only be badly set. About one in twenty comparisons will look different by chance. Seconds were taken two runs at
a time on two cores that had other work as well: read them as orders of magnitude.

{parts}
"""
    ]


def _part(job: Row) -> str:
    spec = job.record["spec"]
    teacher = job.report["arms"]["teacher"]
    arms = {_recipe(spec): ("student", job.report)} | {name: (name, told) for name, told in job.report["compared"].items()}
    costs = _costs({name: job.report["arms"][arm] for name, (arm, _) in arms.items()} | {"alone": job.report["arms"]["control"]})
    lines = [[*_line(job, name, job.report["arms"][arm], told), *costs.get(name, [])] for name, (arm, told) in arms.items()]
    lines += [_of_its_own(job, other, bool(costs)) for other in _others(job)]
    called = MEASURED[job.metric]
    heads = ["method", called, "gain over the student alone (95 %)", "against the first (95 %)", "agrees with the teacher, %", "verdict"]
    heads += ["seconds", "MB at most"] if costs else []
    return f"""
### {job.label}

Teacher: {_figure(job, teacher)} {called}. Student of {job.report["arms"]["student"]["parameters"]:,} parameters,
{teacher["parameters"] / job.report["arms"]["student"]["parameters"]:.1f} times fewer, on {job.report["teacher_outputs"]["rows"]:,} rows,
{training(job.record)}, {len(job.seeds)} seeds; alone: {percent(job.measured("control"), factor=job.factor)} {called}.{_told(costs)}

{table(heads, lines)}

{_said(job)}"""


def _others(job: Row) -> list[Row]:
    """The jobs beside it that have been run, named by their recipes."""
    records = {name: store.read(name) for name in BESIDE.get(job.name, ())}
    return [Row(name, _recipe(record["spec"]), record) for name, record in records.items() if record is not None]


def _recipe(spec: Mapping[str, object]) -> str:
    recipe = spec["recipe"]
    return recipe if isinstance(recipe, str) else str(dict(recipe)["name"])  # type: ignore[call-overload]


def _beside_names(jobs: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(other.label for job in jobs for other in _others(job)))


def _of_its_own(job: Row, other: Row, costs: bool) -> list[str]:
    """The line of a job beside: against the first seed by seed, as both began with the same weights."""
    arm = other.report["arms"]["student"]
    pairs = zip(other.measured("student")["values"], job.measured("student")["values"], strict=True)
    sign = 1 if job.report["higher_is_better"] else -1
    against = statistic([sign * (mine - first) for mine, first in pairs])
    told = {"gain": other.gain, "against_objective": against, "agreement": other.report["agreement"]}
    spent = _costs({other.label: arm}).get(other.label, ["–", "–"]) if costs else []
    return [*_line(job, other.label, arm, told), *spent]


def _costs(arms: Mapping[str, Mapping[str, object]]) -> dict[str, list[str]]:
    """Seconds of one training, and the megabytes its process held at most; nothing of records from before runs told them."""
    found = {name: dict(arm["training"]) for name, arm in arms.items() if arm.get("training")}  # type: ignore[call-overload]
    if len(found) < len(arms):
        return {}
    return {name: [f"{told['seconds']:.1f}", f"{(told['peak_memory'] or 0) / 1e6:,.0f}"] for name, told in found.items()}


def _told(costs: Mapping[str, list[str]]) -> str:
    if not costs:
        return ""
    seconds, peak = costs["alone"]
    return f""" One training of the student alone takes {seconds} seconds and {peak} MB at most, the process and its libraries included; the
teacher's pass over the rows, where its outputs are kept, is made once before and not counted."""


def _line(job: Row, name: str, arm: Mapping[str, object], told: Mapping[str, object]) -> list[str]:
    """told: the gain of this arm, and how it stands to the job's own recipe, which says nothing of itself."""
    gain, against = dict(told["gain"]), told.get("against_objective")  # type: ignore[call-overload]
    agrees = statistic(dict(told["agreement"])["values"])  # type: ignore[call-overload]
    beside = interval(dict(against), 1, job.factor) if against else "–"  # type: ignore[call-overload]
    return [f"`{name}`", _figure(job, arm), interval(gain, 1, job.factor), beside, percent(agrees), verdict(gain)]


def _figure(job: Row, arm: Mapping[str, object]) -> str:
    return percent(dict(arm["metrics"])[job.metric], factor=job.factor)  # type: ignore[call-overload]


def _said(job: Row) -> str:
    gains = {_recipe(job.record["spec"]): job.gain} | {name: told["gain"] for name, told in job.report["compared"].items()}
    gains |= {other.label: other.gain for other in _others(job)}
    best = max(gains, key=lambda name: gains[name]["mean"])
    helped = [f"`{name}`" for name, gain in gains.items() if verdict(gain) == "helped"]
    said = f"{listed(helped)} helped. " if helped else "None is shown to have helped. "
    chance = 1 / len(job.record["dataset"]["classes"]) if job.metric == "accuracy" else -math.inf
    names = {_recipe(job.record["spec"]): "student"} | {name: name for name in job.report["compared"]}
    lost = [f"`{name}`" for name, arm in names.items() if job.measured(arm)["mean"] < chance + NEAR]
    if lost:
        said += f"{listed(lost)} stayed at chance with these defaults and this budget. "
    return f"{said}The largest gain is `{best}`'s, {points(gains[best]['mean'], factor=job.factor)} points."
