"""A run that was stopped and resumed, anywhere and however often, equals the undisturbed one bit for bit."""

import json
from pathlib import Path

import pytest
from engine_runs import STEPS, Ran, digest, small

from contract.events import CheckpointSaved, Finished, Resumed, Step, Stopped
from distill import curves

DROPOUT = {"arch": "mlp", "hidden": [8], "dropout": 0.3}
# Each with something that only a complete checkpoint can carry over.
RUNS = {
    "adam, distilled, cosine with warm-up, clipped": {
        "training": {"optimizer": {"lr": 2e-2, "weight_decay": 1e-3}, "schedule": {"name": "cosine", "warmup": 0.2}, "clip_norm": 0.5},
    },
    "adamw, stops early": {
        "training": {"optimizer": {"name": "adamw", "lr": 0.3, "weight_decay": 0.1}, "early_stopping": {"patience": 1, "metric": "loss"}},
    },
    "sgd with momentum, linear": {
        "training": {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}, "schedule": {"name": "linear"}, "precision": "bf16"},
    },
    "sgd without momentum": {"training": {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.0}}},
    "distilled, batch norm, crops and flips": {
        "student": {"arch": "resnet", "channels": [4], "blocks": 1},
        "data": {"augment": {"crop": 1, "flip": True}},
    },
}
CARRIED = ("model", "optimizer", "rng")


@pytest.fixture(params=RUNS, ids=RUNS)
def spec(request, teacher, monkeypatch):
    monkeypatch.setattr(curves, "POINTS", 5)  # points of the curves are means over 3 steps: their sums cross checkpoints too
    return small(teacher if "distilled" in request.param else None, **{"student": DROPOUT} | RUNS[request.param])


def state(folder):
    """What the last checkpoint holds, as hashes; the clock and the fingerprint have no part in it."""
    progress = json.loads((folder / "state.json").read_text())["progress"]
    return {name: digest(folder / f"{name}.safetensors") for name in CARRIED} | {"progress": progress | {"saved": None}}


def report(ran: Ran):
    """All of it but what a clock or the cache of teacher outputs had a say in."""
    assert isinstance(ran.outcome, Finished)
    timed = ("latency_ms", "rows_per_second", "training")
    arms = {name: {k: v for k, v in arm.items() if k not in timed} for name, arm in ran.report["arms"].items()}
    return {k: v for k, v in ran.report.items() if k not in ("teacher_outputs", "speedup")} | {"arms": arms}


def test_stopped_at_every_step(engine, spec):
    undisturbed = engine.run(spec)
    last = undisturbed.of(CheckpointSaved)[-1].step
    assert (last < STEPS) == (spec.training.early_stopping is not None)
    for step in range(1, last + 1):
        cut = engine.run(spec, stop_after=step)
        assert cut.outcome == Stopped(step=step)
        resumed = engine.run(spec, resume=cut.checkpoints)
        assert resumed.of(Resumed) == [Resumed(step=step, inexact=None)]
        if step < last:
            assert state(resumed.checkpoints[0]) == state(undisturbed.checkpoints[0]), f"stopped at step {step}"
        assert report(resumed) == report(undisturbed), f"stopped at step {step}"
        assert resumed.weights == undisturbed.weights, f"stopped at step {step}"
        assert cut.curve() + resumed.curve() == undisturbed.curve(), f"stopped at step {step}"  # no point twice, none missing


def test_stopped_after_every_step(engine, spec):
    """A machine that is taken away again and again: one step for each attempt."""
    undisturbed = engine.run(spec)
    attempt, curve = engine.run(spec, stop_after=1), []
    while isinstance(attempt.outcome, Stopped):
        curve += attempt.curve()
        attempt = engine.run(spec, stop_after=1, resume=attempt.checkpoints)
    assert attempt.weights == undisturbed.weights
    assert curve + attempt.curve() == undisturbed.curve()


@pytest.mark.parametrize(("first", "second"), [(1, 1), (5, 6), (7, 4), (11, 6)])
def test_resumed_twice(engine, spec, first, second):
    undisturbed = engine.run(spec)
    cut = engine.run(spec, stop_after=first)
    again = engine.run(spec, stop_after=second, resume=cut.checkpoints)
    ended = engine.run(spec, resume=again.checkpoints or cut.checkpoints)
    assert ended.weights == undisturbed.weights


def test_a_checkpoint_taken_in_passing_serves_as_well(engine, spec):
    """A killed trainer leaves periodic checkpoints and not one taken on request: going on from each must give the same student."""
    spec = spec.model_copy(update={"training": spec.training.model_copy(update={"checkpoint_every_seconds": 0})})
    undisturbed = engine.run(spec)
    for saved in undisturbed.of(CheckpointSaved):
        resumed = engine.run(spec, resume=[undisturbed.checkpoint(saved.step)])
        assert resumed.weights == undisturbed.weights, f"from step {saved.step}"


class KilledError(Exception):
    """Stands for a signal: whoever gets it does nothing any more."""


def test_killed_at_any_event_of_a_chain_of_attempts(engine, spec):
    """Not at a step boundary and without a last checkpoint: in the middle of a step's words, right before and right after a
    checkpoint is announced. Each attempt is killed a little later than the one before, and goes on from what the disk holds."""
    spec = spec.model_copy(update={"training": spec.training.model_copy(update={"checkpoint_every_seconds": 0})})
    undisturbed, said, attempts = engine.run(spec), [], 0
    kept: list[Path] = []
    ended = None
    while ended is None:
        attempts += 1
        left = 1 + attempts % 7
        folder = engine.home / f"attempt-{engine.attempts + 1}" / "checkpoints"

        def emit(event):
            nonlocal left
            if isinstance(event, Step):
                said.append((event.step, {k: v for k, v in event.metrics.items() if k not in ("steps_per_second", "memory_bytes")}))
            left -= isinstance(event, Step | CheckpointSaved | Resumed)
            if not left:
                raise KilledError

        try:
            ended = engine.run(spec, resume=kept, emit=emit)
        except KilledError:
            made = sorted(folder.iterdir(), key=lambda path: -int(path.name)) if folder.exists() else []
            kept = [*made, *kept]
    assert attempts > 3
    assert ended.weights == undisturbed.weights
    assert report(ended) == report(undisturbed)
    curve = undisturbed.curve()
    assert all(point in curve for point in said)  # some twice, none other
    assert all(point in said for point in curve)


def test_the_checkpoints_after_a_resume_say_what_they_would_have_said(engine):
    """Retention chooses by the validation metric: were it forgotten on resume, the best checkpoint would fall out."""
    spec = small(training={"checkpoint_every_seconds": 0, "keep": {"last": 1, "best": 1}})
    undisturbed = engine.run(spec).of(CheckpointSaved)
    for step in (5, 6, 8, 13):
        resumed = engine.run(spec, resume=engine.run(spec, stop_after=step).checkpoints[:1]).of(CheckpointSaved)
        for ours, theirs in zip(resumed, undisturbed[step:], strict=True):
            assert (ours.step, ours.metrics, ours.dropped) == (theirs.step, theirs.metrics, theirs.dropped), f"stopped at step {step}"
