"""What a run says while it works: watchers, curves and progress bars believe it."""

import math

import pytest
from engine_runs import STEPS, small

from contract.events import RUN_EVENT, CheckpointSaved, LogLine, Step, Stopped
from distill import train


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
    common = {"train/loss", "gradient_norm", "learning_rate", "steps_per_second"}
    assert set(one.of(Step)[1].metrics) == common
    assert set(two.of(Step)[1].metrics) == common | {"train/loss/kl", "train/loss/kl_2"}
    first = one.of(Step)[0]  # it warms everything up: its speed would promise hours
    assert (first.steps_per_second, first.eta_seconds, set(first.metrics)) == (None, None, common - {"steps_per_second"})
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
    monkeypatch.setattr(train, "POINTS", points)
    thinned = [event for event in engine.run(small()).of(Step) if "train/loss" in event.metrics]
    assert len(thinned) <= 2 * points + 2 or points == 1000
    assert thinned[-1].step == STEPS
    since = 0
    for event in thinned:
        assert event.metrics["train/loss"] == pytest.approx(sum(whole[since : event.step]) / (event.step - since), rel=1e-5)
        since = event.step


def test_a_stop_is_answered_at_the_step_boundary_with_a_checkpoint(engine):
    """A worker that is told to leave has seconds: one step, one checkpoint, no more."""
    for step in (1, 6, 7, STEPS - 1):
        cut = engine.run(small(), stop_after=step)
        assert cut.outcome == Stopped(step=step)
        assert [event.step for event in cut.of(CheckpointSaved)] == [step]
        assert not (cut.folder / "result").exists()
