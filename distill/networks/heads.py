"""A look at the attention of transformers: its queries, keys and values, after whatever turns them, before any softmax.

The library lets attention be computed by a function of one's own; ours takes note and leaves the work to the library's.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn

from distill.inside import Heads

NAME, WORKER = "potstill", "sdpa"
_seen: ContextVar[list[Heads] | None] = ContextVar("seen", default=None)


def show(inner: Any) -> None:
    """From now on `watched` sees what the heads of this network work with."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _noted)
    AttentionMaskInterface.register(NAME, _whole_mask)
    inner.set_attn_implementation(NAME)


def hide(inner: Any) -> None:
    """Takes `show` back."""
    if inner.config._attn_implementation == NAME:
        inner.set_attn_implementation(WORKER)


@contextlib.contextmanager
def watched() -> Iterator[list[Heads]]:
    """Layer by layer what a network that was told to `show` computes in here."""
    seen: list[Heads] = []
    token = _seen.set(seen)
    try:
        yield seen
    finally:
        _seen.reset(token)


def _noted(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, **more: Any) -> Any:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    seen = _seen.get()
    if seen is not None:
        scale = more.get("scaling")
        each = query.shape[1] // key.shape[1]  # queries that share a key and a value
        k, v = (part.repeat_interleave(each, dim=1) if each > 1 else part for part in (key, value))
        seen.append(Heads(query, k, v, query.shape[-1] ** -0.5 if scale is None else float(scale), attention_mask))
    return ALL_ATTENTION_FUNCTIONS[WORKER](module, query, key, value, attention_mask, **more)


def _whole_mask(*given: Any, **more: Any) -> Any:
    """Also where the library could do without one, since nothing is to be filled or everything may be looked at."""
    from transformers.masking_utils import sdpa_mask

    return sdpa_mask(*given, **{**more, "allow_is_causal_skip": False, "allow_is_bidirectional_skip": False})
