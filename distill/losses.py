"""Losses as pure functions of logits. Every one is computed in float32, whatever the network ran in: softmax in bf16 loses
the small probabilities that carry a teacher's knowledge.

z_s, z_t: student and teacher logits [N, C]; y: class indices [N]; T: temperature. All return a scalar, the mean over the N rows, and are
gone over in blocks of rows where C is a vocabulary: what a formula makes on its way then stays in the processor's cache instead of standing
in memory whole, and of the block only the gradient is kept.
"""

from collections.abc import Callable
from functools import partial
from math import log, log1p
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

ON_CPU, ELSEWHERE = 2**20, 2**22  # logits of a block: 4 MiB in float32 are in a cache; a GPU wants more at once


def in_blocks(formula: Callable[..., Tensor], z_s: Tensor, *others: Tensor) -> Tensor:
    """What a formula, a mean over rows, makes of all of them, though it sees a block of rows at a time: logits [n, C] in float32, and the
    same rows of the others. Only z_s has a gradient."""
    if z_s.numel() <= _block(z_s):
        return formula(z_s.float(), *others)
    found: Tensor = _InBlocks.apply(formula, z_s, *others)  # type: ignore[no-untyped-call]
    return found


def _block(z: Tensor) -> int:
    return ON_CPU if z.device.type == "cpu" else ELSEWHERE


