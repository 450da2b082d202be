"""Named, published combinations of losses that compare outputs. A recipe is nothing but its expansion into terms."""

from typing import ClassVar, Literal

from pydantic import Field

from contract.base import About
from contract.registry.inner import Cosine
from contract.registry.losses import Clm, CrossEntropy, Jsd, Kl, LogitMse, Mlm, PolicyGradient, SingleStepKl
from contract.registry.objective import Term
from contract.registry.recipe import Alpha, BaseRecipe, counted
from contract.registry.tasks import CLASSES, WRITES
from contract.registry.terms import Temperature, Weight
from contract.words import TangWords


class Hinton(BaseRecipe):
    ABOUT: ClassVar = About(
        "Soft targets of the teacher beside the labels: the classic.",
        "(1 − α) · cross_entropy + α · kl(T)",
        "Hinton, Vinyals, Dean 2015, https://arxiv.org/abs/1503.02531",
    )
    name: Literal["hinton"] = "hinton"
    temperature: Temperature = 4.0
    alpha: Alpha = 0.7

    def expand(self) -> list[Term]:
        soft = Kl(temperature=self.temperature, weight=self.alpha)
        hard = CrossEntropy(weight=1 - self.alpha)
        return counted(soft, hard)


class MultiTeacher(Hinton):
    ABOUT: ClassVar = About(
        "The classic, with several teachers that speak as one: the mean of what each says after softening.",
        "(1 − α) · cross_entropy + α · kl(T), p_t = 1/K · Σ_k softmax(z_k/T)",
        "You et al. 2017, https://doi.org/10.1145/3097983.3098135",
    )
    ONLY_FOR: ClassVar = CLASSES
    SEVERAL_TEACHERS: ClassVar = True
    name: Literal["multi_teacher"] = "multi_teacher"  # type: ignore[assignment]


class LogitMseRecipe(BaseRecipe):
    ABOUT: ClassVar = About(
        "Regression on the teacher's logits, labels optional.",
        "(1 − α) · cross_entropy + α · logit_mse",
        "Ba, Caruana 2014, https://arxiv.org/abs/1312.6184",
    )
    name: Literal["logit_mse"] = "logit_mse"
    alpha: Alpha = 1.0

    def expand(self) -> list[Term]:
        return counted(LogitMse(weight=self.alpha), CrossEntropy(weight=1 - self.alpha))


class DistilBert(BaseRecipe):
    ABOUT: ClassVar = About(
        "The triple loss that made DistilBERT: the teacher's distribution over every token, the masked tokens, the angle of hidden states.",
        "5 · kl(T=2) + 2 · mlm + 1 · cosine",
        "Sanh et al. 2019, https://arxiv.org/abs/1910.01108",
    )
    ONLY_FOR: ClassVar = ("masked-lm",)
    name: Literal["distilbert"] = "distilbert"
    temperature: Temperature = 2.0
    kl: Weight = 5.0
    mlm: Weight = 2.0
    cosine: Weight = 1.0

    def expand(self) -> list[Term]:
        return counted(Kl(temperature=self.temperature, weight=self.kl), Mlm(weight=self.mlm), Cosine(weight=self.cosine))


class TangBilstm(BaseRecipe):
    ABOUT: ClassVar = About(
        "A BERT's knowledge for a small BiLSTM: regression on its logits; with labels, both in equal parts or as alpha says.",
        "(1 − α) · cross_entropy + α · logit_mse",
        "Tang et al. 2019, https://arxiv.org/abs/1903.12136",
    )
    ONLY_FOR: ClassVar = ("text-classification",)
    SHOWS: ClassVar = ("words",)
    name: Literal["tang_bilstm"] = "tang_bilstm"
    alpha: Alpha = 1.0
    words: TangWords | None = Field(
        default=None, description="Rows made of each row, as `data.augment.words` with rules: tang; `{}` for those of the paper."
    )

    def expand(self) -> list[Term]:
        return LogitMseRecipe(alpha=self.alpha).expand()


