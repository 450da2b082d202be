"""The terms an objective is made of. z_s, z_t: student and teacher logits [N, C]; p = softmax(z/T); y: labels [N]. N counts rows, or in a
language model tokens: for terms with a teacher every real token of the step, for the others those that are to be predicted.
"""

from math import cos, pi
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from contract.base import About, Choice, Sent
from contract.rules import wrong

Weight = Annotated[float, Field(ge=0, le=1e6, description="Factor of this term in the sum.")]
Temperature = Annotated[
    float, Field(gt=0, le=1000, description="Softens both distributions; ranks never change, differences of small logits show.")
]


class Anneal(Sent):
    """Where a term's numbers go in the course of training, from those beside it to these: teacher annealing (Clark et al. 2019,
    https://arxiv.org/abs/1907.04829) is `kl` going to 0 while `cross_entropy` goes from 0 to 1."""

    weight: Weight | None = None
    temperature: Temperature | None = None
    shape: Literal["linear", "cosine"] = Field(default="linear", description="cosine is slow at both ends.")
    until: float = Field(default=1.0, gt=0, le=1, description="Share of all steps after which they stay.")

    @model_validator(mode="after")
    def _something_changes(self) -> Self:
        if self.weight is None and self.temperature is None:
            raise wrong("say what changes: weight, temperature or both", at=("weight",))
        return self

    def gone(self, share: float) -> float:
        """How much of the way is done, 0 to 1, when this share of all steps is."""
        way = min(1.0, share / self.until)
        return way if self.shape == "linear" else (1 - cos(pi * way)) / 2


class _Term(Choice):
    KEY: ClassVar = "loss"
    NEEDS_TEACHER: ClassVar[bool] = True
    ONLY_FOR: ClassVar[tuple[str, ...]] = ()  # tasks; all when empty
    SEES: ClassVar[Literal["logits", "hidden"]] = "logits"
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


class Mlm(CrossEntropy):
    ABOUT: ClassVar = About(
        "Cross-entropy with the tokens that were masked.", "−log softmax(z_s)[y], mean over masked tokens",
        "Devlin et al. 2018, https://arxiv.org/abs/1810.04805",
    )  # fmt: skip
    ONLY_FOR: ClassVar = ("masked-lm",)
    loss: Literal["mlm"] = "mlm"  # type: ignore[assignment]


class Clm(CrossEntropy):
    ABOUT: ClassVar = About(
        "Cross-entropy with the next token.", "−log softmax(z_s,t)[y_t+1], mean over tokens that have a next one",
        "Bengio et al. 2003, https://www.jmlr.org/papers/v3/bengio03a.html",
    )  # fmt: skip
    ONLY_FOR: ClassVar = ("causal-lm",)
    loss: Literal["clm"] = "clm"  # type: ignore[assignment]


class ReverseKl(_Term):
    ABOUT: ClassVar = About(
        "Kullback-Leibler divergence the other way round: the student avoids what the teacher finds unlikely, instead of covering all "
        "that it finds likely.",
        "T² · Σ_c p_s(c) · (log p_s(c) − log p_t(c)), mean over rows",
        "Gu et al. 2023 (MiniLLM), https://arxiv.org/abs/2306.08543",
    )
    loss: Literal["reverse_kl"] = "reverse_kl"
    temperature: Temperature = 1.0


class Jsd(_Term):
    ABOUT: ClassVar = About(
        "Generalised Jensen-Shannon divergence: between kl (beta near 0) and reverse_kl (near 1), and never larger than log 2 at 0.5.",
        "β·KL(p_t ‖ m) + (1 − β)·KL(p_s ‖ m) with m = β·p_t + (1 − β)·p_s, mean over rows",
        "Agarwal et al. 2023 (GKD), https://arxiv.org/abs/2306.13649",
    )
    loss: Literal["jsd"] = "jsd"
    beta: float = Field(default=0.5, gt=0, lt=1, description="Weight of the teacher in the mixture.")
    temperature: Temperature = 1.0


class SkewKl(_Term):
    ABOUT: ClassVar = About(
        "kl to a mixture of the student with a little of the teacher, which keeps gradients small where the student is far off.",
        "T² · Σ_c p_t(c) · (log p_t(c) − log(λ·p_t(c) + (1 − λ)·p_s(c))), mean over rows",
        "Ko et al. 2024 (DistiLLM), https://arxiv.org/abs/2402.03898",
    )
    loss: Literal["skew_kl"] = "skew_kl"
    skew: float = Field(default=0.1, ge=0, lt=1, description="λ, the teacher's share of the mixture; at 0 it is kl.")
    temperature: Temperature = 1.0


LANGUAGE = ("masked-lm", "causal-lm", "seq2seq")


class Cosine(_Term):
    ABOUT: ClassVar = About(
        "Angle between the last hidden states of student and teacher, which must be equally wide.",
        "1 − cos(h_s, h_t), mean over tokens",
        "Sanh et al. 2019, https://arxiv.org/abs/1910.01108",
    )
    ONLY_FOR: ClassVar = LANGUAGE
    SEES: ClassVar = "hidden"
    loss: Literal["cosine"] = "cosine"


class HiddenMse(_Term):
    ABOUT: ClassVar = About(
        "Squared difference of the last hidden states; where the student's are narrower, through a matrix that is learned along.",
        "mean over tokens and units of (h_s·W − h_t)²",
        "Jiao et al. 2019 (TinyBERT), https://arxiv.org/abs/1909.10351",
    )
    ONLY_FOR: ClassVar = LANGUAGE
    SEES: ClassVar = "hidden"
    loss: Literal["hidden_mse"] = "hidden_mse"


LOSSES: tuple[type[_Term], ...] = (Kl, ReverseKl, Jsd, SkewKl, SoftCrossEntropy, LogitMse, CrossEntropy, Mlm, Clm, Cosine, HiddenMse)
Term = Annotated[
    Kl | ReverseKl | Jsd | SkewKl | SoftCrossEntropy | LogitMse | CrossEntropy | Mlm | Clm | Cosine | HiddenMse, Field(discriminator="loss")
]
