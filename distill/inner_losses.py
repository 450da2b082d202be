"""Losses of what goes on inside networks, as pure functions, in float32. h_s, h_t: states of student and teacher, of tokens or rows
[N, H]. All return a scalar, the mean over those N."""

import torch
import torch.nn.functional as F
from torch import Tensor

from distill.inside import Heads, product

GROUP = 128  # rows whose relations are looked at together: angles are as many as its cube


def cosine(h_s: Tensor, h_t: Tensor) -> Tensor:
    """1 − cos(h_s, h_t), mean over tokens (Sanh et al. 2019, https://arxiv.org/abs/1910.01108)."""
    return (1 - F.cosine_similarity(h_s.float(), h_t.float(), dim=-1)).mean()


def hidden_mse(h_s: Tensor, h_t: Tensor) -> Tensor:
    """Mean over tokens and units of (h_s − h_t)² (Jiao et al. 2019, https://arxiv.org/abs/1909.10351)."""
    return F.mse_loss(h_s.float(), h_t.float())


def pkd(h_s: Tensor, h_t: Tensor) -> Tensor:
    """‖h_s/‖h_s‖ − h_t/‖h_t‖‖², mean over rows (Sun et al. 2019, https://arxiv.org/abs/1908.09355)."""
    return (F.normalize(h_s.float(), dim=-1) - F.normalize(h_t.float(), dim=-1)).square().sum(-1).mean()


def attention_mse(s: Heads, t: Heads, mask: Tensor) -> Tensor:
    """Mean over heads and pairs of tokens of the squared difference of scores, then over rows; mask [B, L]: where a token stands.

    Jiao et al. 2019, https://arxiv.org/abs/1909.10351
    """
    there = s.open & mask[:, None, :, None]
    squared = (s.scores - t.scores).square().masked_fill(~there, 0.0)
    found: Tensor = (squared.mean(1).sum((1, 2)) / there.sum((1, 2, 3))).mean()
    return found


def attention_kl(s: Heads, t: Heads, mask: Tensor) -> Tensor:
    """KL of where each token looks, mean over heads and tokens, then over rows (Wang et al. 2020, https://arxiv.org/abs/2002.10957)."""
    return _relation_kl(s.scores, t.scores, s.open, mask)


def value_relation(s: Heads, t: Heads, mask: Tensor, heads: int | None = None) -> Tensor:
    """KL of softmax(v·v/√d), mean over heads and tokens, then over rows (Wang et al. 2020, https://arxiv.org/abs/2002.10957). heads: so
    many made anew of all values together (Wang et al. 2020, https://arxiv.org/abs/2012.15828)."""
    return _relation_kl(_alike(s.value, heads), _alike(t.value, heads), s.open, mask)


def _alike(value: Tensor, heads: int | None) -> Tensor:
    if heads is not None:
        value = value.transpose(1, 2).reshape(len(value), value.shape[2], heads, -1).transpose(1, 2)
    value = value.float() * value.shape[-1] ** -0.25
    return product(value, value.transpose(2, 3))


def _relation_kl(z_s: Tensor, z_t: Tensor, open_: Tensor, mask: Tensor) -> Tensor:
    """z [B, heads, L, L]; nothing of tokens that may not be looked at, or that are not there."""
    log_p_s, log_p_t = (F.log_softmax(z.masked_fill(~open_, -torch.inf), dim=-1) for z in (z_s, z_t))
    seen = open_ & mask[:, None, :, None]
    told = log_p_t.exp() * (log_p_t - log_p_s).masked_fill(~seen, 0.0)
    return (told.masked_fill(~seen, 0.0).sum(-1).mean(1).sum(1) / mask.sum(1)).mean()


def rkd(h_s: Tensor, h_t: Tensor, distance: float, angle: float) -> Tensor:
    """distance · huber of distances, each by their mean, + angle · huber of the cosines of angles; means over all pairs and triples of
    rows, each with itself, too, as the authors' code has them (Park et al. 2019, https://arxiv.org/abs/1904.05068)."""
    parts = zip(torch.split(h_s.float(), GROUP), torch.split(h_t.float(), GROUP), strict=True)
    return torch.stack([len(s) / len(h_s) * _relations(s, t, distance, angle) for s, t in parts]).sum()


def _relations(h_s: Tensor, h_t: Tensor, distance: float, angle: float) -> Tensor:
    found = h_s.sum() * 0
    if len(h_s) < 2:
        return found
    if distance:
        found = found + distance * F.smooth_l1_loss(_distances(h_s), _distances(h_t))
    if angle:
        found = found + angle * F.smooth_l1_loss(_angles(h_s), _angles(h_t))
    return found


def _distances(h: Tensor) -> Tensor:
    d = torch.cdist(h, h, compute_mode="donot_use_mm_for_euclid_dist")
    apart = d > 0
    return d / (d.sum() / apart.sum().clamp(min=1)).clamp(min=1e-12)


def _angles(h: Tensor) -> Tensor:
    """[B, B, B]: of each row the cosine between the ways to two others."""
    ways = h[None] - h[:, None]
    nowhere = (ways == 0).all(2, keepdim=True)  # between equal rows, whose direction would have an endless gradient
    ways = F.normalize(ways.masked_fill(nowhere, 1.0), dim=2).masked_fill(nowhere, 0.0)
    return product(ways, ways.transpose(1, 2))


def attention_transfer(h_s: Tensor, h_t: Tensor) -> Tensor:
    """Maps [B, C, H, W] of any two sizes: ‖Q_s/‖Q_s‖ − Q_t/‖Q_t‖‖² with Q = Σ over channels of h², mean over rows.

    Zagoruyko, Komodakis 2016, https://arxiv.org/abs/1612.03928
    """
    q_s, q_t = (F.normalize(q.flatten(1), dim=1) for q in alike(h_s.float().square().sum(1), h_t.float().square().sum(1)))
    return (q_s - q_t).square().sum(1).mean()


def alike(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Maps [..., H, W] at the smaller height and width of the two; vectors [B, F], where one of them is."""
    if a.ndim == 2 or b.ndim == 2:
        return vector(a), vector(b)
    size = (min(a.shape[-2], b.shape[-2]), min(a.shape[-1], b.shape[-1]))
    return F.adaptive_avg_pool2d(a, size), F.adaptive_avg_pool2d(b, size)


def vector(h: Tensor) -> Tensor:
    return h.flatten(2).mean(2) if h.ndim > 2 else h


def adversarial(d_s: Tensor, d_t: Tensor) -> Tensor:
    """½ · (softplus(−d_t) + softplus(d_s)), mean over rows: how badly a network that says d tells teacher and student apart.

    Xu et al. 2017, https://arxiv.org/abs/1709.00513
    """
    return (F.softplus(-d_t.float()) + F.softplus(d_s.float())).mean() / 2
