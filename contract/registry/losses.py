"""The terms an objective is made of. z_s, z_t: student and teacher logits [B, C]; p = softmax(z/T); y: labels [B]."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from contract.base import About, Choice

Weight = Annotated[float, Field(ge=0, le=1e6, description="Factor of this term in the sum.")]
Temperature = Annotated[
    float, Field(gt=0, le=1000, description="Softens both distributions; ranks never change, differences of small logits show.")
]


class _Term(Choice):
    KEY: ClassVar = "loss"
    NEEDS_TEACHER: ClassVar[bool] = True
    weight: Weight = 1.0


class Kl(_Term):
    ABOUT: ClassVar = About(
        "Kullback-Leibler divergence from the student's softened distribution to the teacher's, times T².",
        "T² · Σ_c p_t(c) · (log p_t(c) − log p_s(c)), mean over rows",
        "Hinton, Vinyals, Dean 2015, https://arxiv.org/abs/1503.02531",
    )
    loss: Literal["kl"] = "kl"
    temperature: Temperature = 4.0


class SoftCrossEntropy(_Term):
    ABOUT: ClassVar = About(
        "Cross-entropy of the student's softened distribution under the teacher's: kl plus the teacher's own entropy.",
        "[T²] · −Σ_c p_t(c) · log p_s(c), mean over rows",
        "Hinton, Vinyals, Dean 2015, https://arxiv.org/abs/1503.02531",
    )
    loss: Literal["soft_cross_entropy"] = "soft_cross_entropy"
    temperature: Temperature = 4.0
    t_squared: bool = Field(default=True, description="Multiply by T², so that gradients keep their size when T changes.")


class LogitMse(_Term):
    ABOUT: ClassVar = About(
        "Mean squared difference of the logits.",
        "mean over rows and classes of (z_s − z_t)²",
        "Ba, Caruana 2014, https://arxiv.org/abs/1312.6184; Tang et al. 2019, https://arxiv.org/abs/1903.12136",
    )
    loss: Literal["logit_mse"] = "logit_mse"


class CrossEntropy(_Term):
    ABOUT: ClassVar = About("Cross-entropy with the labels: ordinary supervised training.", "−log softmax(z_s)[y], mean over rows")
    NEEDS_TEACHER: ClassVar[bool] = False
    loss: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="Share of each label spread evenly over all classes.")


LOSSES: tuple[type[_Term], ...] = (Kl, SoftCrossEntropy, LogitMse, CrossEntropy)
Term = Annotated[Kl | SoftCrossEntropy | LogitMse | CrossEntropy, Field(discriminator="loss")]
