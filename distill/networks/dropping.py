"""Dropout on CPUs. torch's own draws a number for every element, on one core while the others wait: up to a quarter of a small
transformer's step. Here 64 bits, drawn at once, decide on four elements, to 1/65,536 of the share asked for, and what stays is scaled by
the share that really stays (Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html).

`python -m benchmarks.dropping` measures both.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distill.networks.heads import WORKER

STEPS = 2**16  # of a share, in the 16 bits that decide on an element
WORTH = 8192  # elements: of fewer torch's own is sooner
SHORT = 128  # tokens: up to so many attention in bf16 is sooner as plain products than in torch's kernel, whose backward pass is slow
NAME = "potstill_cpu"


class Dropout(nn.Dropout):
    """nn.Dropout by another draw. The class of modules that are there already is changed to it, so that they keep their names."""

    def forward(self, input: Tensor) -> Tensor:
        return dropped(input, self.p) if self.training else input


def dropped(x: Tensor, share: float) -> Tensor:
    """x of any shape with about `share` of its elements at zero and the others larger, so that its mean stays."""
    cut = round(share * STEPS)
    if x.numel() < WORTH or cut in (0, STEPS):
        return F.dropout(x, share)
    drawn = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    stays = drawn.view(torch.int16)[: x.numel()].view(x.shape) >= cut - STEPS // 2
    return x * stays.to(x.dtype).mul_(STEPS / (STEPS - cut))


def attended(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, dropout: float = 0.0,
    scaling: float | None = None, is_causal: bool | None = None, **more: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Scaled dot-product attention as the library asks for it: queries [B, H, T, D], keys and values [B, H or fewer, S, D], a mask that
    broadcasts to [B, H, T, S]; returns [B, T, H, D]. In float32, as torch's own is inside."""
    long = key.shape[2] > SHORT or value.dtype != torch.bfloat16
    bent = any(more.get(name) is not None for name in ("position_bias", "softcap"))
    if value.is_cuda or bent or (not dropout and long):
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        more |= {"dropout": dropout, "scaling": scaling, "is_causal": is_causal}
        found: tuple[Tensor, None] = ALL_ATTENTION_FUNCTIONS[WORKER](module, query, key, value, attention_mask, **more)
        return found
    each = query.shape[1] // key.shape[1]  # queries that share a key and a value
    if each > 1:
        key, value = (part.repeat_interleave(each, dim=1) for part in (key, value))
    if attention_mask is None and query.shape[2] > 1 and (getattr(module, "is_causal", True) if is_causal is None else is_causal):
        attention_mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril()
    with torch.autocast("cpu", enabled=False):
        scores = (query.float() * (query.shape[-1] ** -0.5 if scaling is None else scaling)) @ key.float().transpose(-1, -2)
        if attention_mask is not None and attention_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
        elif attention_mask is not None:
            scores = scores + attention_mask
        weights = scores.softmax(-1)
        mixed = (dropped(weights, dropout) if dropout else weights) @ value.float()
    return mixed.to(value.dtype).transpose(1, 2).contiguous(), None


def quickened(network: nn.Module) -> bool:
    """From now on the network, which is on a CPU and not compiled, drops by this. Returns whether there is anything that it changes."""
    modules = [module for module in network.modules() if type(module) is nn.Dropout and module.p and not module.inplace]
    for module in modules:
        module.__class__ = Dropout
    inner = _attending(network, WORKER)
    if inner is not None:
        from transformers import AttentionInterface, AttentionMaskInterface
        from transformers.masking_utils import sdpa_mask

        AttentionInterface.register(NAME, attended)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        inner.set_attn_implementation(NAME)
    return bool(modules) or inner is not None


def as_written(network: nn.Module) -> None:
    """Takes `quickened` back."""
    for module in network.modules():
        if type(module) is Dropout:
            cast(Any, module).__class__ = nn.Dropout
    inner = _attending(network, NAME)
    if inner is not None:
        inner.set_attn_implementation(WORKER)


def _attending(network: nn.Module, how: str) -> Any:
    """The library's network in it, where that attends in this way, else None."""
    inner: Any = getattr(network, "inner", None)
    return inner if getattr(getattr(inner, "config", None), "_attn_implementation", None) == how else None
