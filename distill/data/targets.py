"""Texts with the texts they are to become: asked for is each token of the second, from the first and the tokens before it (Sutskever et al.
2014, https://arxiv.org/abs/1409.3215)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from distill.data.batch import IGNORED, Batch
from distill.data.tokens import Tokens, stretch


@dataclass(frozen=True, kw_only=True)
class TargetTokens(Tokens):
    """goal [sum of lengths] and goal_starts [N + 1]: the tokens of each target, as `flat` and `starts` hold those of the sources; first:
    the id that stands before them; written: the targets themselves."""

    goal: Tensor
    goal_starts: Tensor
    first: int
    written: tuple[str, ...]

    @property
    def answers(self) -> Tensor:
        """[N]: how many tokens are asked for, of each row."""
        return self.goal_starts.diff()

    def content(self, begin: int, end: int) -> bytes:
        return super().content(begin, end) + stretch(self.goal, self.goal_starts, begin, end) + str(self.first).encode()

    def batch(self, index: Tensor) -> Batch:
        """What is asked for stands on the right of what is shown: the decoder never sees the token it is to tell."""
        starts, lengths = self.goal_starts[index], self.goal_starts.diff()[index]
        places = torch.arange(max(1, int(lengths.max())), device=index.device)
        there = places < lengths[:, None]
        goal = self.goal[(starts[:, None] + places).clamp_(max=max(0, len(self.goal) - 1))].long().masked_fill_(~there, IGNORED)
        decoder = F.pad(goal[:, :-1], (1, 0), value=self.first)
        asked = there.flatten().nonzero()[:, 0]
        given = self.tokens(index)._replace(decoder=decoder.masked_fill(decoder == IGNORED, self.pad), asked=asked)
        return Batch(given, goal.flatten()[asked])
