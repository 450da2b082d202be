"""Each loss equals a float64 reference written from its formula, over shapes, temperatures and magnitudes."""

# ruff: noqa: N803 - T is the temperature in every formula

import numpy as np
import pytest
import torch
from engine_references import EPS, cross_entropy, kl, logit_mse, logits, rounding, soft_cross_entropy
from engine_runs import small
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.registry import CrossEntropy, Kl, LogitMse, SoftCrossEntropy
from distill import losses
from distill.curves import Curves
from distill.objectives import Objective, Said

temperatures = st.one_of(st.sampled_from([0.5, 1.0, 2.0, 4.0, 20.0]), st.floats(0.1, 100.0))
many = settings(max_examples=150, deadline=None)


def wide(*arrays):
    return [array.astype(np.float64) for array in arrays]


@many
@given(logits(), temperatures)
def test_kl_is_t_squared_times_the_divergence_summed_over_classes_averaged_over_rows(batch, T):
    z_s, z_t, _ = batch
    found = losses.kl(torch.from_numpy(z_s), torch.from_numpy(z_t), T)
    assert found.shape == ()
    assert found.item() == pytest.approx(kl(*wide(z_s, z_t), T), rel=1e-5, abs=T * T * rounding(z_s, z_t, T))


@many
@given(logits(), temperatures, st.booleans())
def test_soft_cross_entropy_has_its_t_squared_only_when_asked(batch, T, t_squared):
    z_s, z_t, _ = batch
    found = losses.soft_cross_entropy(torch.from_numpy(z_s), torch.from_numpy(z_t), T, t_squared)
    allowed = (T * T if t_squared else 1) * rounding(z_s, z_t, T)
    assert found.item() == pytest.approx(soft_cross_entropy(*wide(z_s, z_t), T, t_squared), rel=1e-5, abs=allowed)


@many
@given(logits())
def test_logit_mse_is_the_mean_over_rows_and_classes(batch):
    z_s, z_t, _ = batch
    found = losses.logit_mse(torch.from_numpy(z_s), torch.from_numpy(z_t))
    assert found.item() == pytest.approx(logit_mse(*wide(z_s, z_t)), rel=1e-5)


@many
@given(logits(), st.one_of(st.just(0.0), st.floats(0.0, 0.99)))
def test_cross_entropy_spreads_only_the_smoothed_share_over_all_classes(batch, smoothing):
    z_s, _, y = batch
    found = losses.cross_entropy(torch.from_numpy(z_s), torch.from_numpy(y), smoothing)
    expected = cross_entropy(z_s.astype(np.float64), y, smoothing)
    assert found.item() == pytest.approx(expected, rel=1e-5, abs=8 * EPS * (np.ptp(z_s) + np.log(z_s.shape[1]) + 1))


@settings(max_examples=50, deadline=None)
@given(logits(), st.floats(0.1, 20.0), st.floats(0.0, 3.0), st.floats(0.0, 3.0), st.floats(0.01, 3.0))
def test_an_objective_is_the_weighted_sum_and_adds_no_factor_of_its_own(batch, T, a, b, c):
    """A second T² or a weight that is normalised away would change every published result."""
    z_s, z_t, y = (torch.from_numpy(part) for part in batch)
    terms = [
        Kl(temperature=T, weight=a),
        SoftCrossEntropy(temperature=T, t_squared=False, weight=b),
        LogitMse(weight=c),
        CrossEntropy(label_smoothing=0.1, weight=b),
    ]
    total, parts = Objective(terms)(Said.of(z_s), y, Said.of(z_t))
    plain = [
        losses.kl(z_s, z_t, T).item(),
        losses.soft_cross_entropy(z_s, z_t, T, False).item(),
        losses.logit_mse(z_s, z_t).item(),
        losses.cross_entropy(z_s, y, 0.1).item(),
    ]
    assert [part.item() for part in parts] == plain  # each before its weight, as the curves show them
    expected = sum(term.weight * value for term, value in zip(terms, plain, strict=True))
    assert total.item() == pytest.approx(expected, rel=1e-5, abs=1e-4)


def test_terms_of_one_kind_keep_their_own_curves():
    """Two kl terms at two temperatures must not be added up under one name."""
    assert Objective([Kl(temperature=1.0), CrossEntropy(), Kl(temperature=4.0)]).names == ["kl", "cross_entropy", "kl_2"]


def test_curves_are_told_numbers_without_graphs(engine, teacher, monkeypatch):
    """One that kept its graph would keep every batch's activations until the next point of the curve."""
    told, real = [], Curves.add
    monkeypatch.setattr(Curves, "add", lambda self, values: told.extend(values.values()) or real(self, values))
    engine.run(small(teacher, training={"epochs": 1}))
    assert len(told) == 18 and not any(value.requires_grad for value in told)
