"""Losses as pure functions of logits. Every one is computed in float32, whatever the network ran in: softmax in bf16 loses
the small probabilities that carry a teacher's knowledge.

z_s, z_t: student and teacher logits [B, C]; y: class indices [B]; T: temperature. All return a scalar, the mean over the B rows.
"""

import torch.nn.functional as F
from torch import Tensor


def kl(z_s: Tensor, z_t: Tensor, temperature: float) -> Tensor:
    """T² · KL(softmax(z_t/T) ‖ softmax(z_s/T)), summed over classes. T² keeps gradients of one size at every T.

    Hinton, Vinyals, Dean 2015, https://arxiv.org/abs/1503.02531
    """
    log_p_s = F.log_softmax(z_s.float() / temperature, dim=-1)
    log_p_t = F.log_softmax(z_t.float() / temperature, dim=-1)
    return temperature**2 * (log_p_t.exp() * (log_p_t - log_p_s)).sum(dim=-1).mean()


def soft_cross_entropy(z_s: Tensor, z_t: Tensor, temperature: float, t_squared: bool = True) -> Tensor:
    """−Σ_c p_t(c) · log p_s(c) with both softened by T, times T² if asked: `kl` plus the teacher's entropy, the same gradient.

    Hinton, Vinyals, Dean 2015, https://arxiv.org/abs/1503.02531
    """
    log_p_s = F.log_softmax(z_s.float() / temperature, dim=-1)
    p_t = F.softmax(z_t.float() / temperature, dim=-1)
    loss = -(p_t * log_p_s).sum(dim=-1).mean()
    return temperature**2 * loss if t_squared else loss


def logit_mse(z_s: Tensor, z_t: Tensor) -> Tensor:
    """Mean over rows and classes of (z_s − z_t)².

    Ba, Caruana 2014, https://arxiv.org/abs/1312.6184; Tang et al. 2019, https://arxiv.org/abs/1903.12136
    """
    return F.mse_loss(z_s.float(), z_t.float())


def cross_entropy(z_s: Tensor, y: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """−log softmax(z_s)[y]. Smoothing spreads that share of each label over all classes (Szegedy et al. 2016,
    https://arxiv.org/abs/1512.00567)."""
    return F.cross_entropy(z_s.float(), y, label_smoothing=label_smoothing)
