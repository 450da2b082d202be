"""The terms of a spec → one loss. A closed registry: what stands in contract.registry.LOSSES stands here, a test compares them.

Terms are means over what they count: rows, or tokens. Large vocabularies are worked off in pieces, and steps may come in several parts; a
piece counts for its share of the whole, so that neither changes the loss or its gradient.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from contract import registry
from contract.registry import Term
from distill import losses
from distill.data.batch import IGNORED, IMPOSSIBLE, Drawn, TokenBatch
from distill.data.batch import Batch as Asked
from distill.inner import INNER, Comparison
from distill.inner_losses import adversarial
from distill.inside import Inside

PIECE = 2**24  # logits that stand in memory at once: 64 MiB in float32


@dataclass(frozen=True)
class Said:
    """What a network says of a batch: `head` makes logits [N, C] of `features` [N, F]; inside: what went on in it, where that was asked.

    beside: of a teacher of whom only a part was kept, its logits (features, z_s, T) whose softmax at T is what is known of it, and for
    all else what the student itself says: of what nobody knows, nothing is taught."""

    features: Tensor
    head: Callable[[Tensor], Tensor]
    classes: int
    inside: Inside | None = None
    beside: Callable[[Tensor, Tensor, float], Tensor] | None = None
    several: bool = False  # whether rows are `pairs`
    pointing: bool = False  # whether classes are places of a text, IMPOSSIBLE outside of it

    @classmethod
    def of(cls, logits: Tensor, several: bool = False) -> "Said":
        """several: whether a row may have any number of the classes."""
        z = pairs(logits) if several else logits
        return cls(z, lambda z: z, z.shape[-1], several=several)

    @property
    def logits(self) -> Tensor:
        return self.head(self.features)


def pairs(logits: Tensor) -> Tensor:
    """Logits [B, C] of classes that each hold or not → [B·C, 2]: two classes each, the softmax of which is the sigmoid."""
    flat = logits.flatten()
    return torch.stack([torch.zeros_like(flat), flat], dim=1)


@dataclass(frozen=True)
class Batch:
    """What terms look at: student logits [N, C], labels [N], the teacher's logits [N, C] for a temperature; what was drawn; and whether
    rows are `pairs`, or point to places."""

    z_s: Tensor
    y: Tensor
    teacher: Callable[[float], Tensor]
    drawn: Drawn | None = None
    several: bool = False
    pointing: bool = False

    def at(self, places: Tensor) -> "Batch":
        drawn = self.drawn.at(places) if self.drawn is not None else None
        known: Callable[[float], Tensor] = lambda temperature: self.teacher(temperature)[places]  # noqa: E731
        return Batch(self.z_s[places], self.y[places], known, drawn, self.several, self.pointing)


@dataclass(frozen=True)
class Counts:
    """Rows or tokens of a whole step: all that are asked for, those of them that have a label, all rows and tokens there are, and those
    asked for that were drawn."""

    all: int
    labelled: int
    rows: int = 0
    tokens: int = 0
    drawn: int = 0

    @classmethod
    def of(cls, batches: Sequence[Asked]) -> "Counts":
        every = [len(batch.labels) for batch in batches]
        labelled = sum(n if b.counted is None else b.counted for n, b in zip(every, batches, strict=True))
        given = [batch.given for batch in batches]
        rows = sum(len(g.ids if isinstance(g, TokenBatch) else g) for g in given)
        tokens = sum(len(g.places) for g in given if isinstance(g, TokenBatch))
        return cls(sum(every), labelled, rows, tokens, sum(_how_many(batch.drawn) for batch in batches))


def _how_many(drawn: Drawn | None) -> int:
    return 0 if drawn is None else int((drawn.ids != IGNORED).sum())


def _nobody(_temperature: float) -> Tensor:
    raise AssertionError("the spec checks that a term with a teacher has one")


def _single_step(_term: registry.SingleStepKl, b: Batch) -> Tensor:
    assert b.drawn is not None
    return losses.single_step_kl(b.z_s, b.teacher(1.0), b.drawn.weights)


def _policy_gradient(term: registry.PolicyGradient, b: Batch) -> Tensor:
    assert b.drawn is not None
    reward = b.drawn.ahead / b.drawn.left.clamp(min=1) if term.length_norm else b.drawn.ahead
    return losses.policy_gradient(b.z_s, b.drawn.ids, b.drawn.weights, reward)


def _logit_mse(_term: registry.LogitMse, b: Batch) -> Tensor:
    """Of a class that holds or not there is one logit; the other of its pair is 0 for both, and counts for nothing. Nor do places outside
    of a text, of which there are as many as the longest text beside it has."""
    z_t = b.teacher(1.0)
    return losses.logit_mse(b.z_s, z_t, z_t > IMPOSSIBLE if b.pointing else None) * (2 if b.several else 1)


def _labelled(term: registry.CrossEntropy, b: Batch) -> Tensor:
    return losses.cross_entropy(b.z_s, b.y, term.label_smoothing)


TERMS: dict[type, Callable[[Any, Batch], Tensor]] = {
    registry.Kl: lambda term, b: losses.kl(b.z_s, b.teacher(term.temperature), term.temperature),
    registry.ReverseKl: lambda term, b: losses.reverse_kl(b.z_s, b.teacher(term.temperature), term.temperature),
    registry.SingleStepKl: _single_step,
    registry.PolicyGradient: _policy_gradient,
    registry.Jsd: lambda term, b: losses.jsd(b.z_s, b.teacher(term.temperature), term.beta, term.temperature),
    registry.SkewKl: lambda term, b: losses.skew_kl(b.z_s, b.teacher(term.temperature), term.skew, term.temperature),
    registry.SoftCrossEntropy: lambda term, b: losses.soft_cross_entropy(
        b.z_s, b.teacher(term.temperature), term.temperature, term.t_squared
    ),
    registry.LogitMse: _logit_mse,
    registry.CrossEntropy: _labelled,
    registry.Mlm: _labelled,
    registry.Clm: _labelled,
}
OWN = {registry.Adversarial}  # terms with a network of their own


class _Turned(torch.autograd.Function):
    """As it is; its gradient with the sign turned (Ganin, Lempitsky 2015, https://arxiv.org/abs/1409.7495)."""

    @staticmethod
    def forward(_context: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return -gradient


def _judge(classes: int, hidden: int) -> nn.Sequential:
    """Logits [N, C] → how much they look like the teacher's, [N, 1]."""
    between = [nn.Linear(classes, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, hidden), nn.LeakyReLU(0.2)]
    return nn.Sequential(*between, nn.Linear(hidden, 1))


class Objective(nn.Module):
    """The weighted sum of the terms, in their order; calling it gives the total and each term before its weight, both with
    their graphs. What terms learn along,
    projections and judges, are its own weights, which are not handed out."""

    def __init__(self, terms: Sequence[Term], comparisons: Mapping[int, Comparison] | None = None, classes: int = 0) -> None:
        """comparisons: of the terms that look inside, by their places; classes: how many logits a row has."""
        super().__init__()
        self.terms = list(terms)
        seen: dict[str, int] = {}
        self.names: list[str] = []
        for term in self.terms:
            seen[term.loss] = seen.get(term.loss, 0) + 1
            self.names.append(term.loss if seen[term.loss] == 1 else f"{term.loss}_{seen[term.loss]}")
        self.comparisons = nn.ModuleDict({self.names[place]: one for place, one in (comparisons or {}).items()})
        self.judges = nn.ModuleDict()
        for name, term in zip(self.names, self.terms, strict=True):
            if isinstance(term, registry.Adversarial):
                self.judges[name] = _judge(classes, term.hidden)

    def forward(
        self,
        student: Said,
        y: Tensor,
        teacher: Said | None,
        counts: Counts | None = None,
        share: float = 0.0,
        drawn: Drawn | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Of a part of a step: its terms' shares of the step's means, added up. counts: of the whole step, when this is not all of it;
        share: of all steps that are done, for terms that change on the way; drawn: of tokens that were, where a term asks for it."""
        if teacher is None and any(term.OF_DRAWN for term in self.terms):
            _nobody(1.0)
        terms = [term.at(share) for term in self.terms]
        counts = counts or Counts(len(y), int((y != IGNORED).sum()), *_size(student), _how_many(drawn))
        rows = max(1, PIECE // student.classes)
        found = self._inside(terms, student, teacher, counts)
        said = teacher.features if teacher is not None else None
        for start in range(0, len(y), rows):
            given = student.features, y, said, drawn
            if len(y) > rows:  # else no slice, which would be one step more of the gradient
                piece = slice(start, start + rows)
                of_piece = (said[piece] if said is not None else None, drawn.at(piece) if drawn is not None else None)
                given = (student.features[piece], y[piece], *of_piece)

            def work(features: Tensor, labels: Tensor, of_teacher: Tensor | None, own: Drawn | None) -> list[Tensor | None]:
                z_s = student.head(features)
                known = _nobody if teacher is None or of_teacher is None else known_of(teacher, of_teacher, z_s.detach())
                return self._logits(terms, Batch(z_s, labels, known, own, student.several, student.pointing), counts)

            # The logits of a piece are computed again for its gradient rather than kept.
            parts = work(*given) if len(y) <= rows else checkpoint(work, *given, use_reentrant=False)
            found = [a if b is None else b if a is None else a + b for a, b in zip(found, parts, strict=True)]
        whole = [part if part is not None else student.features.sum() * 0 for part in found]
        total = whole[0] * terms[0].weight
        for term, part in zip(terms[1:], whole[1:], strict=True):
            total = total + term.weight * part
        return total, whole

    def _logits(self, terms: Sequence[Term], batch: Batch, counts: Counts) -> list[Tensor | None]:
        """Each term's share; None for those that see hidden states, and where nothing has a label, or was drawn."""
        only = batch
        if counts.labelled != counts.all:
            named = batch.y != IGNORED
            only = Batch(batch.z_s[named], batch.y[named], _nobody)
        own = only
        if any(term.OF_DRAWN for term in terms):
            drawn = batch.drawn
            own = batch.at(torch.zeros_like(batch.y, dtype=torch.bool) if drawn is None else drawn.ids != IGNORED)
        found: list[Tensor | None] = []
        for name, term in zip(self.names, terms, strict=True):
            seen, of = (batch, counts.all) if term.NEEDS_TEACHER else (only, counts.labelled)
            if term.OF_DRAWN:
                seen, of = own, counts.drawn
            if term.SEES != "logits" or not len(seen.y):
                found.append(None)
                continue
            mean = self._judged(name, seen) if name in self.judges else TERMS[type(term)](term, seen)
            found.append(_share(mean, len(seen.y), of))
        return found

    def _judged(self, name: str, batch: Batch) -> Tensor:
        judge = self.judges[name]
        of_teacher, turned = batch.teacher(1.0).float(), _Turned.apply(batch.z_s.float())  # type: ignore[no-untyped-call]
        return adversarial(judge(turned), judge(of_teacher))

    def _inside(self, terms: Sequence[Term], student: Said, teacher: Said | None, counts: Counts) -> list[Tensor | None]:
        found: list[Tensor | None] = []
        for name, term in zip(self.names, terms, strict=True):
            if term.SEES == "logits":
                found.append(None)
                continue
            if teacher is None:
                _nobody(1.0)
            assert student.inside is not None and teacher is not None and teacher.inside is not None
            rows, tokens = _size(student)
            mine, of = (tokens, counts.tokens) if INNER[type(term)].unit == "tokens" else (rows, counts.rows)
            found.append(_share(self.comparisons[name](term, student.inside, teacher.inside), mine, of))
        return found


def _size(said: Said) -> tuple[int, int]:
    """Rows and tokens, where what goes on inside was asked for."""
    if said.inside is None:
        return len(said.features), 0
    return len(said.inside.states[0]), 0 if said.inside.tokens is None else len(said.inside.tokens)


def known_of(teacher: Said, features: Tensor, z_s: Tensor) -> Callable[[float], Tensor]:
    """The teacher's logits of these tokens, for a temperature; without gradients."""
    with torch.no_grad():
        beside = teacher.beside
        if beside is not None:
            return lambda temperature: beside(features, z_s, temperature)
        z_t = teacher.head(features)
        return lambda _temperature: z_t


def _share(mean: Tensor, count: int, of: int) -> Tensor:
    return mean if count == of else mean * (count / of)
