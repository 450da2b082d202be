"""The section on rows made of others: the same sentences plain, mixed, and with words hidden, in as many steps."""

from typing import NamedTuple

from benchmarks.results import store
from benchmarks.results.rows import Row
from benchmarks.results.words import interval, percent, table, verdict
from contract.evidence import Statistic, statistic

JOBS = {"augmentation-plain": "1,000 sentences", "augmentation-tang": "1,000 sentences, and 20 made of each"}


class Line(NamedTuple):
    """One arm of one of the two jobs."""

    label: str
    job: Row
    arm: str

    @property
    def accuracy(self) -> Statistic:
        return self.job.measured(self.arm)


def found() -> list[Row]:
    """Both jobs, or none while one is missing."""
    records = {name: store.read(name) for name in JOBS}
    return [Row(name, JOBS[name], record) for name, record in records.items() if record is not None] if all(records.values()) else []


def section() -> list[str]:
    if not found():
        return []
    plain, tang = found()
    spec, made = plain.record["spec"], tang.record["spec"]["recipe"]["words"]
    alone, same = Line("labels alone", plain, "control"), Line("`logit_mse`", plain, "student")
    lines = [
        alone,
        same,
        Line("`hinton`", plain, "hinton"),
        Line("`mixkd`", plain, "mixkd"),
        Line("made rows, labels alone", tang, "control"),
        Line("made rows, `tang_bilstm`", tang, "student"),
    ]
    teacher = percent(plain.report["arms"]["teacher"]["metrics"]["accuracy"])
    rows, batch = spec["data"]["max_train_samples"], spec["training"]["batch_size"]
    steps = spec["training"]["epochs"] * -(-rows // batch)
    heads = ["objective", "% right", "against labels alone, points (95 %)", "against `logit_mse`, points (95 %)", "verdict"]
    return [
        f"""
## Rows made of others, on {rows:,} sentences

A BiLSTM of 128 learns from the first {rows:,} sentences of SST-2; its teacher, all-MiniLM-L6-v2, has seen all of them and is {teacher} %
right. Of each sentence {made["copies"]} more are made by the rules of [Tang et al.](methods.md#rows-made-of-others): words hidden with
probability {made["mask"]}, texts cut with probability {made["ngram"]}, no parts of speech. They keep their sentence's label, which
`tang_bilstm` does not look at: its only term is `logit_mse`. Every line takes {steps:,} steps of {batch} rows, with the same
{len(plain.seeds)} seeds and initial weights; differences are paired by seed. The verdict is on that with labels alone.

{table(heads, [_line(line, alone, same) for line in lines])}

Specs and commands: [examples/augmentation](../examples/augmentation).
"""
    ]


def _line(line: Line, alone: Line, same: Line) -> list[str]:
    gain = _difference(line, alone)
    beside = ["–" if line == other else interval(_difference(line, other)) for other in (alone, same)]
    return [line.label, percent(line.accuracy), *beside, "–" if line == alone else verdict(gain)]


def _difference(line: Line, other: Line) -> Statistic:
    """Seed by seed; jobs of one student and seed begin with the same weights."""
    pairs = zip(line.accuracy["values"], other.accuracy["values"], strict=True)
    return statistic([mine - theirs for mine, theirs in pairs])
