"""Published methods that are several jobs, each of which follows the one before (`contract.chains`). Their terms are the last job's."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field

from contract.base import About
from contract.registry.architectures import Mlp
from contract.registry.choices import Architecture
from contract.registry.objective import Term
from contract.registry.recipe import Alpha, BaseRecipe
from contract.registry.recipes import Hinton
from contract.registry.terms import Temperature
from contract.sources import Source, as_source


class _Chain(BaseRecipe):
    """The classic, at the end of a chain."""

    SEVERAL_JOBS: ClassVar = True
    temperature: Temperature = 4.0
    alpha: Alpha = 0.7

    def expand(self) -> list[Term]:
        return Hinton(temperature=self.temperature, alpha=self.alpha).expand()


class Takd(_Chain):
    ABOUT: ClassVar = About(
        "Teacher assistants: networks of sizes between, each taught by the one before; the last of them teaches the student.",
        "teacher → assistant → … → student, each by (1 − α) · cross_entropy + α · kl(T)",
        "Mirzadeh et al. 2019, https://arxiv.org/abs/1902.03393",
    )
    name: Literal["takd"] = "takd"
    assistants: Annotated[list[Architecture], Field(min_length=1, max_length=8, description="From the largest to the smallest.")]

    @classmethod
    def example(cls) -> Self:
        return cls(assistants=[Mlp(hidden=[32])])


class BornAgain(_Chain):
    ABOUT: ClassVar = About(
        "Generations: a student is taught by the teacher, the next one by that student, and so on; commonly all as large as the teacher.",
        "teacher → generation 1 → … → generation n, each by (1 − α) · cross_entropy + α · kl(T)",
        "Furlanello et al. 2018, https://arxiv.org/abs/1805.04770",
    )
    name: Literal["born_again"] = "born_again"
    temperature: Temperature = 1.0
    alpha: Alpha = 0.5
    generations: int = Field(default=3, ge=1, le=10, description="How many; the last one is handed out.")


class SelfKd(_Chain):
    ABOUT: ClassVar = About(
        "The student is its own teacher: trained alone on the labels first, it teaches a fresh copy of itself. A spec names no teacher.",
        "cross_entropy → (1 − α) · cross_entropy + α · kl(T) with the student so trained",
        "Yuan et al. 2020 (Tf-KD self), https://arxiv.org/abs/1909.11723",
    )
    OWN_TEACHER: ClassVar = True
    name: Literal["self_kd"] = "self_kd"
    temperature: Temperature = 20.0
    alpha: Alpha = 0.9


class WellRead(_Chain):
    ABOUT: ClassVar = About(
        "A compact student first reads: it is trained to guess masked words of plain text, and only then hears its teacher.",
        "masked-lm on plain text → kl(T) with the teacher",
        "Turc et al. 2019, https://arxiv.org/abs/1908.08962",
    )
    ONLY_FOR: ClassVar = ("text-classification",)
    name: Literal["well_read"] = "well_read"
    temperature: Temperature = 1.0
    alpha: Alpha = 1.0
    corpus: Annotated[Source, BeforeValidator(as_source)] | None = Field(
        default=None, description="The plain text, as `data.train`; the texts of `data.train` itself, when not said."
    )
    epochs: int = Field(default=3, ge=1, le=1_000_000, description="Of reading; all else is as in `training`.")
