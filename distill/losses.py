"""Losses as pure functions of logits. Every one is computed in float32, whatever the network ran in: softmax in bf16 loses
the small probabilities that carry a teacher's knowledge.

z_s, z_t: student and teacher logits [N, C]; y: class indices [N]; T: temperature. All return a scalar, the mean over the N rows.
"""

from math import log, log1p
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def kl(z_s: Tensor, z_t: Tensor, temperature: float) -> Tensor:
    """T² · KL(softmax(z_t/T) ‖ softmax(z_s/T)), summed over classes. T² keeps gradients of one size at every T.

    Hinton, Vinyals, Dean 2015, https://arxiv.org/abs/1503.02531
    """
    if z_t.requires_grad:  # who learns stands on the other side
        log_p_s, log_p_t = _log_softmax(z_s, temperature), _log_softmax(z_t, temperature)
        return temperature**2 * (log_p_t.exp() * (log_p_t - log_p_s)).sum(dim=-1).mean()
    found: Tensor = _Kl.apply(z_s, z_t, temperature)  # type: ignore[no-untyped-call]
    return found


class _Kl(torch.autograd.Function):
    """Its gradient is known beforehand, T · (p_s − p_t) / N, and takes the place of what the loss is made of: of a large vocabulary fewer
    tensors stand in memory and fewer are gone over than autograd would need."""

    @staticmethod
    def forward(ctx: Any, z_s: Tensor, z_t: Tensor, temperature: float) -> Tensor:
        log_p_s, log_p_t = _log_softmax(z_s, temperature), _log_softmax(z_t, temperature)
        p_t = log_p_t.exp()
        apart = log_p_t.sub_(log_p_s)
        if ctx.needs_input_grad[0]:
            gradient = log_p_s.exp_().sub_(p_t).mul_(temperature / len(p_t))
            ctx.save_for_backward(gradient.to(z_s.dtype))
        return temperature**2 * apart.mul_(p_t).sum(dim=-1).mean()

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * given[0].to(gradient.dtype), None, None


def _log_softmax(z: Tensor, temperature: float) -> Tensor:
    """In memory of its own."""
    return F.log_softmax(z.float() if temperature == 1 else z.float() / temperature, dim=-1)


def soft_cross_entropy(z_s: Tensor, z_t: Tensor, temperature: float, t_squared: bool = True) -> Tensor:
    """−Σ_c p_t(c) · log p_s(c) with both softened by T, times T² if asked: `kl` plus the teacher's entropy, the same gradient.

    Hinton, Vinyals, Dean 2015, https://arxiv.org/abs/1503.02531
    """
    log_p_s = F.log_softmax(z_s.float() / temperature, dim=-1)
    p_t = F.softmax(z_t.float() / temperature, dim=-1)
    loss = -(p_t * log_p_s).sum(dim=-1).mean()
    return temperature**2 * loss if t_squared else loss


def logit_mse(z_s: Tensor, z_t: Tensor, possible: Tensor | None = None) -> Tensor:
    """Mean over rows and classes of (z_s − z_t)²; possible [N, C]: of each row only these classes, where rows have unlike numbers of them.

    Ba, Caruana 2014, https://arxiv.org/abs/1312.6184; Tang et al. 2019, https://arxiv.org/abs/1903.12136
    """
    if possible is None:
        return F.mse_loss(z_s.float(), z_t.float())
    squared = (z_s.float() - z_t.float()).square().masked_fill(~possible, 0.0)
    return (squared.sum(1) / possible.sum(1).clamp(min=1)).mean()


def cross_entropy(z_s: Tensor, y: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """−log softmax(z_s)[y]. Smoothing spreads that share of each label over all classes (Szegedy et al. 2016,
    https://arxiv.org/abs/1512.00567)."""
    return F.cross_entropy(z_s.float(), y, label_smoothing=label_smoothing)


def reverse_kl(z_s: Tensor, z_t: Tensor, temperature: float) -> Tensor:
    """T² · KL(softmax(z_s/T) ‖ softmax(z_t/T)), summed over classes (Gu et al. 2023, https://arxiv.org/abs/2306.08543)."""
    return kl(z_t, z_s, temperature)


def single_step_kl(z_s: Tensor, z_t: Tensor, weights: Tensor) -> Tensor:
    """Mean of w · KL(softmax(z_s) ‖ softmax(z_t)), weights w [N] (Gu et al. 2023, https://arxiv.org/abs/2306.08543): the gradient of the
    single-step part of policy gradient, exactly."""
    log_p_s, log_p_t = F.log_softmax(z_s.float(), dim=-1), F.log_softmax(z_t.float(), dim=-1)
    return (weights * (log_p_s.exp() * (log_p_s - log_p_t)).sum(dim=-1)).mean()


def policy_gradient(z_s: Tensor, y: Tensor, weights: Tensor, reward: Tensor) -> Tensor:
    """Mean of −w · R with the gradient −w · R · ∇log softmax(z_s)[y], weights w and rewards R [N] being what they are: R times p/p, one of
    them without a gradient (Foerster et al. 2018, https://arxiv.org/abs/1802.05098; Gu et al. 2023, https://arxiv.org/abs/2306.08543)."""
    log_p = F.log_softmax(z_s.float(), dim=-1).gather(1, y[:, None])[:, 0]
    return -(weights * reward * (log_p - log_p.detach()).exp()).mean()


def skew_kl(z_s: Tensor, z_t: Tensor, skew: float, temperature: float) -> Tensor:
    """T² · KL(p_t ‖ λ·p_t + (1 − λ)·p_s), λ being `skew` (Ko et al. 2024, https://arxiv.org/abs/2402.03898)."""
    if skew == 0:
        return kl(z_s, z_t, temperature)
    log_p_s = F.log_softmax(z_s.float() / temperature, dim=-1)
    log_p_t = F.log_softmax(z_t.float() / temperature, dim=-1)
    log_m = torch.logaddexp(log_p_t + log(skew), log_p_s + log1p(-skew))
    return temperature**2 * (log_p_t.exp() * (log_p_t - log_m)).sum(dim=-1).mean()


def jsd(z_s: Tensor, z_t: Tensor, beta: float, temperature: float) -> Tensor:
    """β·KL(p_t ‖ m) + (1 − β)·KL(p_s ‖ m) with m = β·p_t + (1 − β)·p_s (Agarwal et al. 2023, https://arxiv.org/abs/2306.13649)."""
    log_p_s = F.log_softmax(z_s.float() / temperature, dim=-1)
    log_p_t = F.log_softmax(z_t.float() / temperature, dim=-1)
    log_m = torch.logaddexp(log_p_t + log(beta), log_p_s + log1p(-beta))
    from_t = (log_p_t.exp() * (log_p_t - log_m)).sum(dim=-1)
    from_s = (log_p_s.exp() * (log_p_s - log_m)).sum(dim=-1)
    return (beta * from_t + (1 - beta) * from_s).mean()
