"""The terms that look inside, on what they look at: which layers are compared, and what the student learns along to be comparable."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from contract import registry
from contract.errors import ErrorCode, InvalidSpec
from distill import inner_losses as losses
from distill.inside import Inside

Pairs = list[tuple[int, int]]  # layers of student and teacher
Width = tuple[int, ...]  # of a state: [H] of tokens and rows, [C, height, width] of maps


@dataclass(frozen=True)
class Sight:
    """What one pair of layers shows a term. `project` brings states of the student's to the teacher's width."""

    student: Inside
    teacher: Inside
    pair: tuple[int, int]
    project: Callable[[Tensor], Tensor]

    def tokens(self) -> tuple[Tensor, Tensor]:
        return self.project(self.student.of_tokens(self.pair[0])), self.teacher.of_tokens(self.pair[1])

    def rows(self) -> tuple[Tensor, Tensor]:
        return self.project(self.student.of_rows(self.pair[0])), self.teacher.of_rows(self.pair[1])

    def maps(self) -> tuple[Tensor, Tensor]:
        return self.student.states[self.pair[0]], self.teacher.states[self.pair[1]]

    def heads(self) -> tuple[Any, Any, Tensor]:
        assert self.student.mask is not None
        return self.student.heads[self.pair[0] - 1], self.teacher.heads[self.pair[1] - 1], self.student.mask


def _hint(_term: Any, sight: Sight) -> Tensor:
    mine, theirs = losses.alike(*sight.maps())
    return losses.hidden_mse(sight.project(mine), theirs)


class Kind(NamedTuple):
    """How a term is computed of one pair; `unit`: what it is the mean of; `projects`: whether states of other widths are brought to the
    teacher's, or always, or never, being either comparable or refused."""

    loss: Callable[[Any, Sight], Tensor]
    unit: Literal["tokens", "rows"]
    projects: Literal["never", "unlike", "always"] = "never"
    equal: Literal["width", "heads"] | None = None  # what must be the same in both
    maps: bool = False  # whether only layers with maps count


INNER: dict[type, Kind] = {
    registry.Cosine: Kind(lambda _, sight: losses.cosine(*sight.tokens()), "tokens", equal="width"),
    registry.HiddenMse: Kind(lambda _, sight: losses.hidden_mse(*sight.tokens()), "tokens", "unlike"),
    registry.EmbeddingMse: Kind(lambda _, sight: losses.hidden_mse(*sight.tokens()), "tokens", "unlike"),
    registry.AttentionMse: Kind(lambda _, sight: losses.attention_mse(*sight.heads()), "rows", equal="heads"),
    registry.AttentionKl: Kind(lambda _, sight: losses.attention_kl(*sight.heads()), "rows", equal="heads"),
    registry.ValueRelation: Kind(lambda term, sight: losses.value_relation(*sight.heads(), term.relation_heads), "rows", equal="heads"),
    registry.Pkd: Kind(lambda _, sight: losses.pkd(*sight.rows()), "rows", "unlike"),
    registry.Rkd: Kind(lambda term, sight: losses.rkd(*sight.rows(), term.distance, term.angle), "rows"),
    registry.AttentionTransfer: Kind(lambda _, sight: losses.attention_transfer(*sight.maps()), "rows", maps=True),
    registry.FeatureHint: Kind(_hint, "rows", "always"),
}


class Comparison(nn.Module):
    """One term over its pairs of layers, with the projections that are learned along: one for all pairs of the same widths."""

    def __init__(self, term: Any, pairs: Pairs, widths: Sequence[tuple[Width, Width]]) -> None:
        """widths: of the states of each pair."""
        super().__init__()
        self.kind, self.pairs = INNER[type(term)], pairs
        self.keys = ["_".join("x".join(map(str, width)) for width in both) for both in widths]
        self.projections = nn.ModuleDict()
        for key, (mine, theirs) in zip(self.keys, widths, strict=True):
            if self.kind.projects == "always" or (self.kind.projects == "unlike" and mine != theirs):
                if len(mine) == len(theirs) == 3:
                    self.projections[key] = nn.Conv2d(mine[0], theirs[0], 1)
                else:
                    self.projections[key] = nn.Linear(mine[0], theirs[0], bias=self.kind.projects == "always")

    def forward(self, term: Any, student: Inside, teacher: Inside) -> Tensor:
        found = [
            self.kind.loss(term, Sight(student, teacher, pair, self._projection(key)))
            for pair, key in zip(self.pairs, self.keys, strict=True)
        ]
        return torch.stack(found).sum()

    def _projection(self, key: str) -> Callable[[Tensor], Tensor]:
        return dict(self.projections.items()).get(key, _as_it_is)


