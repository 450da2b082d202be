"""Networks as graphs: what goes in and comes out by name, for programs that know nothing of ours. Numbers go in raw and are scaled inside;
texts go in as the tokens of their tokenizer, of any number and length."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from contract.model import ModelConfig, Scaling
from distill.export.recurrent import Unpacked
from distill.networks import LibraryNetwork, TextNetwork, scaled
from distill.networks.texts import Recurrent, RecurrentLm, RecurrentTagger

ROWS, TOKENS = 2, 8  # of an example: one alone would be taken for a number that never changes


@dataclass(frozen=True)
class Graph:
    """module: called with `given`, in this order; outputs: the names of what it gives; axes: of every input those of any size."""

    module: nn.Module
    given: dict[str, Tensor]
    outputs: list[str]
    axes: dict[int, str]


def graph(network: nn.Module, config: ModelConfig) -> Graph:
    if not isinstance(network, TextNetwork):
        return Graph(_Numbers(network, config.input), {"features": torch.zeros(ROWS, *config.shape)}, ["logits"], {0: "rows"})
    ids = torch.zeros(ROWS, min(TOKENS, network.reading.max_length), dtype=torch.int64)
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    axes = {0: "rows", 1: "tokens"}
    if not isinstance(network, LibraryNetwork):
        return Graph(_unpacked(network.inner), given, ["logits"], axes)
    if network.takes_segments:
        given["token_type_ids"] = torch.zeros_like(ids)
    outputs = ["start_logits", "end_logits"] if config.made_for.answers == "span" else ["logits"]
    return Graph(_Transformer(network.inner, outputs, cached=config.task == "causal-lm"), given, outputs, axes)


class _Numbers(nn.Module):
    def __init__(self, network: nn.Module, scaling: Scaling) -> None:
        super().__init__()
        self.network, self.scaling = network, scaling

    def forward(self, features: Tensor) -> Tensor:
        """Raw features [B, *shape] → logits [B, C]."""
        logits: Tensor = self.network(scaled(features, self.scaling))
        return logits


class _Transformer(nn.Module):
    def __init__(self, inner: nn.Module, outputs: list[str], cached: bool) -> None:
        super().__init__()
        self.inner, self.outputs = inner, outputs
        self.more: dict[str, Any] = {"use_cache": False} if cached else {}

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> tuple[Tensor, ...]:
        """Tokens [B, L] → what the library's network gives of the names asked for."""
        segments = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        answer = self.inner(input_ids=input_ids, attention_mask=attention_mask, **segments, **self.more)
        return tuple(answer[name] for name in self.outputs)


def _unpacked(inner: nn.Module) -> nn.Module:
    return _Small(inner) if not isinstance(inner, (Recurrent, RecurrentLm)) else _Recurrent(inner)


class _Small(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Tokens [B, L] → logits [B, C]."""
        logits: Tensor = self.inner(input_ids, attention_mask.bool())
        return logits


class _Recurrent(nn.Module):
    def __init__(self, inner: Recurrent | RecurrentLm) -> None:
        super().__init__()
        self.embedding, self.layers = inner.embedding, Unpacked(inner.layers)
        self.head = inner.head if isinstance(inner, (RecurrentLm, RecurrentTagger)) else inner.classifier
        self.by_token = isinstance(inner, (RecurrentLm, RecurrentTagger))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Tokens [B, L] → logits [B, C], or [B, L, C] where each token is told something of."""
        states = self.layers(self.embedding(input_ids), attention_mask.sum(1))
        if not self.by_token:
            states = states.masked_fill(attention_mask[:, :, None] == 0, -torch.inf).amax(1)
        logits: Tensor = self.head(states)
        return logits
