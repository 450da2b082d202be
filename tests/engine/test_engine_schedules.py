"""Learning rates against their closed forms, and the loop against both."""

from itertools import pairwise
from math import cos, pi

import pytest
from engine_runs import STEPS, small
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from contract.events import Step
from contract.spec import Optimizer, Schedule
from distill import optim

LR = Optimizer(lr=0.3)
many = settings(max_examples=200, deadline=None)
totals = st.integers(1, 500)


def rates(total, **schedule):
    return [optim.learning_rate(LR, Schedule(**schedule), step, total) for step in range(total)]


@many
@given(totals, st.integers(0, 600), st.sampled_from(["constant", "linear", "cosine"]))
def test_closed_forms(total, warmup, name):
    """warm-up: lr·(k+1)/w for its w steps; then lr · 1, 1 − x or (1 + cos πx)/2 with x from 0 towards 1."""
    found = rates(total, name=name, warmup=warmup)
    for k, rate in enumerate(found):
        if k < warmup:
            assert rate == pytest.approx(0.3 * (k + 1) / warmup)
            continue
        x = (k - warmup) / (total - warmup)
        assert rate == pytest.approx(0.3 * {"constant": 1, "linear": 1 - x, "cosine": (1 + cos(pi * x)) / 2}[name])


@many
@given(totals, st.floats(0, 1e9), st.sampled_from(["constant", "linear", "cosine"]))
def test_rates_are_positive_never_above_lr_and_rise_only_while_warming_up(total, warmup, name):
    """A rate of 0 is a wasted step, one above lr was not asked for."""
    found = rates(total, name=name, warmup=warmup)
    assert all(0 < rate <= 0.3 + 1e-12 for rate in found)
    top = found.index(max(found))
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)


@many
@given(totals, st.floats(0.001, 0.999))
def test_a_warmup_below_one_is_a_share_of_all_steps(total, share):
    assert rates(total, name="cosine", warmup=share) == rates(
        total, name="cosine", warmup=round(share * total) if round(share * total) else 0
    )


def test_one_is_one_step_and_not_all_of_them():
    assert rates(10, name="constant", warmup=1) == [0.3] * 10
    assert rates(10, name="constant", warmup=2)[:3] == [0.15, 0.3, 0.3]


def test_falling_schedules_spend_every_step():
    """The last step still learns: the rate reaches zero after it and not before."""
    assert rates(10, name="linear")[-1] == pytest.approx(0.03)
    assert rates(4, name="linear", warmup=2) == pytest.approx([0.15, 0.3, 0.3, 0.15])


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("schedule", [{"name": "cosine", "warmup": 0.25}, {"name": "linear"}, {"warmup": 5}], ids=str)
def test_the_optimiser_is_given_the_rate_of_its_step(engine, name, schedule):
    """Off by one here is a first step at the full rate, which is what warm-up is there to prevent."""
    ran = engine.run(small(training={"optimizer": {"name": name, "lr": 0.01}, "schedule": schedule}))
    curve = {event.step: event.metrics["learning_rate"] for event in ran.of(Step) if "learning_rate" in event.metrics}
    wanted = Schedule(**schedule)
    assert curve == {step + 1: optim.learning_rate(Optimizer(name=name, lr=0.01), wanted, step, STEPS) for step in range(STEPS)}


def test_clipping_bounds_the_step_and_the_curve_shows_the_norm_before_it(engine):
    """With sgd of lr 1 and no momentum a step is the clipped gradient itself."""
    plain = {"optimizer": {"name": "sgd", "lr": 1.0, "momentum": 0.0}, "checkpoint_every_seconds": 0, "keep": {"last": 1000}}
    ran = engine.run(small(training=plain | {"clip_norm": 0.01}))
    states = [load_file(ran.checkpoint(step) / "model.safetensors") for step in range(1, STEPS + 1)]
    for before, after in pairwise(states):
        moved = sum(((after[name] - before[name]) ** 2).sum() for name in before) ** 0.5
        assert moved.item() == pytest.approx(0.01, rel=1e-3)
    norms = [event.metrics["gradient_norm"] for event in ran.of(Step) if "gradient_norm" in event.metrics]
    assert min(norms) > 0.02
