"""The losses once more in float64 numpy, written from their formulas: nothing here is torch's, nothing is shared with distill."""

# ruff: noqa: N803 - T is the temperature in every formula

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Floats = NDArray[np.float64]
EPS = float(np.finfo(np.float32).eps)


def log_softmax(z: Floats) -> Floats:
    shifted = z - z.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(z: Floats) -> Floats:
    return np.exp(log_softmax(z))


def kl(z_s: Floats, z_t: Floats, T: float) -> float:
    log_p_s, log_p_t = log_softmax(z_s / T), log_softmax(z_t / T)
    return float(T * T * np.mean(np.sum(np.exp(log_p_t) * (log_p_t - log_p_s), axis=-1)))


def soft_cross_entropy(z_s: Floats, z_t: Floats, T: float, t_squared: bool) -> float:
    found = float(np.mean(-np.sum(softmax(z_t / T) * log_softmax(z_s / T), axis=-1)))
    return T * T * found if t_squared else found


def logit_mse(z_s: Floats, z_t: Floats) -> float:
    return float(np.sum((z_s - z_t) ** 2) / z_s.size)


def cross_entropy(z_s: Floats, y: NDArray[np.int64], smoothing: float) -> float:
    classes = z_s.shape[-1]
    wanted = (1 - smoothing) * np.eye(classes)[y] + smoothing / classes
    return float(np.mean(-np.sum(wanted * log_softmax(z_s), axis=-1)))


def single_step_kl(z_s: Floats, z_t: Floats, weights: Floats) -> float:
    log_p_s, log_p_t = log_softmax(z_s), log_softmax(z_t)
    return float(np.mean(weights * np.sum(np.exp(log_p_s) * (log_p_s - log_p_t), axis=-1)))


def policy_gradient(z_s: Floats, y: NDArray[np.int64], weights: Floats, rewards: Floats) -> Floats:
    """By z_s [N, C] of −mean of w·R·log p_s(y): −w·R·(one-hot of y − p_s)/N."""
    found: Floats = -(weights * rewards)[:, None] * (np.eye(z_s.shape[-1])[y] - softmax(z_s)) / len(z_s)
    return found


def numeric_gradient(value: Callable[[Floats], float], at: Floats, step: float = 1e-5) -> Floats:
    """Central differences in float64."""
    found = np.empty_like(at)
    for place in np.ndindex(at.shape):
        moved = at.copy()
        moved[place] += step
        above = value(moved)
        moved[place] -= 2 * step
        found[place] = (above - value(moved)) / (2 * step)
    return found


def rounding(z_s: Floats, z_t: Floats, T: float) -> float:
    """What float32 may cost a softened cross-entropy: a few units in the last place of the largest |log p|."""
    largest = max(np.ptp(z_s, axis=-1).max(), np.ptp(z_t, axis=-1).max()) / T + np.log(z_s.shape[-1]) + 1
    return float(8 * EPS * largest)


@st.composite
def logits(draw: st.DrawFn, rows: int = 8, classes: int = 40, largest: float = 50.0) -> tuple[Any, Any, Any]:
    """(z_s, z_t, y): float32 values up to ±largest, of one magnitude for each batch; sometimes with rows in which both agree."""
    b, c = draw(st.integers(1, rows)), draw(st.integers(2, classes))
    numbers = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.sampled_from([1e-3, 0.1, 1.0, 10.0, largest]))
    z_s, z_t = (numbers.uniform(-size, size, (b, c)).astype(np.float32) for _ in range(2))
    if draw(st.booleans()):
        z_t[0] = z_s[0]
    if draw(st.booleans()):
        z_t[-1] = draw(st.sampled_from([-largest, 0.0, largest]))  # a teacher that prefers nothing
        z_t[-1, 0] = draw(st.sampled_from([-largest, largest]))  # but one class
    return z_s, z_t, numbers.integers(0, c, b)
