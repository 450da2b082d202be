"""The jobs as the tables of the page have them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.results import store
from benchmarks.results.store import Record
from benchmarks.results.words import NOT_SHOWN, interval, listed, percent, points, table, verdict
from contract.evidence import Statistic


class Row(NamedTuple):
    """One job of several runs; `name` is its file in `data/`."""

    name: str
    label: str
    record: Record

    @property
    def report(self) -> Any:
        return self.record["report"]

    @property
    def gain(self) -> Statistic:
        return dict(self.report["gain"])

    @property
    def seeds(self) -> list[int]:
        return list(self.report["seeds"])

    def accuracy(self, arm: str) -> Statistic:
        return dict(self.report["arms"][arm]["metrics"]["accuracy"])


def needed(name: str) -> Record:
    record = store.read(name)
    if record is None:
        raise SystemExit(f"{name} has not been run: python -m benchmarks.results {name.split('-')[0]}")
    return record


def rows(labels: Mapping[str, str]) -> list[Row]:
    return [Row(name, label, needed(name)) for name, label in labels.items()]


def gains(jobs: Sequence[Row], digits: int = 1) -> str:
    """The table of a comparison, and one sentence for each kind of outcome in it."""
    heads = ["objective", "alone, %", "with the teacher, %", "paired gain, points (95 %)", "deviation of gains", "seeds better", "verdict"]
    return f"{table(heads, [_line(job, digits) for job in jobs])}\n\n{_said(jobs, digits)}"


def _line(job: Row, digits: int) -> list[str]:
    better = sum(value > 0 for value in job.gain["values"])
    arms = [percent(job.accuracy(arm), digits) for arm in ("control", "student")]
    spread = f"{100 * job.gain['std']:.{digits}f}"
    return [job.label, *arms, interval(job.gain, digits), spread, f"{better} of {len(job.seeds)}", verdict(job.gain)]


def _said(jobs: Sequence[Row], digits: int) -> str:
    forms = {"helped": "Distillation helped: {}.", "hurt": "It hurt: {}.", NOT_SHOWN: "No difference is shown: {}."}
    said = []
    for kind, form in forms.items():
        found = [f"{job.label} ({points(job.gain['mean'], digits)})" for job in jobs if verdict(job.gain) == kind]
        if found:
            said.append(form.format(listed(found)))
    return " ".join(said)


def hidden(record: Record) -> str:
    return "-".join(map(str, record["spec"]["student"]["hidden"]))


def training(record: Record) -> str:
    how = record["spec"]["training"]
    optimizer = how["optimizer"]
    return f"{how['epochs']} epochs, {optimizer['name'].capitalize()} {optimizer['lr']:g}, batches of {how['batch_size']}"