def _as_it_is(states: Tensor) -> Tensor:
    return states


def comparison(term: Any, place: str, student: Inside, teacher: Inside) -> Comparison:
    """For networks that look like this inside. InvalidSpec, at `place` of the spec, where they cannot be compared."""
    kind = INNER[type(term)]
    mine, theirs = (_layers(inside, kind, place, whose) for whose, inside in (("student", student), ("teacher", teacher)))
    pairs = _pairs(term.layers, mine, theirs, place)
    if kind.equal == "heads":
        _refuse_other_heads(term, pairs, student, teacher, place)
    widths = [(_width(student, a), _width(teacher, b)) for a, b in pairs]
    for a, b in widths:
        if kind.equal == "width" and a != b:
            raise _unfit(
                place,
                f"{term.loss} compares states of equal width; the student's have {a[0]} values, the teacher's {b[0]}",
                "Use hidden_mse, which learns a projection, or a student as wide as its teacher.",
            )
    return Comparison(term, pairs, widths)


def _layers(inside: Inside, kind: Kind, place: str, whose: str) -> list[int]:
    """The layers that such a term can look at, by their numbers."""
    if kind.equal == "heads":
        if not inside.heads:
            raise _unfit(place, f"the {whose} has no attention to look at", "Use a transformer, or a term that compares outputs.")
        return list(range(1, len(inside.heads) + 1))
    wanted = 4 if kind.maps else 3 if kind.unit == "tokens" else None
    found = [layer for layer in range(1, inside.depth + 1) if wanted in (None, inside.states[layer].ndim)]
    if not found:
        what = "maps of an image" if kind.maps else "states of tokens" if kind.unit == "tokens" else "layers before the classes"
        raise _unfit(place, f"the {whose} has no {what} to look at", "Use another network, or a term that compares outputs.")
    return found


def _pairs(layers: str | list[list[int]], mine: list[int], theirs: list[int], place: str) -> Pairs:
    """M and N count the layers such a term can look at; 0, what goes into the first, only where pairs are named."""
    m, n = len(mine), len(theirs)
    if isinstance(layers, list):
        for a, b in layers:
            for number, there, whose in ((a, mine, "student"), (b, theirs, "teacher")):
                if number != 0 and number not in there:
                    raise _unfit(
                        f"{place}.layers", f"the {whose} has no layer {number}; it has {there[0]} to {there[-1]}, and 0 before them"
                    )
        return [(a, b) for a, b in layers]
    if layers == "final":
        return [(mine[-1], theirs[-1])]
    if m > n:
        raise _unfit(f"{place}.layers", f"the student has {m} layers and the teacher {n}", f"`{layers}` is for shallower students.")
    places = [(i, n - m + i if layers == "last" else -(-i * n // m)) for i in range(1, m + 1)]
    if layers != "uniform":
        places = places[:-1]
    if not places:
        raise _unfit(f"{place}.layers", f"`{layers}` leaves out the final layer, and the student has no other", "Use `final`.")
    return [(mine[i - 1], theirs[j - 1]) for i, j in places]


def _refuse_other_heads(term: Any, pairs: Pairs, student: Inside, teacher: Inside, place: str) -> None:
    """Relations between values may be asked of any number of heads, cut anew."""
    if any(0 in pair for pair in pairs):
        raise _unfit(f"{place}.layers", "there is no attention before the first layer", "Count layers from 1.")
    for a, b in pairs:
        mine, theirs = student.heads[a - 1].value, teacher.heads[b - 1].value
        anew = getattr(term, "relation_heads", None)
        if anew is None and mine.shape[1] != theirs.shape[1]:
            why = f"{term.loss} compares head with head; the student has {mine.shape[1]}, the teacher {theirs.shape[1]}"
            hint = "Give the student as many heads" + ("" if term.loss != "value_relation" else ", or set relation_heads") + "."
            raise _unfit(place, why, hint)
        for values, whose in ((mine, "student"), (theirs, "teacher")):
            width = values.shape[1] * values.shape[3]
            if anew is not None and width % anew:
                raise _unfit(f"{place}.relation_heads", f"the {whose}'s {width} values cannot be cut into {anew} equal parts")


def _width(inside: Inside, layer: int) -> Width:
    states = inside.states[layer]
    return tuple(states.shape[1:]) if inside.mask is None else (states.shape[-1],)


def _unfit(place: str, why: str, hint: str | None = None) -> InvalidSpec:
    return InvalidSpec(f"{place}: {why}.", code=ErrorCode.DOES_NOT_FIT, param=place, hint=hint)
