"""Texts as token ids: all rows in one flat buffer, from which a batch is cut by index arithmetic, without a loop over rows."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Self

import torch
from torch import Tensor

from distill.data.batch import Batch, TokenBatch

WINDOW = 64  # batches whose rows are sorted by length together


@dataclass(frozen=True)
class Tokens:
    """flat [sum of lengths] int32; starts [N + 1]: row i is flat[starts[i]:starts[i+1]]; second [N]: where in it the second text
    begins, or its length; labels [N]; pad: the id that fills a batch up."""

    flat: Tensor
    starts: Tensor
    second: Tensor
    labels: Tensor
    pad: int
    cut: int = 0  # rows that were longer than what the network reads

    @property
    def lengths(self) -> Tensor:
        return self.starts.diff()

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor) -> Batch:
        return Batch(self.tokens(index), self.labels[index])

    def tokens(self, index: Tensor) -> TokenBatch:
        starts, lengths = self.starts[index], self.lengths[index]
        places = torch.arange(int(lengths.max()), device=index.device)
        mask = places < lengths[:, None]
        ids = self.flat[(starts[:, None] + places).clamp_(max=len(self.flat) - 1)].long().masked_fill_(~mask, self.pad)
        segments = ((places >= self.second[index][:, None]) & mask).long()
        return TokenBatch(ids, mask, segments)

    def chunks(self, size: int) -> Iterator[Tensor]:
        """Indices of all rows, shortest first, so that little is padded; at most `size` rows, and `size` × 32 tokens, at a time."""
        order, tokens = self.lengths.argsort(stable=True), 0
        first = 0
        for place, length in enumerate(self.lengths[order].tolist()):
            tokens = length * (place - first + 1)
            if place > first and (place - first >= size or tokens > size * 32):
                yield order[first:place]
                first = place
        yield order[first:]

    def to(self, device: torch.device) -> Self:
        parts = {name: getattr(self, name).to(device) for name in ("flat", "starts", "second", "labels")}
        return replace(self, **parts)

    def digest(self) -> str:
        """Hash of the tokens: what a network's outputs depend on."""
        parts = (self.flat, self.starts, self.second)
        return sha256(b"tokens" + b"".join(part.cpu().numpy().tobytes() for part in parts)).hexdigest()


def bucketed(order: Tensor, lengths: Tensor, batch_size: int, generator: torch.Generator) -> Tensor:
    """The same rows in an order whose batches hold rows of like lengths: each window of the shuffle is sorted by length, then the
    batches are shuffled. What fills no batch stays last, whatever its length."""
    whole = len(order) // batch_size * batch_size
    windows = torch.split(order[:whole], WINDOW * batch_size)
    batches = [window[lengths[window].argsort(stable=True)].reshape(-1, batch_size) for window in windows]
    if whole == 0:
        return order
    found = torch.cat(batches)
    return torch.cat([found[torch.randperm(len(found), generator=generator)].reshape(-1), order[whole:]])
