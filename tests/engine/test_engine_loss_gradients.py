"""What a student learns from is the gradient: each against central differences of the float64 reference, and closed forms."""

# ruff: noqa: N803 - T is the temperature in every formula

from functools import partial

import engine_references as reference
import numpy as np
import pytest
import torch
from engine_references import EPS, logits, numeric_gradient, softmax
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from distill import losses

tiny = logits(rows=4, classes=6)
temperatures = st.sampled_from([0.5, 1.0, 2.0, 4.0, 20.0, 100.0])
some = settings(max_examples=60, deadline=None)


def gradient(loss, z_s, *rest):
    """∂loss/∂z_s [B, C] as the engine computes it."""
    z = torch.from_numpy(z_s).requires_grad_()
    loss(z, *rest).backward()
    return z.grad.double().numpy()


def close(found, expected, largest):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * largest)


@some
@given(tiny, temperatures)
def test_kl_pulls_by_t_times_the_difference_of_softened_probabilities(batch, T):
    z_s, z_t, _ = batch
    z_s64, z_t64 = z_s.astype(np.float64), z_t.astype(np.float64)
    exact = T * (softmax(z_s64 / T) - softmax(z_t64 / T)) / len(z_s)
    found = gradient(partial(losses.kl, z_t=torch.from_numpy(z_t), temperature=T), z_s)
    allowed = 32 * EPS * T * (1 + np.ptp(z_s) / T + np.ptp(z_t) / T)
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=allowed)
    close(numeric_gradient(lambda z: reference.kl(z, z_t64, T), z_s64), exact, max(T, 1.0))  # the closed form itself


@some
@given(tiny, temperatures, st.booleans())
def test_soft_cross_entropy(batch, T, t_squared):
    z_s, z_t, _ = batch
    expected = numeric_gradient(lambda z: reference.soft_cross_entropy(z, z_t.astype(np.float64), T, t_squared), z_s.astype(np.float64))
    close(gradient(partial(losses.soft_cross_entropy, z_t=torch.from_numpy(z_t), temperature=T, t_squared=t_squared), z_s), expected, T)


@some
@given(tiny, temperatures)
def test_kl_and_soft_cross_entropy_teach_the_same(batch, T):
    """They differ by the teacher's entropy, which no student can change: papers that use one and papers that use the other agree."""
    z_s, z_t, _ = batch
    target = torch.from_numpy(z_t)
    by_kl = gradient(partial(losses.kl, z_t=target, temperature=T), z_s)
    close(gradient(partial(losses.soft_cross_entropy, z_t=target, temperature=T), z_s), by_kl, EPS * 1e4 * max(T, 1.0))


@some
@given(tiny)
def test_logit_mse(batch):
    z_s, z_t, _ = batch
    found = gradient(partial(losses.logit_mse, z_t=torch.from_numpy(z_t)), z_s)
    np.testing.assert_allclose(found, 2 * (z_s.astype(np.float64) - z_t) / z_s.size, rtol=1e-5, atol=1e-7)


@some
@given(tiny, st.sampled_from([0.0, 0.1, 0.7]))
def test_cross_entropy(batch, smoothing):
    z_s, _, y = batch
    expected = numeric_gradient(lambda z: reference.cross_entropy(z, y, smoothing), z_s.astype(np.float64))
    close(gradient(partial(losses.cross_entropy, y=torch.from_numpy(y), label_smoothing=smoothing), z_s), expected, 1.0)


@pytest.mark.parametrize("T", [1.0, 4.0, 20.0, 100.0])
def test_teacher_equal_to_student_leaves_the_student_alone(T):
    """kl is exactly 0 there, and a student that has arrived must not be pushed away again."""
    z = np.random.default_rng(0).normal(0, 5, (7, 11)).astype(np.float32)
    same = torch.from_numpy(z.copy())
    assert losses.kl(torch.from_numpy(z), same, T).item() == 0.0
    assert np.abs(gradient(partial(losses.kl, z_t=same, temperature=T), z)).max() <= 4 * EPS * T
    assert losses.logit_mse(torch.from_numpy(z), same).item() == 0.0
    assert not gradient(partial(losses.logit_mse, z_t=same), z).any()


