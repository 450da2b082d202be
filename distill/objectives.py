"""The terms of a spec → one loss. A closed registry: what stands in contract.registry.LOSSES stands here, a test compares them.

Terms are means over what they count: rows, or tokens. Large vocabularies are worked off in pieces, and steps may come in several parts; a
piece counts for its share of the whole, so that neither changes the loss or its gradient.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from contract import registry
from contract.registry import Term
from distill import losses
from distill.data.batch import IGNORED
from distill.data.batch import Batch as Asked

PIECE = 2**24  # logits that stand in memory at once: 64 MiB in float32


@dataclass(frozen=True)
class Said:
    """What a network says of a batch: `head` makes logits [N, C] of `features` [N, F]; hidden [N, H] are its last hidden states.

    beside: of a teacher of whom only a part was kept, its logits (features, z_s, T) whose softmax at T is what is known of it, and for
    all else what the student itself says: of what nobody knows, nothing is taught."""

    features: Tensor
    head: Callable[[Tensor], Tensor]
    classes: int
    hidden: Tensor | None = None
    beside: Callable[[Tensor, Tensor, float], Tensor] | None = None

    @classmethod
    def of(cls, logits: Tensor, several: bool = False) -> "Said":
        """several: whether a row may have any number of the classes."""
        z = pairs(logits) if several else logits
        return cls(z, lambda z: z, z.shape[-1])

    @property
    def logits(self) -> Tensor:
        return self.head(self.features)


def pairs(logits: Tensor) -> Tensor:
    """Logits [B, C] of classes that each hold or not → [B·C, 2]: two classes each, the softmax of which is the sigmoid."""
    flat = logits.flatten()
    return torch.stack([torch.zeros_like(flat), flat], dim=1)


@dataclass(frozen=True)
class Batch:
    """What terms look at: student logits [N, C], labels [N], and the teacher's logits [N, C] for a temperature."""

    z_s: Tensor
    y: Tensor
    teacher: Callable[[float], Tensor]


@dataclass(frozen=True)
class Counts:
    """Rows or tokens of a whole step: all of them, and those that have a label."""

    all: int
    labelled: int

    @classmethod
    def of(cls, batches: Sequence[Asked]) -> "Counts":
        every = [len(batch.labels) for batch in batches]
        return cls(sum(every), sum(n if b.counted is None else b.counted for n, b in zip(every, batches, strict=True)))


def _nobody(_temperature: float) -> Tensor:
    raise AssertionError("the spec checks that a term with a teacher has one")


def _labelled(term: registry.CrossEntropy, b: Batch) -> Tensor:
    return losses.cross_entropy(b.z_s, b.y, term.label_smoothing)


TERMS: dict[type, Callable[[Any, Batch], Tensor]] = {
    registry.Kl: lambda term, b: losses.kl(b.z_s, b.teacher(term.temperature), term.temperature),
    registry.ReverseKl: lambda term, b: losses.reverse_kl(b.z_s, b.teacher(term.temperature), term.temperature),
    registry.Jsd: lambda term, b: losses.jsd(b.z_s, b.teacher(term.temperature), term.beta, term.temperature),
    registry.SkewKl: lambda term, b: losses.skew_kl(b.z_s, b.teacher(term.temperature), term.skew, term.temperature),
    registry.SoftCrossEntropy: lambda term, b: losses.soft_cross_entropy(
        b.z_s, b.teacher(term.temperature), term.temperature, term.t_squared
    ),
    registry.LogitMse: lambda term, b: losses.logit_mse(b.z_s, b.teacher(1.0)),
    registry.CrossEntropy: _labelled,
    registry.Mlm: _labelled,
    registry.Clm: _labelled,
}
HIDDEN: dict[type, Callable[[Tensor, Tensor], Tensor]] = {registry.Cosine: losses.cosine, registry.HiddenMse: losses.hidden_mse}


