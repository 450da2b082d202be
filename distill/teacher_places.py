"""What a teacher said of each word, or of each token as the first and the last of an answer, kept: as many rows of numbers for a text as it
has words or tokens."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from distill import cache
from distill.data.batch import IMPOSSIBLE, Given, TokenBatch
from distill.data.spans import SpanTokens
from distill.data.tokens import TaggedTokens, ranges
from distill.device import autocast
from distill.networks import said_of
from distill.objectives import Said
from distill.teacher import Teacher

BATCH = 64  # texts the teacher reads at a time, at the most
Kept = TaggedTokens | SpanTokens


@dataclass(frozen=True)
class PlaceOutputs:
    """logits [M, C] of the classes of each word, or [M, 2] of each token as first and as last; first [N + 1]: where each text's begin."""

    logits: Tensor
    first: Tensor
    built: cache.Built

    def of(self, index: Tensor, given: Given) -> Said:
        """Of the texts `index`, which the student sees as `given`, in the order in which it is asked."""
        assert isinstance(given, TokenBatch)
        if given.where is None:
            return Said.of(self.logits[ranges(self.first, index)])
        places = torch.arange(given.where.shape[1], device=index.device)
        z = self.logits[(self.first[index][:, None] + places).clamp_(max=len(self.logits) - 1)].transpose(1, 2)
        return Said.of(z.masked_fill(~given.where[:, None], IMPOSSIBLE).flatten(0, 1))

    def summary(self) -> dict[str, object]:
        return {"mode": "cached", **self.built.told(), "rows": len(self.first) - 1, "bytes": self.logits.nbytes}


def shape(teacher: Teacher, rows: Kept) -> tuple[int, int]:
    """Of the numbers to keep: four bytes each."""
    if isinstance(rows, SpanTokens):
        return len(rows.flat), 2
    return int(rows.words().sum()), len(teacher.config.classes)


def outputs(teacher: Teacher, rows: Kept) -> PlaceOutputs:
    """rows: as the teacher reads them."""
    first = rows.starts if isinstance(rows, SpanTokens) else torch.nn.functional.pad(rows.words().cumsum(0), (1, 0))
    whole = shape(teacher, rows)

    def build() -> cache.Tensors:
        found = torch.empty(whole)
        with torch.inference_mode(), autocast(teacher.device, teacher.bf16):
            for index in rows.chunks(BATCH):
                found[ranges(first, index).cpu()] = torch.cat(list(_asked(teacher, rows, index))).cpu()
        return {"logits": found}

    kept, how = cache.kept(teacher.cache, teacher.key("places/1", rows.digest(), teacher.bf16), {"logits": whole}, build, teacher.warn)
    return PlaceOutputs(kept["logits"].to(teacher.device), first, cache.Built.of([how]))


def _asked(teacher: Teacher, rows: Kept, index: Tensor) -> Iterator[Tensor]:
    given = rows.batch(index).given
    assert isinstance(given, TokenBatch)
    z = said_of(teacher.network, teacher.config, given).logits.float()
    if given.where is None:
        yield z
    else:  # [2·B, L], first and last of each text in turn
        for of_text, mask in zip(z.reshape(len(index), 2, -1), given.mask, strict=True):
            yield of_text[:, mask].T
