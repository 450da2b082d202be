"""The terms an objective can be made of."""

from typing import Annotated

from pydantic import Field

from contract.registry.inner import (
    AttentionKl,
    AttentionMse,
    AttentionTransfer,
    Cosine,
    EmbeddingMse,
    FeatureHint,
    HiddenMse,
    Inner,
    Pkd,
    Rkd,
    ValueRelation,
)  # fmt: skip
from contract.registry.losses import (
    Adversarial,
    Clm,
    CrossEntropy,
    Jsd,
    Kl,
    LogitMse,
    Mlm,
    ReverseKl,
    SkewKl,
    SoftCrossEntropy,
)  # fmt: skip
from contract.registry.terms import BaseTerm

LOSSES: tuple[type[BaseTerm], ...] = (
    Kl, ReverseKl, Jsd, SkewKl, SoftCrossEntropy, LogitMse, CrossEntropy, Mlm, Clm, Adversarial,
    Cosine, HiddenMse, EmbeddingMse, AttentionMse, AttentionKl, ValueRelation, Pkd, Rkd, AttentionTransfer, FeatureHint,
)  # fmt: skip
Outer = Kl | ReverseKl | Jsd | SkewKl | SoftCrossEntropy | LogitMse | CrossEntropy | Mlm | Clm | Adversarial
Term = Annotated[Outer | Inner, Field(discriminator="loss")]
