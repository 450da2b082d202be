"""What a language model said of every token, kept: the likeliest tokens of each answer, and of all others their mass.

A whole answer is a vocabulary of numbers for every token, more than any disk has. The rest's mass is spread evenly when it is needed, so
that every loss of logits works, and nothing is cut off (as in sparse distillation, Anshumann et al. 2025, https://arxiv.org/abs/2503.16870,
which says why cutting biases the student). With as many tokens kept as there are, it is the whole answer.
"""

from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from math import log
from typing import Literal

import torch
from torch import Tensor

from distill import cache
from distill.data.batch import Given
from distill.data.blocks import CausalBlocks
from distill.data.tokens import ranges
from distill.networks import said_of
from distill.objectives import PIECE, Said
from distill.teacher import Teacher

SHARD = 2**17  # tokens of one file
BATCH = 32  # blocks the teacher reads at a time


@dataclass(frozen=True)
class TokenOutputs:
    """For token m of all that are asked for, in the order of the blocks: ids [M, k] of the likeliest tokens; gaps [M, k], how far their
    logits lie below the largest, in bfloat16, which is exact where it matters; rest [M], the log of the others' mass beside e^0."""

    ids: list[Tensor]
    gaps: list[Tensor]
    rest: list[Tensor]
    ends: Tensor  # tokens up to the end of each shard
    first: Tensor  # [blocks + 1]: the first token of each block
    classes: int
    cache: Literal["built", "hit"]

    def of(self, index: Tensor, given: Given) -> Said:
        """Of the blocks `index`: places of their tokens, which the head looks up."""
        device = index.device
        return Said(ranges(self.first, index.cpu()), lambda some: self._logits(some).to(device), self.classes)

    def _logits(self, places: Tensor) -> Tensor:
        """[N, V] of the tokens at these places."""
        shards = torch.bucketize(places, self.ends, right=True)
        found = torch.empty(len(places), self.classes)
        for shard in sorted(set(shards.tolist())):
            mine = (shards == shard).nonzero()[:, 0]
            at = places[mine] - (int(self.ends[shard - 1]) if shard else 0)
            ids, gaps, rest = self.ids[shard][at].long(), self.gaps[shard][at].float(), self.rest[shard][at]
            others = max(1, self.classes - ids.shape[1])
            even = (rest - log(others))[:, None].expand(-1, self.classes)
            found[mine] = even.scatter(1, ids, -gaps)
        return found

    def summary(self) -> dict[str, object]:
        kept = [*self.ids, *self.gaps, *self.rest]
        size = sum(tensor.nbytes for tensor in kept)
        return {"mode": "cached", "cache": self.cache, "rows": len(self.first) - 1, "bytes": size, "top_k": self.ids[0].shape[1]}


def size(rows: CausalBlocks, k: int) -> int:
    """Bytes it takes to keep k answers for every token."""
    return int((rows.lengths - 1).sum()) * (k * 6 + 4)


def outputs(teacher: Teacher, rows: CausalBlocks, k: int) -> TokenOutputs:
    """In shards that are files of their own: a build that was broken off goes on where it was, and what is old can go one by one."""
    assert teacher.config.text is not None
    classes = teacher.config.text.vocabulary
    k = min(k, classes)
    counts = rows.lengths - 1
    first = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    blocks = max(1, SHARD // max(1, int(counts.max())))
    found, built = [], False
    for shard in torch.arange(len(rows)).split(blocks):  # type: ignore[no-untyped-call]
        tokens = int(counts[shard].sum())
        text = rows.flat[int(rows.starts[shard[0]]) : int(rows.starts[shard[-1] + 1])]
        content = sha256(text.numpy().tobytes() + (rows.starts[shard] - rows.starts[shard[0]]).numpy().tobytes()).hexdigest()
        key = sha256(f"tokens/1/{teacher.sha256}/{content}/{k}".encode()).hexdigest()
        shapes = {"ids": (tokens, k), "gaps": (tokens, k), "rest": (tokens,)}
        kept, how = cache.kept(teacher.cache, key, shapes, partial(_ask, teacher, rows, shard, k), teacher.warn)
        found.append(kept)
        built |= how == "built"
    ends = torch.tensor([len(shard["rest"]) for shard in found]).cumsum(0)
    ids, gaps, rest = ([shard[name] for shard in found] for name in ("ids", "gaps", "rest"))
    return TokenOutputs(ids, gaps, rest, ends, first, classes, "built" if built else "hit")


def _ask(teacher: Teacher, rows: CausalBlocks, shard: Tensor, k: int) -> cache.Tensors:
    ids, gaps, rest = [], [], []
    with torch.inference_mode():
        for index in torch.split(shard, BATCH):
            given = rows.batch(index).given
            said = said_of(teacher.network, teacher.config, given._replace(**_moved(given, teacher.device)))  # type: ignore[union-attr]
            for features in torch.split(said.features, max(1, PIECE // said.classes)):
                z = said.head(features).float()
                top = z.topk(k, dim=1)
                largest = top.values[:, :1]
                gap = (largest - top.values).bfloat16()
                mass = (z - largest).exp().sum(1) - (top.values - largest).exp().sum(1)
                ids.append(top.indices.int().cpu())
                gaps.append(gap.cpu())
                rest.append(mass.clamp_min(1e-30).log().cpu())
    return {"ids": torch.cat(ids).clone(), "gaps": torch.cat(gaps).clone(), "rest": torch.cat(rest).clone()}


def _moved(given: Given, device: torch.device) -> dict[str, Tensor]:
    assert not isinstance(given, Tensor)
    return {name: part.to(device) for name, part in given._asdict().items() if part is not None}
