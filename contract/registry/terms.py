"""What all terms of an objective have: a weight, and how their numbers may change on the way."""

from math import cos, pi
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from contract.base import Choice, Sent
from contract.rules import wrong

Weight = Annotated[float, Field(ge=0, le=1e6, description="Factor of this term in the sum.")]
Temperature = Annotated[
    float, Field(gt=0, le=1000, description="Softens both distributions; ranks never change, differences of small logits show.")
]


_END = "As beside it, at the end; not said, it stays."


class Anneal(Sent):
    """Where a term's numbers go in the course of training, from those beside it to these: teacher annealing (Clark et al. 2019,
    https://arxiv.org/abs/1907.04829) is `kl` going to 0 while `cross_entropy` goes from 0 to 1."""

    weight: Weight | None = Field(default=None, description=_END)
    temperature: Temperature | None = Field(default=None, description=_END)
    shape: Literal["linear", "cosine", "step"] = Field(
        default="linear", description="cosine is slow at both ends; step jumps there at `until`."
    )
    until: float = Field(default=1.0, gt=0, le=1, description="Share of all steps after which they stay.")

    @model_validator(mode="after")
    def _something_changes(self) -> Self:
        if self.weight is None and self.temperature is None:
            raise wrong("say what changes: weight, temperature or both", at=("weight",))
        return self

    def gone(self, share: float) -> float:
        """How much of the way is done, 0 to 1, when this share of all steps is."""
        way = min(1.0, share / self.until)
        if self.shape == "step":
            return float(way >= 1)
        return way if self.shape == "linear" else (1 - cos(pi * way)) / 2


class BaseTerm(Choice):
    KEY: ClassVar = "loss"
    NEEDS_TEACHER: ClassVar[bool] = True
    ONLY_FOR: ClassVar[tuple[str, ...]] = ()  # tasks; all when empty
    OF_DRAWN: ClassVar[bool] = False  # whether only tokens count that the student has drawn itself (`data.on_policy`)
    SEES: ClassVar[Literal["logits", "states", "heads"]] = "logits"  # states of layers; heads: what each head of attention works with
    weight: Weight = 1.0
    anneal: Anneal | None = Field(
        default=None,
        exclude_if=lambda value: value is None,  # most terms stay as they are, and say nothing of it
        description="What weight and temperature become during training: `{weight: 0}` lets the term fade out.",
    )

    @model_validator(mode="after")
    def _has_what_changes(self) -> Self:
        if self.anneal is not None and self.anneal.temperature is not None and not hasattr(self, "temperature"):
            raise wrong(f"{self.key()} has no temperature; leave this out", at=("anneal", "temperature"))
        return self

    @property
    def counts(self) -> bool:
        """Whether it ever weighs anything."""
        return self.weight > 0 or (self.anneal is not None and bool(self.anneal.weight))

    def at(self, share: float) -> Self:
        """The term as it is when this share of all steps is done."""
        if self.anneal is None:
            return self
        ends = {name: getattr(self.anneal, name) for name in ("weight", "temperature")}
        gone = self.anneal.gone(share)
        update = {name: getattr(self, name) * (1 - gone) + end * gone for name, end in ends.items() if end is not None}
        return self.model_copy(update=update)
