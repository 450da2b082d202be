"""Published methods that look inside the teacher, as terms."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from contract.base import About
from contract.registry.inner import (
    AttentionKl,
    AttentionMse,
    AttentionTransfer,
    EmbeddingMse,
    FeatureHint,
    HiddenMse,
    Layers,
    Pkd,
    Rkd,
    ValueRelation,
)
from contract.registry.losses import Adversarial, CrossEntropy, Kl, SoftCrossEntropy
from contract.registry.objective import Term
from contract.registry.recipe import Alpha, BaseRecipe, counted
from contract.registry.tasks import CLASSES, NUMBERS
from contract.registry.terms import Anneal, Temperature, Weight
from contract.words import TinyBertWords

Phase = Annotated[float, Field(gt=0, lt=1, description="Share of all steps that the first phase takes; then the second takes over.")]


class PatientKd(BaseRecipe):
    ABOUT: ClassVar = About(
        "The classic, and besides the first token's states of several layers.",
        "(1 − α) · cross_entropy + α · kl(T) + β · pkd",
        "Sun et al. 2019, https://arxiv.org/abs/1908.09355",
    )
    ONLY_FOR: ClassVar = ("text-classification",)
    name: Literal["pkd"] = "pkd"
    temperature: Temperature = 10.0
    alpha: Alpha = 0.5
    beta: Weight = Field(
        default=0.1,
        description="Weight of the states' distance. The authors' code takes a mean over layers and units: its β of 100 is 0.03 here, of "
        "five layers of 768.",
    )
    layers: Layers = Field(default="skip", description="As of the term `pkd`: `skip` or `last`, or pairs.")

    def expand(self) -> list[Term]:
        soft = Kl(temperature=self.temperature, weight=self.alpha)
        return counted(soft, CrossEntropy(weight=1 - self.alpha), Pkd(weight=self.beta, layers=self.layers))


class TinyBert(BaseRecipe):
    ABOUT: ClassVar = About(
        "All layers first, then the answers: attention scores, states and embeddings in the first phase, the teacher's distribution in the "
        "second. As a language model (general distillation) it has the first phase alone.",
        "attention_mse + hidden_mse + embedding_mse, then soft_cross_entropy(T = 1)",
        "Jiao et al. 2019, https://arxiv.org/abs/1909.10351",
    )
    ONLY_FOR: ClassVar = ("text-classification", "token-classification", "question-answering", "masked-lm")
    SHOWS: ClassVar = ("words",)
    name: Literal["tinybert"] = "tinybert"
    general: bool = Field(default=False, description="The first phase alone, to the end: for `masked-lm`, before a task is known.")
    until: Phase = 0.5
    layers: Layers = Field(default="uniform", description="Which layers are compared, as of `hidden_mse`.")
    words: TinyBertWords | None = Field(
        default=None, description="Of text-classification: rows made of each row, as `data.augment.words` with rules: tinybert."
    )

    def expand(self) -> list[Term]:
        away = None if self.general else Anneal(weight=0.0, shape="step", until=self.until)
        inner: list[Term] = [
            AttentionMse(layers=self.layers, anneal=away), HiddenMse(layers=self.layers, anneal=away), EmbeddingMse(anneal=away),
        ]  # fmt: skip
        after = Anneal(weight=1.0, shape="step", until=self.until)
        return inner if self.general else [*inner, SoftCrossEntropy(temperature=1.0, weight=0.0, anneal=after)]


class MiniLm(BaseRecipe):
    ABOUT: ClassVar = About(
        "Where the last layer looks, and which of its values are alike: nothing of widths, depths or answers.",
        "attention_kl + value_relation, of the last layers",
        "Wang et al. 2020, https://arxiv.org/abs/2002.10957",
    )
    ONLY_FOR: ClassVar = ("masked-lm", "causal-lm")
    name: Literal["minilm"] = "minilm"
    attention: Weight = 1.0
    values: Weight = 1.0

    def expand(self) -> list[Term]:
        return counted(AttentionKl(weight=self.attention), ValueRelation(weight=self.values))


class RelationalKd(BaseRecipe):
    ABOUT: ClassVar = About(
        "Labels, and how rows lie to each other: distances and angles.",
        "cross_entropy + β · rkd(a = 1, b = 2)",
        "Park et al. 2019, https://arxiv.org/abs/1904.05068",
    )
    ONLY_FOR: ClassVar = CLASSES
    name: Literal["rkd"] = "rkd"
    beta: Weight = Field(default=25.0, description="Weight of the relations.")

    def expand(self) -> list[Term]:
        return counted(CrossEntropy(), Rkd(weight=self.beta))


class AttentionTransferRecipe(BaseRecipe):
    ABOUT: ClassVar = About(
        "Labels, and where in the image channels are active.",
        "cross_entropy + β · attention_transfer",
        "Zagoruyko, Komodakis 2016, https://arxiv.org/abs/1612.03928",
    )
    ONLY_FOR: ClassVar = ("image-classification",)
    name: Literal["attention_transfer"] = "attention_transfer"
    beta: Weight = Field(default=10.0, description="Weight of the maps' distance.")
    layers: Layers = Field(default="uniform", description="Which layers are compared.")

    def expand(self) -> list[Term]:
        return counted(CrossEntropy(), AttentionTransfer(weight=self.beta, layers=self.layers))


class FitNets(BaseRecipe):
    ABOUT: ClassVar = About(
        "A layer in the middle first, by the teacher's hint; then the classic.",
        "feature_hint, then (1 − α) · cross_entropy + α · kl(T)",
        "Romero et al. 2014, https://arxiv.org/abs/1412.6550",
    )
    ONLY_FOR: ClassVar = NUMBERS
    name: Literal["fitnets"] = "fitnets"
    temperature: Temperature = 4.0
    alpha: Alpha = 0.7
    until: Phase = 0.3
    layers: Layers = Field(default="final", description="Which layer is guided and which one is the hint; pairs, to name others.")

    def expand(self) -> list[Term]:
        away = Anneal(weight=0.0, shape="step", until=self.until)
        hint: list[Term] = [FeatureHint(layers=self.layers, anneal=away)]
        shares = ((Kl(temperature=self.temperature, weight=0.0), self.alpha), (CrossEntropy(weight=0.0), 1 - self.alpha))
        rest = [
            term.model_copy(update={"anneal": Anneal(weight=weight, shape="step", until=self.until)})
            for term, weight in shares
            if weight > 0
        ]
        return [*hint, *rest]


class AdversarialRecipe(BaseRecipe):
    ABOUT: ClassVar = About(
        "The classic, and a judge that tells the student's answers from the teacher's until it cannot.",
        "(1 − α) · cross_entropy + α · kl(T) + β · adversarial",
        "Xu et al. 2017, https://arxiv.org/abs/1709.00513",
    )
    ONLY_FOR: ClassVar = CLASSES
    name: Literal["adversarial"] = "adversarial"
    temperature: Temperature = 4.0
    alpha: Alpha = 0.7
    beta: Weight = Field(default=0.1, description="Weight of the judge.")

    def expand(self) -> list[Term]:
        soft = Kl(temperature=self.temperature, weight=self.alpha)
        return counted(soft, CrossEntropy(weight=1 - self.alpha), Adversarial(weight=self.beta))
