"""Vocabularies worked off in pieces: against the formulas in float64, and each piece no oftener than it must be."""

import math

import pytest
import torch
import torch.nn.functional as F

from contract.registry import Clm, CrossEntropy, Jsd, Kl, Mlm, ReverseKl, SkewKl
from distill import losses, objectives
from distill.data.batch import IGNORED
from distill.objectives import Counts, Objective, Said


def reference(term, z_s, z_t, y):
    """In float64, straight from the formulas, one token after the other."""
    z_s, z_t = z_s.double(), z_t.double()
    found = []
    for s, t, label in zip(z_s, z_t, y.tolist(), strict=True):
        if isinstance(term, CrossEntropy):
            if label != IGNORED:
                found.append(-(s - s.logsumexp(0))[label])
            continue
        p_s, p_t = ((z / term.temperature).exp() / (z / term.temperature).exp().sum() for z in (s, t))
        if isinstance(term, Kl):
            found.append(term.temperature**2 * (p_t * (p_t / p_s).log()).sum())
        elif isinstance(term, ReverseKl):
            found.append(term.temperature**2 * (p_s * (p_s / p_t).log()).sum())
        elif isinstance(term, SkewKl):
            found.append(term.temperature**2 * (p_t * (p_t / (term.skew * p_t + (1 - term.skew) * p_s)).log()).sum())
        else:
            m = term.beta * p_t + (1 - term.beta) * p_s
            found.append(term.beta * (p_t * (p_t / m).log()).sum() + (1 - term.beta) * (p_s * (p_s / m).log()).sum())
    return torch.stack(found).mean()


TERMS = [Kl(temperature=2.0), ReverseKl(temperature=1.5), Jsd(beta=0.3, temperature=2.0), SkewKl(skew=0.2, temperature=2.0), Mlm(), Clm()]


@pytest.mark.parametrize("term", TERMS, ids=[term.loss for term in TERMS])
@pytest.mark.parametrize("piece", [1, 3, 7, 1000])
def test_no_piece_changes_a_term_or_its_gradient(monkeypatch, term, piece):
    """Vocabularies worked off in pieces against the formula in float64, with tokens that are not counted among them."""
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(11, 6, generator=draw)
    weight, teacher = torch.randn(9, 6, generator=draw), torch.randn(11, 9, generator=draw)
    y = torch.randint(0, 9, (11,), generator=draw)
    y[[0, 1, 2, 6]] = IGNORED
    counts = Counts(11, 7)
    monkeypatch.setattr(objectives, "PIECE", piece * 9)
    ours = [tensor.clone().requires_grad_() for tensor in (features, weight)]
    said = Said(ours[0], lambda x: F.linear(x, ours[1]), 9)
    total, parts = Objective([term])(said, y, Said.of(teacher), counts)
    total.backward()
    theirs = [tensor.double().requires_grad_() for tensor in (features, weight)]
    expected = reference(term, F.linear(*theirs), teacher, y)
    expected.backward()
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert parts[0].item() == pytest.approx(expected.item(), rel=1e-5)
    for mine, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad.double(), right.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("term", TERMS, ids=[term.loss for term in TERMS])
def test_a_piece_is_computed_twice_and_no_more(monkeypatch, term):
    """Forward, and again for its gradient; also where a loss goes over it in blocks, each of which has a way back of its own."""
    monkeypatch.setattr(objectives, "PIECE", 4 * 9)
    monkeypatch.setattr(losses, "ON_CPU", 9)
    asked = []

    def head(x):
        asked.append(len(x))
        return F.linear(x, weight)

    features, weight = torch.randn(12, 6, requires_grad=True), torch.randn(9, 6)
    total, _ = Objective([term])(Said(features, head, 9), torch.randint(9, (12,)), Said.of(torch.randn(12, 9)), Counts(12, 12))
    total.backward()
    assert asked == [4] * 6 and features.grad.abs().min() > 0


def test_a_skew_of_nothing_is_kl_and_any_bounds_it():
    torch.manual_seed(0)
    z_s, z_t = 50 * torch.randn(6, 5), 50 * torch.randn(6, 5)
    said = Said.of(z_s), torch.zeros(6, dtype=torch.int64), Said.of(z_t)
    _, (plain, none, some) = Objective([Kl(temperature=1.0), SkewKl(skew=0.0), SkewKl(skew=0.1)])(*said)
    assert none.item() == plain.item() > 20
    assert 0 < some.item() <= math.log(10) + 1e-6


def test_a_piece_in_which_nothing_is_counted_counts_nothing(monkeypatch):
    monkeypatch.setattr(objectives, "PIECE", 2 * 5)
    features = torch.randn(4, 5, requires_grad=True)
    y = torch.tensor([IGNORED, IGNORED, 3, IGNORED])
    total, _ = Objective([Mlm()])(Said.of(features), y, None, Counts(4, 1))
    assert total.item() == pytest.approx(F.cross_entropy(features[2:3], y[2:3]).item(), rel=1e-6)
    nothing, _ = Objective([Mlm()])(Said.of(features), torch.full((4,), IGNORED), None, Counts(4, 0))
    nothing.backward()
    assert nothing.item() == 0 and not features.grad.any()
