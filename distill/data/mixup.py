"""Rows between rows: two of a batch mixed in one share, images as numbers, texts as what their tokens are embedded as.

Zhang et al. 2017, https://arxiv.org/abs/1710.09412; of texts Guo et al. 2019, https://arxiv.org/abs/1905.08941. Drawn from torch's global
generator, which checkpoints hold, on the CPU, so that every device sees the same.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from contract.errors import ErrorCode, InvalidSpec
from contract.model import ModelConfig
from distill.data.batch import Given, TokenBatch
from distill.networks import LibraryNetwork, TextNetwork
from distill.networks.joint import Joint


@dataclass(frozen=True)
class Mix:
    """Each row is `share` of itself and the rest of the row `other` [B]."""

    share: float
    other: Tensor

    @classmethod
    def drawn(cls, alpha: float, rows: int, device: torch.device) -> "Mix":
        share = torch.distributions.Beta(alpha, alpha).sample().item()
        return cls(share, torch.randperm(rows).to(device))

    def shown(self, given: Given) -> Given:
        """Images mixed. Texts as they are, with room for the longer of two: their embeddings are mixed by `embedded`."""
        if isinstance(given, TokenBatch):
            return given._replace(mask=given.mask | given.mask[self.other])
        return self.of(given.float())

    def of(self, x: Tensor) -> Tensor:
        return self.share * x + (1 - self.share) * x[self.other]

    @contextlib.contextmanager
    def embedded(self, network: nn.Module) -> Iterator[None]:
        """In here, what this network's tokens are embedded as is mixed."""
        with contextlib.ExitStack() as hooks:
            for embedding in _embeddings(network):
                hook = embedding.register_forward_hook(lambda _module, _given, found: self.of(found))
                hooks.callback(hook.remove)
            yield


def _embeddings(network: nn.Module) -> list[Any]:
    if isinstance(network, Joint):
        return [embedding for member in network.members for embedding in _embeddings(member)]
    if isinstance(network, LibraryNetwork):
        return [network.inner.get_input_embeddings()]  # type: ignore[operator]
    return [network.inner.embedding] if isinstance(network, TextNetwork) else []


def refuse_several(config: ModelConfig) -> None:
    if config.multi_label:
        raise InvalidSpec(
            "data.augment.mixup: rows have any number of classes; those of one class are mixed.",
            code=ErrorCode.DOES_NOT_FIT,
            param="data.augment.mixup",
            hint="Leave it out.",
        )
