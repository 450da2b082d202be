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

    @property
    def metric(self) -> str:
        return str(self.report["metric"])

    @property
    def factor(self) -> float:
        """Shares are told in hundredths, perplexity as it is."""
        return 1 if self.metric == "perplexity" else 100

    def measured(self, arm: str) -> Statistic:
        return dict(self.report["arms"][arm]["metrics"][self.metric])


def needed(name: str) -> Record:
    record = store.read(name)
    if record is None:
        raise SystemExit(f"{name} has not been run: python -m benchmarks.results {name.split('-')[0]}")
    return record


def rows(labels: Mapping[str, str]) -> list[Row]:
    return [Row(name, label, needed(name)) for name, label in labels.items()]


def complete(labels: Mapping[str, str]) -> list[Row]:
    """Their rows, or none where one has not been run."""
    return rows(labels) if all(store.read(name) for name in labels) else []


CALLED = {"accuracy": "%", "f1": "F1, %", "chrf": "chrF", "perplexity": "perplexity"}


def gains(jobs: Sequence[Row], digits: int = 1, what: str = "objective") -> str:
    """The table of a comparison, and one sentence for each kind of outcome in it. A gain is for the better, whatever is measured."""
    called, unit = CALLED[jobs[0].metric], "" if jobs[0].factor == 1 else ", points"
    heads = [what, f"alone, {called}", f"with the teacher, {called}", f"paired gain{unit} (95 %)", "deviation of gains"]
    return f"{table([*heads, 'seeds better', 'verdict'], [_line(job, digits) for job in jobs])}\n\n{_said(jobs, digits)}"


def _line(job: Row, digits: int) -> list[str]:
    better = sum(value > 0 for value in job.gain["values"])
    arms = [percent(job.measured(arm), digits, job.factor) for arm in ("control", "student")]
    spread = f"{job.factor * job.gain['std']:.{digits}f}"
    return [job.label, *arms, interval(job.gain, digits, job.factor), spread, f"{better} of {len(job.seeds)}", verdict(job.gain)]


def _said(jobs: Sequence[Row], digits: int) -> str:
    forms = {"helped": "Distillation helped: {}.", "hurt": "It hurt: {}.", NOT_SHOWN: "No difference is shown: {}."}
    said = []
    for kind, form in forms.items():
        found = [f"{job.label} ({points(job.gain['mean'], digits, job.factor)})" for job in jobs if verdict(job.gain) == kind]
        if found:
            said.append(form.format(listed(found)))
    return " ".join(said)


def again(part: str) -> str:
    """Where its specs are, and what measures it."""
    return f"Specs: [examples/{part}](../examples/{part}). Measured by `python -m benchmarks.results {part}`."


def hidden(record: Record) -> str:
    return "-".join(map(str, record["spec"]["student"]["hidden"]))


def training(record: Record) -> str:
    how = record["spec"]["training"]
    optimizer = how["optimizer"]
    return f"{how['epochs']} epochs, {optimizer['name'].capitalize()} {optimizer['lr']:g}, batches of {how['batch_size']}"