class _InBlocks(torch.autograd.Function):
    """Goes forward and back in each block before the next one."""

    @staticmethod
    def forward(ctx: Any, formula: Callable[..., Tensor], z_s: Tensor, *others: Tensor) -> Tensor:
        gradient = torch.empty_like(z_s) if ctx.needs_input_grad[1] else None
        shares, step = [], max(1, _block(z_s) // z_s.shape[1])
        for start in range(0, len(z_s), step):
            rows = slice(start, start + step)
            z, rest = z_s[rows].detach().float(), [other[rows] for other in others]
            # Where all this is computed again rather than kept, what a block needs on its way back is kept: it goes back at once.
            with torch.set_grad_enabled(gradient is not None), saved_tensors_hooks(_same, _same):
                share = formula(z.requires_grad_(gradient is not None), *rest) * (len(z) / len(z_s))
            if gradient is not None:
                gradient[rows] = torch.autograd.grad(share, z)[0]
            shares.append(share.detach())
        ctx.save_for_backward(gradient)
        return torch.stack(shares).sum()

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return None, gradient * given[0].to(gradient.dtype), *[None] * (len(ctx.needs_input_grad) - 2)


def _same(tensor: Tensor) -> Tensor:
    return tensor


def kl(z_s: Tensor, z_t: Tensor, temperature: float) -> Tensor:
    """T² · KL(softmax(z_t/T) ‖ softmax(z_s/T)), summed over classes. T² keeps gradients of one size at every T.

    Hinton, Vinyals, Dean 2015, https://arxiv.org/abs/1503.02531
    """

    def formula(z_s: Tensor, z_t: Tensor) -> Tensor:
        return temperature**2 * _divergence(_log_softmax(z_t, temperature), _log_softmax(z_s, temperature)).mean()

    return in_blocks(formula, z_s, z_t)


def _log_softmax(z: Tensor, temperature: float = 1.0) -> Tensor:
    return F.log_softmax(z.float() if temperature == 1 else z.float() / temperature, dim=-1)


def _divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p ‖ q) of each row [n]."""
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1)


def soft_cross_entropy(z_s: Tensor, z_t: Tensor, temperature: float, t_squared: bool = True) -> Tensor:
    """−Σ_c p_t(c) · log p_s(c) with both softened by T, times T² if asked: `kl` plus the teacher's entropy, the same gradient.

    Hinton, Vinyals, Dean 2015, https://arxiv.org/abs/1503.02531
    """

    def formula(z_s: Tensor, z_t: Tensor) -> Tensor:
        loss = -(_log_softmax(z_t, temperature).exp() * _log_softmax(z_s, temperature)).sum(dim=-1).mean()
        return temperature**2 * loss if t_squared else loss

    return in_blocks(formula, z_s, z_t)


def logit_mse(z_s: Tensor, z_t: Tensor, possible: Tensor | None = None) -> Tensor:
    """Mean over rows and classes of (z_s − z_t)²; possible [N, C]: of each row only these classes, where rows have unlike numbers of them.

    Ba, Caruana 2014, https://arxiv.org/abs/1312.6184; Tang et al. 2019, https://arxiv.org/abs/1903.12136
    """

    if possible is None:
        return in_blocks(lambda z_s, z_t: F.mse_loss(z_s, z_t.float()), z_s, z_t)

    def formula(z_s: Tensor, z_t: Tensor, possible: Tensor) -> Tensor:
        squared = (z_s - z_t.float()).square().masked_fill(~possible, 0.0)
        return (squared.sum(dim=-1) / possible.sum(dim=-1).clamp(min=1)).mean()

    return in_blocks(formula, z_s, z_t, possible)


def cross_entropy(z_s: Tensor, y: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """−log softmax(z_s)[y]. Smoothing spreads that share of each label over all classes (Szegedy et al. 2016,
    https://arxiv.org/abs/1512.00567)."""
    return in_blocks(partial(F.cross_entropy, label_smoothing=label_smoothing), z_s, y)


def reverse_kl(z_s: Tensor, z_t: Tensor, temperature: float) -> Tensor:
    """T² · KL(softmax(z_s/T) ‖ softmax(z_t/T)), summed over classes (Gu et al. 2023, https://arxiv.org/abs/2306.08543)."""

    def formula(z_s: Tensor, z_t: Tensor) -> Tensor:
        return temperature**2 * _divergence(_log_softmax(z_s, temperature), _log_softmax(z_t, temperature)).mean()

    return in_blocks(formula, z_s, z_t)


def single_step_kl(z_s: Tensor, z_t: Tensor, weights: Tensor) -> Tensor:
    """Mean of w · KL(softmax(z_s) ‖ softmax(z_t)), weights w [N] (Gu et al. 2023, https://arxiv.org/abs/2306.08543): the gradient of the
    single-step part of policy gradient, exactly."""

    def formula(z_s: Tensor, z_t: Tensor, weights: Tensor) -> Tensor:
        return (weights * _divergence(_log_softmax(z_s), _log_softmax(z_t))).mean()

    return in_blocks(formula, z_s, z_t, weights)


def policy_gradient(z_s: Tensor, y: Tensor, weights: Tensor, reward: Tensor) -> Tensor:
    """Mean of −w · R with the gradient −w · R · ∇log softmax(z_s)[y], weights w and rewards R [N] being what they are: R times p/p, one of
    them without a gradient (Foerster et al. 2018, https://arxiv.org/abs/1802.05098; Gu et al. 2023, https://arxiv.org/abs/2306.08543)."""

    def formula(z_s: Tensor, y: Tensor, worth: Tensor) -> Tensor:
        log_p = _log_softmax(z_s).gather(1, y[:, None])[:, 0]
        return -(worth * (log_p - log_p.detach()).exp()).mean()

    return in_blocks(formula, z_s, y, weights * reward)


def skew_kl(z_s: Tensor, z_t: Tensor, skew: float, temperature: float) -> Tensor:
    """T² · KL(p_t ‖ λ·p_t + (1 − λ)·p_s), λ being `skew` (Ko et al. 2024, https://arxiv.org/abs/2402.03898)."""
    if skew == 0:
        return kl(z_s, z_t, temperature)

    def formula(z_s: Tensor, z_t: Tensor) -> Tensor:
        log_p_t = _log_softmax(z_t, temperature)
        return temperature**2 * _divergence(log_p_t, _mixed(log_p_t, _log_softmax(z_s, temperature), skew)).mean()

    return in_blocks(formula, z_s, z_t)


def jsd(z_s: Tensor, z_t: Tensor, beta: float, temperature: float) -> Tensor:
    """β·KL(p_t ‖ m) + (1 − β)·KL(p_s ‖ m) with m = β·p_t + (1 − β)·p_s (Agarwal et al. 2023, https://arxiv.org/abs/2306.13649)."""

    def formula(z_s: Tensor, z_t: Tensor) -> Tensor:
        log_p_s, log_p_t = _log_softmax(z_s, temperature), _log_softmax(z_t, temperature)
        log_m = _mixed(log_p_t, log_p_s, beta)
        return (beta * _divergence(log_p_t, log_m) + (1 - beta) * _divergence(log_p_s, log_m)).mean()

    return in_blocks(formula, z_s, z_t)


def _mixed(log_p: Tensor, log_q: Tensor, share: float) -> Tensor:
    """log(λ·p + (1 − λ)·q), λ being `share`."""
    return torch.logaddexp(log_p + log(share), log_q + log1p(-share))
