"""Why a student gained nothing: what the teacher says of the training rows, and which terms the student felt."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_references import log_softmax, softmax
from engine_runs import Engine, small

from contract.events import LogLine
from contract.evidence import RunResult, combine, statistic
from contract.spec import JobSpec
from distill.data.load import load as load_data
from distill.diagnosis import diagnose, looked_at
from distill.inputs import Inputs
from distill.networks import load
from distill.tasks import OUTSIDE
from distill.teacher import Outputs, infer

TWO = [{"loss": "kl", "temperature": 4.0, "weight": 0.7}, {"loss": "cross_entropy", "weight": 0.3}]


def test_the_teachers_figures_are_those_on_the_training_rows(engine: Engine, teacher: Path) -> None:
    spec = small(teacher, objective=TWO)
    found = engine.run(spec).report["diagnosis"]["teacher_on_training"]
    rows = load_data(spec, Inputs.local(spec, engine.cache)).train
    z, y = infer(*load(teacher), rows).double().numpy(), rows.labels.numpy()
    assert found["accuracy"] == pytest.approx(float((z.argmax(1) == y).mean()))
    assert found["loss"] == pytest.approx(float(-log_softmax(z)[np.arange(len(y)), y].mean()), rel=1e-6)
    assert found["entropy"] == pytest.approx(float(-(softmax(z) * log_softmax(z)).sum(1).mean()), rel=1e-6)
    assert found["confidence"] == pytest.approx(float(softmax(z).max(1).mean()), rel=1e-6)
    assert found["majority"] == pytest.approx(np.bincount(y).max() / len(y))


def test_shares_are_those_of_the_gradients_of_each_term(engine: Engine, teacher: Path) -> None:
    """At the first step, against gradients of each term taken alone, from runs with only that term."""
    both = engine.run(small(teacher, objective=TWO, training={"optimizer": {"lr": 1e-12}}))
    shares = {name: value for name, value in both.curve()[0][1].items() if name.startswith("gradient_share/")}
    alone = [engine.run(small(teacher, objective=[term])).curve()[0][1]["gradient_norm"] for term in TWO]
    assert list(shares) == ["gradient_share/kl", "gradient_share/cross_entropy"]
    assert list(shares.values()) == pytest.approx([norm / sum(alone) for norm in alone], rel=1e-4)
    felt = both.report["diagnosis"]["largest_gradient_share"]
    assert felt["kl"] >= shares["gradient_share/kl"] and sum(shares.values()) == pytest.approx(1)


def test_asking_changes_nothing_and_a_resumed_run_has_felt_the_same(engine: Engine, teacher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = small(teacher, objective=TWO)
    whole = engine.run(spec)
    resumed = engine.run(spec, resume=engine.run(spec, stop_after=8).checkpoints)
    assert resumed.report["diagnosis"] == whole.report["diagnosis"] and resumed.weights == whole.weights
    monkeypatch.setattr("distill.loop.looked_at", lambda *_: frozenset())
    unasked = engine.run(spec)
    assert unasked.weights == whole.weights and unasked.report["diagnosis"]["largest_gradient_share"] is None


def test_it_is_asked_a_few_times_at_steps_of_which_curves_speak() -> None:
    assert sorted(looked_at(18, 1)) == [1, 4, 9, 13, 18]
    found = sorted(looked_at(20_000, 20))
    assert len(found) == 5 and all(step % 20 == 0 for step in found[1:])


@pytest.mark.parametrize(
    ("term", "said"),
    [
        ({"loss": "kl", "temperature": 900.0}, "temperature 900: the teacher's answers are nearly alike for all classes"),
        ({"loss": "kl", "temperature": 0.02}, "temperature 0.02: the teacher's answers are as hard as labels"),
        ({"loss": "kl", "weight": 1e-5}, "kl: never more than 0.0 % of the gradient: it hardly counts"),
    ],
    ids=lambda part: str(part)[:40],
)
def test_a_term_that_vanishes_is_told(engine: Engine, teacher: Path, term: dict[str, Any], said: str) -> None:
    ran = engine.run(small(teacher, objective=[term, {"loss": "cross_entropy"}]))
    assert any(said in warning for warning in ran.report["diagnosis"]["warnings"])
    assert any(said in line.message for line in ran.of(LogLine) if line.level == "warning")


def test_a_good_job_has_no_warnings(engine: Engine, teacher: Path) -> None:
    assert engine.run(small(teacher, objective=TWO)).report["diagnosis"]["warnings"] == []


def test_a_teacher_worse_than_the_commonest_class_and_one_too_sure_are_told() -> None:
    labels = torch.tensor([0] * 6 + [1] * 4)
    z = torch.zeros(10, 2)
    z[:, 1] = 9.0
    spec: JobSpec = small(Path("x"), objective=TWO)
    said = diagnose(spec, Outputs(z, "hit"), labels, {})["warnings"]
    assert any("right about 40.0 % of the training rows, always naming the commonest class about 60.0 %" in one for one in said)
    assert any("over-confident: 100 % sure" in one and "right about 40 %" in one for one in said)


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        (0.5, "the teacher is no better than the student alone: there is little it could teach"),
        (0.7, "the teacher's lead over the student alone is not certain: its interval contains zero: there is little it could teach"),
        (0.95, None),
    ],
)
def test_a_teacher_no_better_than_the_student_alone_is_told(teacher: float, said: str | None) -> None:
    """Three seeds of a control that is right about 70 %, more or less."""

    def arm(value: float) -> dict[str, Any]:
        return {"metrics": {"accuracy": statistic([value])}, "parameters": 1, "latency_ms": {"p50": 1.0}}

    head = {"metric": "accuracy", "higher_is_better": True, "split": "test", "rows": 10, "rows_sha256": "x", "validation": None}
    more = {"agreement": {"mean": 0.5}, "compression": 2.0, "teacher_outputs": {"mode": "live"}, "diagnosis": {"warnings": ["of a run"]}}
    runs = []
    for seed, alone in enumerate((0.69, 0.7, 0.71)):
        runs.append(RunResult("student", seed, {**head, **more, "arms": {"teacher": arm(teacher), "student": arm(0.72)}}))
        runs.append(RunResult("control", seed, {**head, "arms": {"model": arm(alone)}}))
    report = combine(runs)
    assert report is not None and report["diagnosis"]["warnings"] == ["of a run", *([said] if said else [])]
    assert (report["gap_recovered"] is None) == (said is not None)


def test_of_several_tasks_a_guess_is_each_ones_commonest_class() -> None:
    """Rows 0 to 3 have the first two classes, rows 4 to 9 the other three; the teacher finds all of them alike."""
    labels = torch.tensor([0, 0, 0, 1, 2, 2, 2, 3, 4, 4])
    logits = torch.zeros(10, 5)
    logits[:4, 2:], logits[4:, :2] = OUTSIDE, OUTSIDE
    found = diagnose(small({"path": "x"}, objective=[{"loss": "kl", "temperature": 1.0}]), Outputs(logits, "hit"), labels, {})
    assert found["teacher_on_training"]["majority"] == pytest.approx((3 + 3) / 10)
    assert found["teacher_on_training"]["entropy"] == pytest.approx(0.4 * np.log(2) + 0.6 * np.log(3))
    assert any("nearly alike for all classes" in said for said in found["warnings"])
