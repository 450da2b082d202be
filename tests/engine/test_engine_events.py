"""What a run says while it works: watchers, curves and progress bars believe it."""

import math

import pytest
from engine_runs import STEPS, small
from torch import nn

from contract.events import RUN_EVENT, CheckpointSaved, LogLine, Step, Stopped
from distill import curves, evaluate
from distill.curves import Curves
from distill.state import Progress, State


@pytest.fixture(params=["train", "distill"])
def ran(request, engine, teacher):
    return engine.run(small(teacher if request.param == "distill" else None))


def test_phases_come_in_order(engine, teacher):
    after = ["training", "evaluating", "saving"]
    assert engine.run(small()).phases == ["preparing", *after]
    assert engine.run(small(teacher)).phases == ["preparing", "teacher_inference", *after]
    assert engine.run(small(kind="evaluate", student={"path": str(teacher)})).phases == ["preparing", "evaluating"]
    cut = engine.run(small(), stop_after=3)
    assert cut.phases == ["preparing", "training"]
    assert cut.outcome == Stopped(step=3)


def test_every_number_is_finite(ran):
    """JSON knows no NaN: one of them breaks every reader of the stream."""
    for event in ran.of(Step):
        assert all(math.isfinite(value) for value in event.metrics.values())
        assert math.isfinite(event.steps_per_second or 0)
        assert math.isfinite(event.eta_seconds or 0)
        assert (event.eta_seconds or 0) >= 0


def test_steps_rise_and_the_total_is_right_from_the_first(ran):
    """A progress bar that runs backwards or past its end is worse than none."""
    training = [event for event in ran.of(Step) if "train/loss" in event.metrics]
    assert [event.step for event in training] == list(range(1, STEPS + 1))
    steps = [event.step for event in ran.of(Step)]
    assert steps == sorted(steps)
    assert {event.total_steps for event in ran.of(Step)} == {STEPS}
    assert [event.epoch for event in training] == [1] * 6 + [2] * 6 + [3] * 6
    assert training[-1].eta_seconds == 0


def test_validation_is_said_once_for_each_epoch(ran):
    found = [event for event in ran.of(Step) if "validation/accuracy" in event.metrics]
    assert [(event.step, event.epoch) for event in found] == [(6, 1), (12, 2), (18, 3)]
    assert all(0 <= event.metrics["validation/accuracy"] <= 1 for event in found)


def test_no_validation_rows_no_validation_points(engine):
    ran = engine.run(small(data={"validation": None}))
    assert not [event for event in ran.of(Step) if "validation/loss" in event.metrics]


def test_every_event_survives_the_pipe(ran):
    """Trainer and worker are two processes: what is sent as JSON must come back as it was."""
    for event in [*ran.events, ran.outcome]:
        assert RUN_EVENT.validate_json(event.model_dump_json()) == event


def test_names_of_metrics_are_the_contracts(engine, teacher):
    one = engine.run(small(teacher, objective=[{"loss": "kl"}]))
    two = engine.run(small(teacher, objective=[{"loss": "kl", "weight": 0.5}, {"loss": "kl", "temperature": 1.0, "weight": 0.25}]))
    common = {"train/loss", "gradient_norm", "learning_rate", "memory_bytes", "steps_per_second"}
    assert set(one.of(Step)[1].metrics) == common
    assert set(two.of(Step)[1].metrics) == common | {"train/loss/kl", "train/loss/kl_2"}
    first = one.of(Step)[0]  # it warms everything up: its speed would promise hours
    assert (first.steps_per_second, first.eta_seconds, set(first.metrics)) == (None, None, common - {"steps_per_second"})
    assert 50e6 < first.metrics["memory_bytes"] < 50e9, "a process that holds torch"
    for event in two.of(Step):
        if "train/loss" in event.metrics:
            parts = 0.5 * event.metrics["train/loss/kl"] + 0.25 * event.metrics["train/loss/kl_2"]
            assert event.metrics["train/loss"] == pytest.approx(parts, rel=1e-5)


