"""The terms of a spec → one loss. A closed registry: what stands in contract.registry.LOSSES stands here, a test compares them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from contract import registry
from contract.registry import Term
from distill import losses


class Batch(NamedTuple):
    """What terms look at: student logits [B, C], labels [B], teacher logits [B, C] (None without a teacher)."""

    z_s: Tensor
    y: Tensor
    z_t: Tensor | None


def _teacher(batch: Batch) -> Tensor:
    assert batch.z_t is not None, "the spec checks that a term with a teacher has one"
    return batch.z_t


TERMS: dict[type, Callable[[Any, Batch], Tensor]] = {
    registry.Kl: lambda term, b: losses.kl(b.z_s, _teacher(b), term.temperature),
    registry.SoftCrossEntropy: lambda term, b: losses.soft_cross_entropy(b.z_s, _teacher(b), term.temperature, term.t_squared),
    registry.LogitMse: lambda term, b: losses.logit_mse(b.z_s, _teacher(b)),
    registry.CrossEntropy: lambda term, b: losses.cross_entropy(b.z_s, b.y, term.label_smoothing),
}


class Objective:
    """The weighted sum of the terms, in their order; calling it gives the total and each term before its weight."""

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms = list(terms)
        seen: dict[str, int] = {}
        self.names: list[str] = []
        for term in self.terms:
            seen[term.loss] = seen.get(term.loss, 0) + 1
            self.names.append(term.loss if seen[term.loss] == 1 else f"{term.loss}_{seen[term.loss]}")

    @property
    def needs_teacher(self) -> bool:
        return any(term.NEEDS_TEACHER for term in self.terms)

    def __call__(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        parts = [TERMS[type(term)](term, batch) for term in self.terms]
        total = parts[0] * self.terms[0].weight
        for term, part in zip(self.terms[1:], parts[1:], strict=True):
            total = total + term.weight * part
        return total, [part.detach() for part in parts]
