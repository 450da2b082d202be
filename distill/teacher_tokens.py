"""What a teacher said of every token it was asked for, kept: the likeliest tokens of each answer, and of all others their mass.

A whole answer is a vocabulary of numbers for every token, more than any disk has. How the rest's mass is spread over the tokens that were
not kept nobody knows any more, and nothing is taught of it: there the teacher says what the student says, scaled to that mass, so that a
loss and its gradient are those of the kept tokens and of one more, the rest. Cutting it off biases a student, and so does spreading it
evenly (Anshumann et al. 2025, https://arxiv.org/abs/2503.16870). With as many tokens kept as there are, it is the whole answer.
"""

from dataclasses import dataclass
from functools import partial
from hashlib import sha256

import torch
from torch import Tensor

from distill import cache
from distill.data.batch import Given
from distill.data.blocks import CausalBlocks
from distill.data.targets import TargetTokens
from distill.data.tokens import ranges
from distill.device import autocast
from distill.networks import said_of
from distill.objectives import PIECE, Said
from distill.teacher import Teacher

SHARD = 2**17  # tokens of one file
BATCH = 32  # blocks or rows the teacher reads at a time
Asked = CausalBlocks | TargetTokens


@dataclass(frozen=True)
class TokenOutputs:
    """For token m of all that are asked for, in the order of the rows: ids [M, k] of the likeliest tokens; gaps [M, k], how far their
    logits lie below the largest, in bfloat16, which is exact where it matters; rest [M, temperatures], for each of them the log of the
    others' mass beside e^0."""

    ids: list[Tensor]
    gaps: list[Tensor]
    rest: list[Tensor]
    temperatures: tuple[float, ...]
    ends: Tensor  # tokens up to the end of each shard
    first: Tensor  # [rows + 1]: the first token of each row
    classes: int
    built: cache.Built

    def of(self, index: Tensor, given: Given) -> Said:
        """Of the rows `index`: places of their tokens, which the head looks up."""
        device = index.device

        def beside(places: Tensor, z_s: Tensor, temperature: float) -> Tensor:
            ids, gaps, rest = (part.to(device) for part in self._kept(places, temperature))
            outside = (z_s.float() / temperature).scatter(1, ids, -torch.inf)
            theirs = temperature * (rest[:, None] + outside.log_softmax(1))
            return theirs.scatter(1, ids, -gaps)

        return Said(ranges(self.first, index.cpu()), _cannot_be_told, self.classes, beside=beside)

    def _kept(self, places: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
        """ids [N, k], gaps [N, k] and rest [N] of the tokens at these places."""
        column = self.temperatures.index(temperature)
        shards = torch.bucketize(places, self.ends, right=True)
        k = self.ids[0].shape[1]
        ids, gaps, rest = torch.empty(len(places), k, dtype=torch.int64), torch.empty(len(places), k), torch.empty(len(places))
        for shard in sorted(set(shards.tolist())):
            mine = (shards == shard).nonzero()[:, 0]
            at = places[mine] - (int(self.ends[shard - 1]) if shard else 0)
            ids[mine], gaps[mine] = self.ids[shard][at].long(), self.gaps[shard][at].float()
            rest[mine] = self.rest[shard][at, column]
        return ids, gaps, rest

    def summary(self) -> dict[str, object]:
        kept = [*self.ids, *self.gaps, *self.rest]
        size = sum(tensor.nbytes for tensor in kept)
        return {"mode": "cached", **self.built.told(), "rows": len(self.first) - 1, "bytes": size, "top_k": self.ids[0].shape[1]}


def _cannot_be_told(_places: Tensor) -> Tensor:
    raise AssertionError("of kept answers nothing is known but beside a student's")


def size(rows: Asked, k: int, temperatures: int = 1) -> int:
    """Bytes it takes to keep k answers for every token, and the rest's mass at so many temperatures."""
    return int(rows.answers.sum()) * (k * 6 + 4 * temperatures)


def outputs(teacher: Teacher, rows: Asked, k: int, temperatures: tuple[float, ...] = (1.0,)) -> TokenOutputs:
    """temperatures: those at which a student will listen. In shards that are files of their own: a build that was broken off goes on where
    it was, and what is old can go one by one."""
    assert teacher.config.text is not None
    classes = teacher.config.text.vocabulary
    k = min(k, classes)

    def part(shard: Tensor, content: str) -> cache.Part:
        tokens = int(rows.answers[shard].sum())
        key = teacher.key("tokens/3", f"{content}/{k}/{temperatures}", teacher.bf16)
        shapes = {"ids": (tokens, k), "gaps": (tokens, k), "rest": (tokens, len(temperatures))}
        return cache.Part(key, shapes, partial(_ask, teacher, rows, shard, k, temperatures))

    found = cache.all_kept(teacher.cache, [part(*one) for one in shards(rows, SHARD)], teacher.warn)
    return joined(*found, rows, temperatures, classes)


def shards(rows: Asked, most: int) -> list[tuple[Tensor, str]]:
    """The rows of each file, of at most so many tokens as far as a row allows, and a hash of what the teacher is shown of them."""
    at_once = max(1, most // max(1, int(rows.answers.max())))
    cuts = [(begin, min(begin + at_once, len(rows))) for begin in range(0, len(rows), at_once)]
    return [(torch.arange(*cut), sha256(rows.content(*cut)).hexdigest()) for cut in cuts]


def joined(found: list[cache.Tensors], built: cache.Built, rows: Asked, temperatures: tuple[float, ...], classes: int) -> TokenOutputs:
    """All shards of these rows as one."""
    first = torch.cat([torch.zeros(1, dtype=torch.int64), rows.answers.cumsum(0)])
    ends = torch.tensor([len(shard["rest"]) for shard in found]).cumsum(0)
    ids, gaps, rest = ([shard[name] for shard in found] for name in ("ids", "gaps", "rest"))
    return TokenOutputs(ids, gaps, rest, temperatures, ends, first, classes, built)


def _ask(teacher: Teacher, rows: Asked, shard: Tensor, k: int, temperatures: tuple[float, ...]) -> cache.Tensors:
    ids, gaps, rest = [], [], []
    with torch.inference_mode(), autocast(teacher.device, teacher.bf16):
        for index in torch.split(shard, BATCH):
            given = rows.batch(index).given
            said = said_of(teacher.network, teacher.config, given._replace(**_moved(given, teacher.device)))  # type: ignore[union-attr]
            for features in torch.split(said.features, max(1, PIECE // said.classes)):
                z = said.head(features).float()
                top = z.topk(k, dim=1)
                largest = top.values[:, :1]
                others = (z - largest).scatter(1, top.indices, -torch.inf)
                ids.append(top.indices.int().cpu())
                gaps.append((largest - top.values).bfloat16().cpu())
                rest.append(torch.stack([(others / temperature).logsumexp(1) for temperature in temperatures], 1).cpu())
    return {"ids": torch.cat(ids).clone(), "gaps": torch.cat(gaps).clone(), "rest": torch.cat(rest).clone()}


def _moved(given: Given, device: torch.device) -> dict[str, Tensor]:
    assert not isinstance(given, Tensor)
    return {name: part.to(device) for name, part in given._asdict().items() if part is not None}