def test_the_teachers_pass_is_said_with_what_it_cost(engine, teacher):
    lines = [line for line in engine.run(small(teacher)).of(LogLine) if "teacher outputs" in line.message]
    assert [line.data for line in lines] == [{"mode": "cached", "cache": "built", "rows": 90, "bytes": 90 * 10 * 4}]


@pytest.mark.parametrize("points", [1, 4, 5, 7, 1000])
def test_a_long_curve_is_thinned_to_means_that_lose_nothing(engine, monkeypatch, points):
    """A million steps must not become a million events; the mean of all losses stays what it was."""
    whole = [event.metrics["train/loss"] for event in engine.run(small()).of(Step) if "train/loss" in event.metrics]
    monkeypatch.setattr(curves, "POINTS", points)
    thinned = [event for event in engine.run(small()).of(Step) if "train/loss" in event.metrics]
    assert len(thinned) <= 2 * points + 2 or points == 1000
    assert thinned[-1].step == STEPS
    since = 0
    for event in thinned:
        assert event.metrics["train/loss"] == pytest.approx(sum(whole[since : event.step]) / (event.step - since), rel=1e-5)
        since = event.step


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 5, 9, 40])
def test_validation_is_told_of_in_few_points_and_looked_at_every_epoch(engine, monkeypatch, epochs):
    """A hundred thousand epochs must not become as many events; the first and the last are always among them."""
    looked, real = [], evaluate.quick

    def quick(*given):
        looked.append(1)
        return real(*given)

    monkeypatch.setattr(curves, "POINTS", 2)
    monkeypatch.setattr(evaluate, "quick", quick)
    ran = engine.run(small(training={"epochs": epochs, "batch_size": 90}))
    told = [event.epoch for event in ran.of(Step) if "validation/loss" in event.metrics]
    assert len(looked) == epochs
    assert len(told) <= 2 * 2 + 1
    assert told[0] == 1
    assert told[-1] == epochs
    assert told == sorted(set(told))
    assert len(told) >= min(epochs, 2)


def test_early_stopping_sees_what_is_not_told(engine, monkeypatch):
    """The best epoch and the one it stops at fall between the points; the last one is told of all the same."""
    values = [0.1, 0.2, 0.3, 0.4, 0.9, 0.5, 0.5]

    def run():
        left = iter(values)
        monkeypatch.setattr(evaluate, "quick", lambda *_: {"accuracy": next(left), "loss": 1.0})
        return engine.run(small(training={"epochs": 40, "early_stopping": {"patience": 2}}))

    def told(ran):
        return [event.epoch for event in ran.of(Step) if "validation/loss" in event.metrics]

    whole = run()
    monkeypatch.setattr(curves, "POINTS", 10)  # every fourth epoch
    thinned = run()
    assert told(whole) == [1, 2, 3, 4, 5, 6, 7]
    assert told(thinned) == [1, 4, 7]
    assert thinned.weights == whole.weights
    assert thinned.report["validation"] == whole.report["validation"] == {"accuracy": 0.9, "loss": 1.0}


def test_no_curve_of_the_longest_run_has_more_than_twice_as_many_points():
    """Of every length near the borders, counted as the loop would."""
    few, many = curves.POINTS, 2 * curves.POINTS
    for epochs, steps in [(1, many - 1), (1, many + 1), (few - 1, 1), (many - 1, 1), (many, 1), (many + 1, 3), (100_000, 2), (3, 50_000)]:
        total = epochs * steps
        state = State(nn.Identity(), nn.Identity(), None, Progress(), total, keeps_best=False)
        told = []
        points = Curves(state, told.append, steps)
        assert sum(points.speaks(step) for step in range(1, total + 1)) <= many + 1
        for epoch in range(1, epochs + 1):
            state.progress.step = epoch * steps
            points.validated()
        assert min(epochs, few) <= len(told) <= many + 1, (epochs, steps)


def test_a_stop_is_answered_at_the_step_boundary_with_a_checkpoint(engine):
    """A worker that is told to leave has seconds: one step, one checkpoint, no more."""
    for step in (1, 6, 7, STEPS - 1):
        cut = engine.run(small(), stop_after=step)
        assert cut.outcome == Stopped(step=step)
        assert [event.step for event in cut.of(CheckpointSaved)] == [step]
        assert not (cut.folder / "result").exists()
