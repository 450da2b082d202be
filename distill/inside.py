"""What goes on inside a network: the states of its layers, and what the heads of their attention work with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Looks = frozenset[Literal["states", "heads"]]  # what is looked at beside the outputs
NOTHING: Looks = frozenset()


def product(a: Tensor, b: Tensor) -> Tensor:
    """In the precision of its factors, also where products around it are computed in bf16: of its result, differences count."""
    with torch.autocast(a.device.type, enabled=False):
        return a @ b


@dataclass(frozen=True)
class Heads:
    """One layer's attention: query, key and value [B, heads, L, D], and the factor of their products; open [B, 1, L, L]: which token
    may look at which."""

    query: Tensor
    key: Tensor
    value: Tensor
    scale: float
    open: Tensor

    @property
    def scores(self) -> Tensor:
        """[B, heads, L, L] before the softmax; nothing is said of tokens that may not be looked at."""
        return product(self.query.float(), self.key.float().transpose(2, 3)) * self.scale


@dataclass(frozen=True)
class Inside:
    """states[0] is what goes into the first layer, states[l] what layer l gives: [B, L, H] of texts, [B, C, H, W] or [B, F] of numbers.

    tokens [N]: places in the flattened [B·L] that count, None where rows are no texts; mask [B, L]: where a token stands; row: what of a
    text's tokens stands for all of it.
    """

    states: Sequence[Tensor]
    heads: Sequence[Heads] = ()
    tokens: Tensor | None = None
    mask: Tensor | None = None
    row: Literal["first", "last", "largest"] = "first"

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.states) - 1

    def of_tokens(self, layer: int) -> Tensor:
        """[N, H]."""
        return self.states[layer].flatten(0, 1)[self.tokens]

    def of_rows(self, layer: int) -> Tensor:
        """[B, F]: of a text one token's state, or the largest of each unit; of an image the mean of each channel."""
        states = self.states[layer]
        if self.mask is None:
            return states.flatten(2).mean(2) if states.ndim > 2 else states
        if states.ndim == 2:
            return states
        if self.row == "largest":
            return states.masked_fill(~self.mask[:, :, None], -torch.inf).amax(1)
        place = torch.zeros_like(self.mask[:, 0], dtype=torch.long) if self.row == "first" else self.mask.sum(1) - 1
        return states[torch.arange(len(states), device=states.device), place]
