"""Texts for language models: all of them one after the other, cut into blocks of one length; nothing is padded but the last block."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from distill.data.batch import IGNORED, Batch
from distill.data.tokens import Tokens
from distill.device import derived_seed


@dataclass(frozen=True)
class CausalBlocks(Tokens):
    """Asked for: at each token the next one (Bengio et al. 2003). told [sum of lengths]: which tokens are to be learned, and not only
    there to be gone on from; all when None."""

    told: Tensor | None = None

    @property
    def answers(self) -> Tensor:
        """[N]: how many tokens are asked for, of each block."""
        return self.lengths - 1

    def batch(self, index: Tensor) -> Batch:
        given = self.tokens(index)
        has_next = torch.nn.functional.pad(given.mask[:, 1:], (0, 1))
        asked = has_next.flatten().nonzero()[:, 0]
        labels = given.ids.flatten()[asked + 1]
        if self.told is None:
            return Batch(given._replace(asked=asked), labels)
        told = self.padded(self.told, index, 0)[0].flatten()[asked + 1] > 0
        return Batch(given._replace(asked=asked), labels.masked_fill(~told, IGNORED), int(told.sum()))


@dataclass(frozen=True)
class MaskedBlocks(Tokens):
    """Asked for: every token, counted: those masked. Of each token with a chance of `share`, 80 % are masked, 10 % become another token,
    10 % stay (Devlin et al. 2018); special tokens are left alone.

    Drawn from torch's global generator, which checkpoints hold, and on the CPU, so that every device sees the same; or where rows are
    measured, from the rows' own numbers, so that every network sees the same.
    """

    mask_id: int = 0
    special: tuple[int, ...] = ()
    vocabulary: int = 0
    share: float = 0.15
    fixed: bool = False

    def batch(self, index: Tensor) -> Batch:
        given = self.tokens(index)
        shape = tuple(given.ids.shape)
        if self.fixed:
            draws = [_fixed_draw(row, shape[1]) for row in index.tolist()]
            chance, kind, other = (torch.stack(part).to(index.device) for part in zip(*draws, strict=True))
        else:
            chance, kind, other = (torch.rand(shape).to(index.device) for _ in range(3))
        ids = given.ids
        special = torch.isin(ids, torch.tensor(self.special, device=ids.device))
        chosen = (chance < self.share) & given.mask & ~special
        changed = torch.where(kind < 0.8, torch.full_like(ids, self.mask_id), ids)
        changed = torch.where(kind >= 0.9, (other * self.vocabulary).long(), changed)
        asked = given.mask.flatten().nonzero()[:, 0]
        labels = torch.where(chosen, ids, IGNORED).flatten()[asked]
        return Batch(given._replace(ids=torch.where(chosen, changed, ids), asked=asked), labels, int(chosen.sum()))

    def measured(self) -> "MaskedBlocks":
        """The same rows with masks that never change."""
        return replace(self, fixed=True)


def _fixed_draw(row: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(derived_seed("mask", row))
    drawn = torch.rand((3, length), generator=generator)
    return drawn[0], drawn[1], drawn[2]
