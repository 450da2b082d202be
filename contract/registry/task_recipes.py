"""Published methods for students of several tasks."""

from typing import ClassVar, Literal

from contract.base import About
from contract.registry.losses import CrossEntropy, Kl
from contract.registry.objective import Term
from contract.registry.recipe import Alpha, BaseRecipe
from contract.registry.recipes import Hinton
from contract.registry.terms import Anneal, Temperature


class _OfTasks(BaseRecipe):
    ONLY_FOR: ClassVar = ("text-classification",)
    SEVERAL_TASKS: ClassVar = True
    temperature: Temperature = 1.0


class Bam(_OfTasks):
    ABOUT: ClassVar = About(
        "Born-again multi-task networks: one student of all tasks, each of which has a teacher of its own; the student begins with its "
        "teachers and ends with the labels.",
        "λ · cross_entropy + (1 − λ) · kl(T), λ from 0 to 1 in the course of training; of each row only its task's classes",
        "Clark et al. 2019, https://arxiv.org/abs/1907.04829",
    )
    name: Literal["bam"] = "bam"

    def expand(self) -> list[Term]:
        soft = Kl(temperature=self.temperature, weight=1.0, anneal=Anneal(weight=0.0))
        return [soft, CrossEntropy(weight=0.0, anneal=Anneal(weight=1.0))]


class MtDnnKd(_OfTasks):
    ABOUT: ClassVar = About(
        "One student of all tasks learns from labels and from its teachers in equal parts; a task's teacher may be several that speak as "
        "one.",
        "(1 − α) · cross_entropy + α · kl(T); of each row only its task's classes",
        "Liu et al. 2019, https://arxiv.org/abs/1904.09482",
    )
    name: Literal["mt_dnn_kd"] = "mt_dnn_kd"
    alpha: Alpha = 0.5

    def expand(self) -> list[Term]:
        return Hinton(temperature=self.temperature, alpha=self.alpha).expand()