def test_t_squared_keeps_the_gradient_of_one_size_at_high_temperatures():
    """Hinton's limit: for T far above the logits, kl's gradient is (z_s − z_t)/(B·C), whatever T. T² missing or applied twice breaks it."""
    draw = np.random.default_rng(1)
    z_s, z_t = (draw.normal(size=(5, 10)).astype(np.float32) for _ in range(2))
    z_s, z_t = z_s - z_s.mean(1, keepdims=True), z_t - z_t.mean(1, keepdims=True)
    limit = (z_s - z_t) / z_s.size
    for T in (50.0, 100.0):
        found = gradient(partial(losses.kl, z_t=torch.from_numpy(z_t), temperature=T), z_s)
        np.testing.assert_allclose(found, limit, atol=0.05 * np.abs(limit).max())


WITH_BLOCKS = {
    "kl": lambda z, t, y: losses.kl(z, t, 2.0),
    "reverse_kl": lambda z, t, y: losses.reverse_kl(z, t, 2.0),
    "jsd": lambda z, t, y: losses.jsd(z, t, 0.3, 2.0),
    "skew_kl": lambda z, t, y: losses.skew_kl(z, t, 0.1, 2.0),
    "soft_cross_entropy": lambda z, t, y: losses.soft_cross_entropy(z, t, 2.0),
    "logit_mse": lambda z, t, y: losses.logit_mse(z, t),
    "logit_mse of some": lambda z, t, y: losses.logit_mse(z, t, t > -1),
    "cross_entropy": lambda z, t, y: losses.cross_entropy(z, y, 0.1),
    "single_step_kl": lambda z, t, y: losses.single_step_kl(z, t, y / 7),
    "policy_gradient": lambda z, t, y: losses.policy_gradient(z, y, y / 7, t[:, 0]),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("loss", WITH_BLOCKS.values(), ids=WITH_BLOCKS)
@pytest.mark.parametrize("block", [1, 30, 70], ids=["a row", "a last block that is shorter", "all rows but one"])
def test_a_vocabulary_gone_over_in_blocks_changes_nothing(monkeypatch, loss, dtype, block):
    torch.manual_seed(0)
    z = torch.randn(11, 7).to(dtype).requires_grad_()
    t, y = torch.randn(11, 7).to(dtype), torch.randint(7, (11,))
    found = []
    for size in (10**6, block):
        monkeypatch.setattr(losses, "ON_CPU", size)
        value = loss(z, t, y)
        (3 * value).backward()
        found.append((value.detach(), z.grad))
        z.grad = None
        assert not loss(z.detach(), t, y).requires_grad
    (value, slope), (value_of_blocks, slope_of_blocks) = found
    torch.testing.assert_close(value_of_blocks, value, rtol=1e-6, atol=1e-7)
    near = {"rtol": 1e-5, "atol": 1e-7} if dtype == torch.float32 else {"rtol": 1e-2, "atol": 1e-4}
    torch.testing.assert_close(slope_of_blocks, slope, **near)


@pytest.mark.parametrize("loss", WITH_BLOCKS.values(), ids=WITH_BLOCKS)
def test_of_a_vocabulary_nothing_stands_in_memory_whole_but_the_gradient(monkeypatch, loss):
    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            found = func(*args, **(kwargs or {}))
            made.extend(one for one in (found if isinstance(found, (tuple, list)) else [found]) if isinstance(one, torch.Tensor))
            return found

    made = []
    monkeypatch.setattr(losses, "ON_CPU", 2**12)
    z = torch.randn(64, 1024).bfloat16().requires_grad_()
    t, y = torch.randn(64, 1024).bfloat16(), torch.randint(1024, (64,))
    with Watch():
        loss(z, t, y).backward()
    large = [one for one in made if one.numel() > 2**12]
    assert large
    assert {one.dtype for one in large} <= {torch.bfloat16, torch.bool}