class MixKd(BaseRecipe):
    ABOUT: ClassVar = About(
        "The classic, on rows mixed of two: teacher and student are asked of what lies between the rows there are.",
        "(1 − α) · cross_entropy + α · kl(T), of λ·x_i + (1 − λ)·x_j and both labels in these shares, λ ~ Beta(m, m)",
        "Liang et al. 2020, https://arxiv.org/abs/2011.00593",
    )
    ONLY_FOR: ClassVar = CLASSES
    SHOWS: ClassVar = ("mixup",)
    name: Literal["mixkd"] = "mixkd"
    temperature: Temperature = 4.0
    alpha: Alpha = 0.7
    mixup: float = Field(default=0.4, gt=0, le=100, description="m: below 1 most mixtures are nearly one of the two.")

    def expand(self) -> list[Term]:
        return Hinton(temperature=self.temperature, alpha=self.alpha).expand()


class Gkd(BaseRecipe):
    ABOUT: ClassVar = About(
        "On-policy: in a share of the steps the student writes, and its teacher says of every token how likely it would have been. So the "
        "student learns where it goes wrong by itself.",
        "jsd(β, T) of the data's tokens, or of tokens ŷ ~ p_s that the student has drawn",
        "Agarwal et al. 2023, https://arxiv.org/abs/2306.13649",
    )
    ONLY_FOR: ClassVar = ("causal-lm",)
    SHOWS: ClassVar = ("on_policy",)
    name: Literal["gkd"] = "gkd"
    beta: float = Field(default=0.5, gt=0, lt=1, description="As of `jsd`: near 0 the student covers its teacher, near 1 it avoids.")
    temperature: Temperature = 1.0
    on_policy: float = Field(default=0.5, ge=0, le=1, description="Share of steps on the student's own texts.")

    def expand(self) -> list[Term]:
        return [Jsd(beta=self.beta, temperature=self.temperature)]


class MiniLlm(BaseRecipe):
    ABOUT: ClassVar = About(
        "On-policy reverse kl of whole texts: the student writes, its teacher mixed in, and learns of every token how far it is from its "
        "teacher there and what it led to; beside it the data's own texts. Its student should be one that can write already.",
        "single_step_kl + policy_gradient of tokens y ~ p̃ = a·p_t + (1 − a)·p_s, + clm of the data's tokens",
        "Gu et al. 2023, https://arxiv.org/abs/2306.08543",
    )
    ONLY_FOR: ClassVar = ("causal-lm",)
    SHOWS: ClassVar = ("on_policy", "teacher_mixed")
    name: Literal["minillm"] = "minillm"
    teacher_mixed: float = Field(default=0.2, ge=0, lt=1, description="a: the teacher's share in what tokens are drawn from.")
    length_norm: bool = Field(default=True, description="As of `policy_gradient`.")
    clm: Weight = 1.0
    on_policy: float = Field(default=1.0, gt=0, le=1, description="Share of steps on the student's own texts; in the others clm alone.")

    def expand(self) -> list[Term]:
        return counted(SingleStepKl(), PolicyGradient(length_norm=self.length_norm), Clm(weight=self.clm))


class SeqKd(BaseRecipe):
    ABOUT: ClassVar = About(
        "The teacher writes, the student learns to write the same: its texts take the place of the targets; of causal-lm, that of each "
        "text's second half. Both may read by any tokenizer.",
        "cross_entropy with ŷ_t, the likeliest token after ŷ_1 … ŷ_t−1 and the source, by the teacher",
        "Kim, Rush 2016, https://arxiv.org/abs/1606.07947",
    )
    ONLY_FOR: ClassVar = WRITES
    TEACHER_OUTPUTS: ClassVar = "text"
    name: Literal["seq_kd"] = "seq_kd"

    def expand(self) -> list[Term]:
        return [CrossEntropy()]
