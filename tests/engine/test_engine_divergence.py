"""A loss that explodes ends the job with a reason, and what was good stays good."""

from math import isfinite

import pytest
import torch
from engine_runs import small
from safetensors.torch import load_file

from contract.errors import ErrorCode, InvalidSpec, JobError
from contract.events import CheckpointSaved, Step
from distill import curves, loop
from distill.manifest import verify
from distill.networks import load, save


def diverging(engine, spec, **given):
    """(the error, the events until then)"""
    events = []
    with pytest.raises(JobError) as caught:
        engine.run(spec, emit=events.append, **given)
    return caught.value, events


def with_rate(rate, **training):
    """A learning rate that no spec may ask for."""
    spec = small(training={"optimizer": {"name": "sgd", "lr": 0.1}, "checkpoint_every_seconds": 0} | training)
    optimizer = spec.training.optimizer.model_copy(update={"lr": rate})
    return spec.model_copy(update={"training": spec.training.model_copy(update={"optimizer": optimizer})})


@pytest.mark.parametrize("rate", [float("nan"), float("inf")])
def test_a_spec_cannot_ask_for_it(rate):
    with pytest.raises(InvalidSpec, match=r"training\.optimizer\.lr"):
        small(training={"optimizer": {"lr": rate}})


@pytest.mark.parametrize("rate", [float("nan"), 1e4, 1e12, 1e30, 1e38], ids=str)
def test_divergence_is_said_with_its_step_and_a_cure(engine, rate):
    """A job that trains NaNs to the end wastes hours and hands out a student that predicts nothing."""
    error, events = diverging(engine, with_rate(rate, epochs=50))
    assert error.code == ErrorCode.DIVERGED
    assert "at step" in error.detail
    assert error.param == "training.optimizer.lr"
    assert "training.optimizer.lr" in (error.hint or "")
    for event in events:
        if isinstance(event, Step):
            shown = {name: value for name, value in event.metrics.items() if name != "learning_rate"}
            assert all(map(isfinite, shown.values()))  # to the last


@pytest.mark.parametrize("rate", [float("nan"), 1e12, 1e38], ids=str)
def test_no_checkpoint_holds_a_number_that_is_not_finite(engine, rate):
    """The last good checkpoint still verifies, and going on from it with a lower rate is possible."""
    _, events = diverging(engine, with_rate(rate, epochs=50))
    for event in events:
        if isinstance(event, CheckpointSaved):
            folder = engine.home / "attempt-1" / "checkpoints" / str(event.step)
            verify(folder)
            assert all(value.isfinite().all() for value in load_file(folder / "model.safetensors").values())


def test_a_run_that_breaks_late_keeps_the_checkpoints_before(engine, monkeypatch):
    """NaN from step 9 on: eight whole checkpoints, and none of step 9."""
    real = loop.optim.learning_rate
    monkeypatch.setattr(loop.optim, "learning_rate", lambda *given: real(*given) if given[2] < 8 else float("nan"))
    error, events = diverging(engine, small(training={"checkpoint_every_seconds": 0}))
    assert "step 9" in error.detail
    saved = [event.step for event in events if isinstance(event, CheckpointSaved)]
    assert saved == list(range(1, 9))
    folder = engine.home / "attempt-1" / "checkpoints"
    for step in saved:
        verify(folder / str(step))
    assert sorted(path.name for path in folder.iterdir()) == sorted(map(str, saved))


def test_a_stop_request_does_not_save_what_is_broken(engine):
    error, events = diverging(engine, with_rate(float("nan")), stop_after=1)
    assert error.code == ErrorCode.DIVERGED
    assert not [event for event in events if isinstance(event, CheckpointSaved)]


def test_between_the_points_of_a_long_curve_it_is_noticed_too(engine, monkeypatch):
    """Long runs look at the loss only once in a while; a NaN in between must not be averaged away or checkpointed."""
    monkeypatch.setattr(curves, "POINTS", 1)
    real = loop.optim.learning_rate
    monkeypatch.setattr(loop.optim, "learning_rate", lambda *given: real(*given) if given[2] != 8 else float("nan"))
    error, _ = diverging(engine, small(data={"validation": None}))
    assert error.code == ErrorCode.DIVERGED


def test_a_teacher_that_predicts_nan_is_no_teacher(engine, teacher, tmp_path):
    """Its student would be NaN after one step."""
    network, config = load(teacher)
    torch.nn.init.constant_(network[-1].bias, float("nan"))
    save(network, config, tmp_path / "broken")
    error, events = diverging(engine, small(tmp_path / "broken"))
    assert error.code in (ErrorCode.DIVERGED, ErrorCode.INVALID_MODEL)
    assert not [event for event in events if isinstance(event, CheckpointSaved)]


def test_a_large_but_shrinking_loss_is_not_divergence(engine):
    """logit_mse may start in the hundreds; only growth far beyond the start ends a run."""
    spec = small(training={"optimizer": {"lr": 1e-3}}, objective=[{"loss": "cross_entropy", "weight": 1e6}])
    assert engine.run(spec).outcome.type == "finished"
