"""The terms that compare outputs. z_s, z_t: student and teacher logits [N, C]; p = softmax(z/T); y: labels [N]. N counts rows, or in a
language model tokens: for terms with a teacher every real token of the step, for the others those that are to be predicted.
"""

from typing import ClassVar, Literal

from pydantic import Field

from contract.base import About
from contract.registry.tasks import CLASSES
from contract.registry.terms import BaseTerm, Temperature


class Kl(BaseTerm):
    ABOUT: ClassVar = About(
        "Kullback-Leibler divergence from the student's softened distribution to the teacher's, times T².",
        "T² · Σ_c p_t(c) · (log p_t(c) − log p_s(c)), mean over rows",
        "Hinton, Vinyals, Dean 2015, https://arxiv.org/abs/1503.02531",
    )
    loss: Literal["kl"] = "kl"
    temperature: Temperature = 4.0


class SoftCrossEntropy(BaseTerm):
    ABOUT: ClassVar = About(
        "Cross-entropy of the student's softened distribution under the teacher's: kl plus the teacher's own entropy.",
        "[T²] · −Σ_c p_t(c) · log p_s(c), mean over rows",
        "Hinton, Vinyals, Dean 2015, https://arxiv.org/abs/1503.02531",
    )
    loss: Literal["soft_cross_entropy"] = "soft_cross_entropy"
    temperature: Temperature = 4.0
    t_squared: bool = Field(default=True, description="Multiply by T², so that gradients keep their size when T changes.")


class LogitMse(BaseTerm):
    ABOUT: ClassVar = About(
        "Mean squared difference of the logits.",
        "mean over rows and classes of (z_s − z_t)²",
        "Ba, Caruana 2014, https://arxiv.org/abs/1312.6184; Tang et al. 2019, https://arxiv.org/abs/1903.12136",
    )
    loss: Literal["logit_mse"] = "logit_mse"


class CrossEntropy(BaseTerm):
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


class ReverseKl(BaseTerm):
    ABOUT: ClassVar = About(
        "Kullback-Leibler divergence the other way round: the student avoids what the teacher finds unlikely, instead of covering all "
        "that it finds likely.",
        "T² · Σ_c p_s(c) · (log p_s(c) − log p_t(c)), mean over rows",
        "Gu et al. 2023 (MiniLLM), https://arxiv.org/abs/2306.08543",
    )
    loss: Literal["reverse_kl"] = "reverse_kl"
    temperature: Temperature = 1.0


class SingleStepKl(BaseTerm):
    ABOUT: ClassVar = About(
        "Reverse kl of each token the student has written, over all tokens that it might have written there: what a drawn token does to "
        "itself, without the chance of a draw.",
        "w_i · Σ_c p_s(c) · (log p_s(c) − log p_t(c)), mean over drawn tokens y_i; w_i = p_s(y_i)/p̃(y_i), p̃ = a·p_t + (1 − a)·p_s with "
        "a = data.teacher_mixed",
        "Gu et al. 2023 (MiniLLM), https://arxiv.org/abs/2306.08543",
    )
    ONLY_FOR: ClassVar = ("causal-lm",)
    OF_DRAWN: ClassVar = True
    loss: Literal["single_step_kl"] = "single_step_kl"


class PolicyGradient(BaseTerm):
    ABOUT: ClassVar = About(
        "What a drawn token does to those after it: tokens that led to where the teacher would not have gone become less likely.",
        "−w_i · R_i+1, mean over drawn tokens y_i, with the gradient −w_i · R_i+1 · ∇log p_s(y_i); R_i+1: mean (or sum) over the drawn "
        "tokens j > i of log p_t(y_j) − log p_s(y_j); w_i as in single_step_kl",
        "Gu et al. 2023 (MiniLLM), https://arxiv.org/abs/2306.08543",
    )
    ONLY_FOR: ClassVar = ("causal-lm",)
    OF_DRAWN: ClassVar = True
    loss: Literal["policy_gradient"] = "policy_gradient"
    length_norm: bool = Field(default=True, description="R is the mean over the tokens to come; else their sum, which favours short texts.")


class Jsd(BaseTerm):
    ABOUT: ClassVar = About(
        "Generalised Jensen-Shannon divergence: between kl (beta near 0) and reverse_kl (near 1), and never larger than log 2 at 0.5.",
        "β·KL(p_t ‖ m) + (1 − β)·KL(p_s ‖ m) with m = β·p_t + (1 − β)·p_s, mean over rows",
        "Agarwal et al. 2023 (GKD), https://arxiv.org/abs/2306.13649",
    )
    loss: Literal["jsd"] = "jsd"
    beta: float = Field(default=0.5, gt=0, lt=1, description="Weight of the teacher in the mixture.")
    temperature: Temperature = 1.0


class SkewKl(BaseTerm):
    ABOUT: ClassVar = About(
        "kl to a mixture of the student with a little of the teacher, which keeps gradients small where the student is far off.",
        "T² · Σ_c p_t(c) · (log p_t(c) − log(λ·p_t(c) + (1 − λ)·p_s(c))), mean over rows",
        "Ko et al. 2024 (DistiLLM), https://arxiv.org/abs/2402.03898",
    )
    loss: Literal["skew_kl"] = "skew_kl"
    skew: float = Field(default=0.1, ge=0, lt=1, description="λ, the teacher's share of the mixture; at 0 it is kl.")
    temperature: Temperature = 1.0


class Adversarial(BaseTerm):
    ABOUT: ClassVar = About(
        "A small network learns to tell the teacher's logits from the student's, and the student to be taken for the teacher: its gradient "
        "goes through with its sign turned (Ganin, Lempitsky 2015), so both learn in the same step.",
        "½ · (softplus(−D(z_t)) + softplus(D(z_s))), mean over rows; D learns to make it small, the student large",
        "Xu et al. 2017, https://arxiv.org/abs/1709.00513; Ganin, Lempitsky 2015, https://arxiv.org/abs/1409.7495",
    )
    ONLY_FOR: ClassVar = CLASSES
    loss: Literal["adversarial"] = "adversarial"
    hidden: int = Field(default=64, ge=1, le=4096, description="Width of the two hidden layers of D.")


Outer = Kl | ReverseKl | SingleStepKl | PolicyGradient | Jsd | SkewKl | SoftCrossEntropy | LogitMse | CrossEntropy | Mlm | Clm | Adversarial
