"""The section on chains of jobs: assistants between a big teacher and a tiny student, and generations of one size."""

from collections.abc import Sequence

from benchmarks.results.rows import Row, again, complete, training
from benchmarks.results.words import interval, listed, percent, table, verdict
from contract.evidence import Statistic, statistic

GAP = {"gap-direct": "the big teacher", "gap-one": "one assistant", "gap-two": "two assistants"}
GENERATIONS = {"generations-one": "generation 1", "generations-two": "generation 2", "generations-three": "generation 3"}
HEAD = """
## Chains: assistants and generations

Every link of a chain but the last is one network with one seed, so the intervals do not speak for other assistants or ancestors. One
control serves all rows of a table.
"""
COMPARED = {"helped": "better", "hurt": "worse"}


def found() -> list[Row]:
    return [*complete(GAP), *complete(GENERATIONS)]


def sections() -> list[str]:
    """Those there are results of."""
    parts = [*_gap(), *_generations()]
    return [HEAD, *parts] if parts else []


def _gap() -> list[str]:
    jobs = complete(GAP)
    if not jobs:
        return []
    first = jobs[0]
    big, tiny = (first.report["arms"][arm]["parameters"] for arm in ("teacher", "student"))
    return [
        f"""
### A gap of sizes

Teacher with {big:,} parameters, student with {tiny:,}, {big / tiny:.0f} times fewer; all learn from the same
{first.record["spec"]["data"]["max_train_samples"]:,} images, {training(first.record)}, T = 4, α = 0.7, {len(first.seeds)} seeds.
`takd` puts assistants of sizes between. Alone the student is {percent(first.measured("control"), 2)} % right.

{_table(jobs, "taught by", "the big teacher")}

{_said(jobs, "direct distillation")}

{again("gap")}
"""
    ]


def _generations() -> list[str]:
    jobs = complete(GENERATIONS)
    if not jobs:
        return []
    first = jobs[0]
    return [
        f"""
### Generations

`born_again`: a network teaches another of its own kind ({first.report["arms"]["student"]["parameters"]:,} parameters), that one the next,
T = 1, α = 0.5, on {first.record["spec"]["data"]["max_train_samples"]:,} images; {training(first.record)}, {len(first.seeds)} seeds. The
first of the line is {percent(first.measured("teacher"), 2)} % right, others alone {percent(first.measured("control"), 2)} %.

{_table(jobs, "network", "generation 1")}

{_said(jobs, "generation 1")}

{again("generations")}
"""
    ]


def _beside(job: Row, first: Row, arm: str) -> Statistic:
    """Against an arm of the first job, which has the same seeds, so in pairs: same initial weights, row order and budget."""
    pairs = zip(job.measured("student")["values"], first.measured(arm)["values"], strict=True)
    return statistic([mine - theirs for mine, theirs in pairs])


def _table(jobs: Sequence[Row], what: str, first: str) -> str:
    heads = [what, "its teacher, % right", "% right", "gain over the student alone (95 %)", "verdict", f"against {first} (95 %)"]
    lines = []
    for job in jobs:
        gain = _beside(job, jobs[0], "control")
        beside = interval(_beside(job, jobs[0], "student"), 2) if job is not jobs[0] else "–"
        told = [percent(job.measured("teacher"), 2), percent(job.measured("student"), 2), interval(gain, 2), verdict(gain)]
        lines.append([job.label, *told, beside])
    return table(heads, lines)


def _said(jobs: Sequence[Row], first: str) -> str:
    by_verdict: dict[str, list[str]] = {}
    for job in jobs[1:]:
        by_verdict.setdefault(verdict(_beside(job, jobs[0], "student")), []).append(job.label)
    return " ".join(f"Against {first}, {listed(labels)}: {COMPARED.get(said, said)}." for said, labels in by_verdict.items())
