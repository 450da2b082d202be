"""Texts as token ids: all rows in one flat buffer, from which a batch is cut by index arithmetic, without a loop over rows."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from typing import Any, Self

import torch
from torch import Tensor

from distill.data.batch import IGNORED, Batch, TokenBatch

WINDOW = 64  # batches whose rows are sorted by length together
TOKENS = 4096  # read at a time: what more of them need lies outside a processor's caches (twice as slow by 32,768), and a GPU is busy


@dataclass(frozen=True)
class Tokens:
    """flat [sum of lengths] int32; starts [N + 1]: row i is flat[starts[i]:starts[i+1]]; second [N]: where in it the second text
    begins, or its length; labels [N], or marks [N, C] of classes that each hold or not; pad: the id that fills a batch up; tasks [N]: the
    number of each row's task, None where there is but one."""

    flat: Tensor
    starts: Tensor
    second: Tensor
    labels: Tensor
    pad: int
    cut: int = 0  # rows that were longer than what the network reads
    tasks: Tensor | None = None

    @property
    def lengths(self) -> Tensor:
        return self.starts.diff()

    def content(self, begin: int, end: int) -> bytes:
        """What a network is shown of the rows from begin to before end."""
        return stretch(self.flat, self.starts, begin, end)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor) -> Batch:
        return Batch(self.tokens(index), self.labels[index].flatten())

    def tokens(self, index: Tensor) -> TokenBatch:
        ids, mask = self.padded(self.flat, index, self.pad)
        segments = ((torch.arange(mask.shape[1], device=index.device) >= self.second[index][:, None]) & mask).long()
        return TokenBatch(ids, mask, segments, tasks=None if self.tasks is None else self.tasks[index])

    def padded(self, flat: Tensor, index: Tensor, fill: int) -> tuple[Tensor, Tensor]:
        """[B, L] of the rows `index`, filled up on the right, and where something stands."""
        starts, lengths = self.starts[index], self.lengths[index]
        places = torch.arange(int(lengths.max()), device=index.device)
        mask = places < lengths[:, None]
        return flat[(starts[:, None] + places).clamp_(max=len(flat) - 1)].long().masked_fill_(~mask, fill), mask

    def chunks(self, size: int) -> Iterator[Tensor]:
        """Indices of all rows, shortest first, so that little is padded; at most `size` rows, `size` × 32 tokens and TOKENS, at a time."""
        most = min(32 * size, TOKENS)
        order, tokens = self.lengths.argsort(stable=True), 0
        first = 0
        for place, length in enumerate(self.lengths[order].tolist()):
            tokens = length * (place - first + 1)
            if place > first and (place - first >= size or tokens > most):
                yield order[first:place]
                first = place
        yield order[first:]

    def to(self, device: torch.device) -> Self:
        parts: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {name: part.to(device) for name, part in parts.items() if isinstance(part, Tensor)}
        return replace(self, **moved)

    def digest(self) -> str:
        """Hash of the tokens and tasks: what a network's outputs depend on."""
        parts = (self.flat, self.starts, self.second, *(() if self.tasks is None else (self.tasks,)))
        return sha256(b"tokens" + b"".join(part.cpu().numpy().tobytes() for part in parts)).hexdigest()


@dataclass(frozen=True, kw_only=True)
class TaggedTokens(Tokens):
    """tags [sum of lengths]: the class of the word that begins at a token, −100 elsewhere. Asked for: at the first token of each word its
    class (Devlin et al. 2018, section 5.3)."""

    tags: Tensor

    def batch(self, index: Tensor) -> Batch:
        tags = self.padded(self.tags, index, IGNORED)[0].flatten()
        asked = (tags != IGNORED).nonzero()[:, 0]
        return Batch(self.tokens(index)._replace(asked=asked), tags[asked])

    def digest(self) -> str:
        """Of the tokens, and of which are asked for."""
        return sha256((super().digest() + sha256((self.tags != IGNORED).cpu().numpy().tobytes()).hexdigest()).encode()).hexdigest()

    def words(self) -> Tensor:
        """[N]: how many words of each row are read, those behind the cut left out."""
        before = torch.nn.functional.pad((self.tags != IGNORED).long().cumsum(0), (1, 0))
        return before[self.starts[1:]] - before[self.starts[:-1]]


def stretch(flat: Tensor, starts: Tensor, begin: int, end: int) -> bytes:
    """The tokens of the rows from begin to before end, and where each begins."""
    own = starts[begin : end + 1]
    return flat[own[0] : own[-1]].numpy().tobytes() + (own[:-1] - own[0]).numpy().tobytes()


def ranges(first: Tensor, index: Tensor) -> Tensor:
    """first[i], …, first[i + 1] − 1 for each i of `index`, one after the other."""
    starts, counts = first[index], first[index + 1] - first[index]
    offsets = counts.cumsum(0) - counts
    places = torch.arange(int(counts.sum()), device=first.device)
    return places + (starts - offsets).repeat_interleave(counts)


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
