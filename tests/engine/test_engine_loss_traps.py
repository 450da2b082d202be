"""The mistakes that published distillation code makes, one test each (design: distillation.md, Traps)."""

# ruff: noqa: N803 - T is the temperature in every formula

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from engine_references import kl, logits, softmax
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.registry import LOSSES
from distill import inner_losses, losses


def drawn(rows, classes, seed=0, size=3.0):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, classes, generator=draw) * size for _ in range(2)]


def test_classes_are_summed_and_not_averaged():
    """KLDivLoss's default `mean` divides by the number of classes too: 0.001 of the loss at 1,000 classes."""
    z_s, z_t = drawn(4, 1000)
    found = losses.kl(z_s, z_t, 1.0).item()
    trap = F.kl_div(F.log_softmax(z_s, -1), F.softmax(z_t, -1), reduction="none").mean().item()  # what reduction="mean" does
    assert found == pytest.approx(1000 * trap, rel=1e-4)
    assert found == pytest.approx(kl(z_s.double().numpy(), z_t.double().numpy(), 1.0), rel=1e-5)


@pytest.mark.parametrize("loss", [lambda s, t: losses.kl(s, t, 4.0), lambda s, t: losses.soft_cross_entropy(s, t, 4.0), losses.logit_mse])
def test_rows_are_averaged_and_not_summed(loss):
    """A loss that grows with the batch makes the learning rate depend on the batch size."""
    z_s, z_t = drawn(6, 10)
    twice = loss(torch.cat([z_s, z_s]), torch.cat([z_t, z_t])).item()
    assert twice == pytest.approx(loss(z_s, z_t).item(), rel=1e-5)


def test_softening_comes_before_the_softmax():
    """softmax(z)/T is no distribution: the loss must differ from it, and agree with softmax(z/T)."""
    z_s, z_t = drawn(5, 7)
    p_t, log_p_s = softmax(z_t.double().numpy() / 4), np.log(softmax(z_s.double().numpy() / 4))
    right = 16 * np.mean(np.sum(p_t * (np.log(p_t) - log_p_s), axis=1))
    assert losses.kl(z_s, z_t, 4.0).item() == pytest.approx(right, rel=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.sampled_from([0.5, 1.0, 2.0, 5.0, 20.0, 100.0]))
def test_temperature_softens_but_keeps_every_rank_and_the_sum(seed, classes, T):
    """An article's printed T = 5 table sums to 0.885 and changes ranks; temperature never can.

    The softened teacher is read back from what the student feels: at z_s = 0 the gradient of kl is T·(1/C − p_t)/B."""
    order = np.random.default_rng(seed).permutation(classes)
    z_t = torch.from_numpy((order - classes / 2).astype(np.float32))[None]
    z_s = torch.zeros(1, classes, requires_grad=True)
    losses.kl(z_s, z_t, T).backward()
    p_t = 1 / classes - z_s.grad[0].double().numpy() / T
    assert p_t.sum() == pytest.approx(1.0, abs=1e-5)
    assert np.array_equal(np.argsort(p_t[order >= classes - 4]), np.argsort(order[order >= classes - 4]))
    assert p_t.argmax() == order.argmax()


def test_each_row_has_its_own_soft_target():
    """Soft targets averaged over the batch teach every row the same: two opposite teachers would cancel."""
    z_t = torch.tensor([[4.0, -4.0], [-4.0, 4.0]])
    undecided = torch.zeros(2, 2)
    assert losses.kl(z_t, z_t, 1.0).item() == 0.0
    assert losses.kl(undecided, z_t, 1.0).item() > 0.5  # against the average it would be 0
    assert losses.kl(z_t.flip(0), z_t, 1.0).item() > 5


BF16 = settings(max_examples=100, deadline=None)


@BF16
@given(logits(rows=6, classes=200, largest=20.0), st.sampled_from([1.0, 2.0, 4.0]))
def test_losses_of_bf16_logits_are_computed_in_float32(batch, T):
    """bf16 keeps 8 bits: most of its divergences came out negative when tried. The loss of rounded logits must be that of float64."""
    z_s, z_t = (torch.from_numpy(part).bfloat16() for part in batch[:2])
    y = torch.from_numpy(batch[2])
    found = losses.kl(z_s, z_t, T)
    exact = kl(z_s.double().numpy(), z_t.double().numpy(), T)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(exact, rel=1e-4, abs=1e-5 * T * T)
    for loss in (losses.soft_cross_entropy(z_s, z_t, T), losses.logit_mse(z_s, z_t), losses.cross_entropy(z_s, y)):
        assert loss.dtype == torch.float32
        assert loss.item() >= 0


def test_no_divergence_of_bf16_logits_is_negative():
    """Row by row, where the trap shows: 500 teachers and students that nearly agree, as at the end of training."""
    z_t = torch.randn(500, 1000, generator=torch.Generator().manual_seed(0)) * 2
    z_s = (z_t + 0.1 * torch.randn(500, 1000, generator=torch.Generator().manual_seed(1))).bfloat16()
    z_t = z_t.bfloat16()
    rows = torch.stack([losses.kl(s[None], t[None], 1.0) for s, t in zip(z_s, z_t, strict=True)])
    assert rows.min() > 0
    in_bf16 = (F.softmax(z_t, -1) * (F.log_softmax(z_t, -1) - F.log_softmax(z_s, -1))).sum(-1)
    assert (in_bf16 <= 0).any()  # the trap is there to fall into


def test_large_logits_stay_finite():
    """log(softmax(z)) is −inf for a class far below the best; log_softmax is not."""
    z_s, z_t = torch.tensor([[500.0, -500.0, 0.0]]).requires_grad_(), torch.tensor([[-500.0, 500.0, 0.0]])
    for loss in (losses.kl(z_s, z_t, 0.5), losses.soft_cross_entropy(z_s, z_t, 0.5), losses.cross_entropy(z_s, torch.tensor([1]))):
        (grad,) = torch.autograd.grad(loss, z_s)
        assert loss.isfinite()
        assert grad.isfinite().all()


def test_every_loss_says_its_paper_and_what_it_is_the_mean_of():
    """Shapes and units of the arguments stand once, at the head of each file."""
    named = {loss.key() for loss in LOSSES}
    functions = {name: code for file in (losses, inner_losses) for name, code in vars(file).items() if name in named}
    assert named - set(functions) == {"mlm", "clm", "embedding_mse", "feature_hint"}, "these are others of other tokens or layers"
    for name, code in functions.items():
        assert "https://" in code.__doc__, name
    for file in (losses, inner_losses):
        assert re.search(r"\[N, [CH]\]", file.__doc__) and re.search(r"mean over (the|those)\s+N", file.__doc__)