class Objective(nn.Module):
    """The weighted sum of the terms, in their order; calling it gives the total and each term before its weight. Its own weights are the
    projections of hidden_mse, which are not handed out."""

    def __init__(self, terms: Sequence[Term], widths: tuple[int, int] | None = None) -> None:
        """widths: of the student's and the teacher's hidden states, where a term looks at them."""
        super().__init__()
        self.terms = list(terms)
        seen: dict[str, int] = {}
        self.names: list[str] = []
        for term in self.terms:
            seen[term.loss] = seen.get(term.loss, 0) + 1
            self.names.append(term.loss if seen[term.loss] == 1 else f"{term.loss}_{seen[term.loss]}")
        self.projections = nn.ModuleDict()
        for name, term in zip(self.names, self.terms, strict=True):
            if isinstance(term, registry.HiddenMse) and widths is not None and widths[0] != widths[1]:
                self.projections[name] = nn.Linear(*widths, bias=False)

    @property
    def sees_hidden(self) -> bool:
        return any(term.SEES == "hidden" for term in self.terms)

    def forward(
        self, student: Said, y: Tensor, teacher: Said | None, counts: Counts | None = None, share: float = 0.0
    ) -> tuple[Tensor, list[Tensor]]:
        """Of a part of a step: its terms' shares of the step's means, added up. counts: of the whole step, when this is not all of it;
        share: of all steps that are done, for terms that change on the way."""
        terms = [term.at(share) for term in self.terms]
        counts = counts or Counts(len(y), int((y != IGNORED).sum()))
        rows = max(1, PIECE // student.classes)
        found = self._hidden(student, teacher, counts)
        for start in range(0, len(y), rows):
            piece = slice(start, start + rows)
            z_t = teacher.features[piece] if teacher is not None else None
            given = (student.features[piece], y[piece], z_t)

            def work(features: Tensor, labels: Tensor, of_teacher: Tensor | None) -> list[Tensor | None]:
                z_s = student.head(features)
                known = _nobody if teacher is None or of_teacher is None else _known(teacher, of_teacher, z_s.detach())
                return self._logits(terms, Batch(z_s, labels, known), counts)

            # The logits of a piece are computed again for its gradient rather than kept.
            parts = work(*given) if len(y) <= rows else checkpoint(work, *given, use_reentrant=False)
            found = [a if b is None else b if a is None else a + b for a, b in zip(found, parts, strict=True)]
        whole = [part if part is not None else student.features.sum() * 0 for part in found]
        total = whole[0] * terms[0].weight
        for term, part in zip(terms[1:], whole[1:], strict=True):
            total = total + term.weight * part
        return total, [part.detach() for part in whole]

    def _logits(self, terms: Sequence[Term], batch: Batch, counts: Counts) -> list[Tensor | None]:
        """Each term's share; None for those that see hidden states, and where nothing has a label."""
        named = batch.y != IGNORED
        only = batch if counts.labelled == counts.all else Batch(batch.z_s[named], batch.y[named], _nobody)
        found: list[Tensor | None] = []
        for term in terms:
            if term.SEES == "hidden":
                found.append(None)
                continue
            seen, of = (batch, counts.all) if term.NEEDS_TEACHER else (only, counts.labelled)
            found.append(_share(TERMS[type(term)](term, seen), len(seen.y), of) if len(seen.y) else None)
        return found

    def _hidden(self, student: Said, teacher: Said | None, counts: Counts) -> list[Tensor | None]:
        found: list[Tensor | None] = []
        for name, term in zip(self.names, self.terms, strict=True):
            if term.SEES != "hidden":
                found.append(None)
                continue
            assert student.hidden is not None and teacher is not None and teacher.hidden is not None
            mine = self.projections[name](student.hidden) if name in self.projections else student.hidden
            found.append(_share(HIDDEN[type(term)](mine, teacher.hidden), len(mine), counts.all))
        return found


def _known(teacher: Said, features: Tensor, z_s: Tensor) -> Callable[[float], Tensor]:
    """The teacher's logits of these tokens, for a temperature; without gradients."""
    with torch.no_grad():
        beside = teacher.beside
        if beside is not None:
            return lambda temperature: beside(features, z_s, temperature)
        z_t = teacher.head(features)
        return lambda _temperature: z_t


def _share(mean: Tensor, count: int, of: int) -> Tensor:
    return mean if count == of else mean * (count / of)
