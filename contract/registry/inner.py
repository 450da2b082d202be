"""The terms that look inside: at the states of layers, and at what heads of attention work with. Layers are counted from 1; 0 are the
embeddings, or the input of a network of numbers. Sums over the pairs of layers that are compared.

h_s, h_t: states of student and teacher; W: a matrix that is learned along, where they are not equally wide.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from contract.base import About
from contract.registry.tasks import CLASSES, NUMBERS, ONE_STACK, TEXTS
from contract.registry.terms import BaseTerm
from contract.rules import wrong

Number = Annotated[int, Field(ge=0, le=1000)]
Pair = Annotated[list[Number], Field(min_length=2, max_length=2)]
Named = Literal["final", "uniform", "skip", "last"]
Layers = Annotated[
    Annotated[Named, Tag("named")] | Annotated[list[Pair], Field(min_length=1, max_length=1000), Tag("pairs")],
    Discriminator(lambda value: "pairs" if isinstance(value, list) else "named"),
]
MAPS = (
    "Which layers are compared, of M and N: `final`: M with N; `uniform`: each m with ⌈m·N/M⌉ (TinyBERT); `skip`: the same without "
    "the final ones (PKD-Skip); `last`: each m < M with N − M + m (PKD-Last); or pairs [student's, teacher's]."
)
TINYBERT = "Jiao et al. 2019 (TinyBERT), https://arxiv.org/abs/1909.10351"
MINILM = "Wang et al. 2020 (MiniLM), https://arxiv.org/abs/2002.10957"


class _Layered(BaseTerm):
    SEES: ClassVar[Literal["states", "heads"]] = "states"
    SAME_TOKENS: ClassVar[bool] = True  # whether both must read the same tokens
    layers: Layers = Field(default="final", description=MAPS)

    @field_validator("layers")
    @classmethod
    def _once(cls, value: str | list[list[int]]) -> str | list[list[int]]:
        if isinstance(value, list) and len({tuple(pair) for pair in value}) < len(value):
            raise wrong("name each pair once")
        return value


class Cosine(_Layered):
    ABOUT: ClassVar = About(
        "Angle between the states of student and teacher, which must be equally wide.",
        "Σ over pairs of 1 − cos(h_s, h_t), mean over tokens",
        "Sanh et al. 2019, https://arxiv.org/abs/1910.01108",
    )
    ONLY_FOR: ClassVar = TEXTS
    loss: Literal["cosine"] = "cosine"


class HiddenMse(_Layered):
    ABOUT: ClassVar = About(
        "Squared difference of the states; where the student's are narrower, through a matrix that is learned along.",
        "Σ over pairs of the mean over tokens and units of (h_s·W − h_t)²",
        TINYBERT,
    )
    ONLY_FOR: ClassVar = TEXTS
    loss: Literal["hidden_mse"] = "hidden_mse"


class EmbeddingMse(BaseTerm):
    ABOUT: ClassVar = About(
        "Squared difference of what goes into the first layer: hidden_mse of the embeddings.",
        "mean over tokens and units of (e_s·W − e_t)²",
        TINYBERT,
    )
    ONLY_FOR: ClassVar = TEXTS
    SEES: ClassVar = "states"
    SAME_TOKENS: ClassVar = True
    layers: ClassVar = [[0, 0]]
    loss: Literal["embedding_mse"] = "embedding_mse"


class AttentionMse(_Layered):
    ABOUT: ClassVar = About(
        "Squared difference of the attention scores before their softmax. Student and teacher must have equally many heads.",
        "Σ over pairs of the mean over heads and pairs of tokens of (q_s·k_s/√d_s − q_t·k_t/√d_t)², mean over rows",
        TINYBERT,
    )
    ONLY_FOR: ClassVar = ONE_STACK
    SEES: ClassVar = "heads"
    loss: Literal["attention_mse"] = "attention_mse"


class AttentionKl(_Layered):
    ABOUT: ClassVar = About(
        "Kullback-Leibler divergence of where each token looks. Student and teacher must have equally many heads.",
        "Σ over pairs of KL(softmax(q_t·k_t/√d_t) ‖ softmax(q_s·k_s/√d_s)), mean over heads and tokens, then over rows",
        MINILM,
    )
    ONLY_FOR: ClassVar = ONE_STACK
    SEES: ClassVar = "heads"
    loss: Literal["attention_kl"] = "attention_kl"


class ValueRelation(_Layered):
    ABOUT: ClassVar = About(
        "Kullback-Leibler divergence of which tokens' values are alike; heads may be of any width.",
        "Σ over pairs of KL(softmax(v_t·v_t/√d_t) ‖ softmax(v_s·v_s/√d_s)), mean over heads and tokens, then over rows",
        MINILM,
    )
    ONLY_FOR: ClassVar = ONE_STACK
    SEES: ClassVar = "heads"
    loss: Literal["value_relation"] = "value_relation"
    relation_heads: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None,
        description="Cut all heads' values together into so many anew, so that numbers of heads may differ (MiniLMv2, Wang et al. 2020, "
        "https://arxiv.org/abs/2012.15828).",
    )


class Pkd(_Layered):
    ABOUT: ClassVar = About(
        "Distance of the first token's states, each brought to length 1.",
        "Σ over pairs of ‖h_s·W/‖h_s·W‖ − h_t/‖h_t‖‖², mean over rows",
        "Sun et al. 2019 (Patient KD), https://arxiv.org/abs/1908.09355",
    )
    ONLY_FOR: ClassVar = ("text-classification",)
    SAME_TOKENS: ClassVar = False
    loss: Literal["pkd"] = "pkd"
    layers: Layers = Field(default="skip", description=MAPS)


class Rkd(_Layered):
    ABOUT: ClassVar = About(
        "Relations between rows: how far apart their states are, and the angles between three of them, whatever the width. Where a step "
        "comes in parts, rows of one part, and at most 128 at a time.",
        "Σ over pairs of a·mean huber(d_s/mean d_s − d_t/mean d_t) + b·mean huber(cos∠_s − cos∠_t), over pairs and triples of rows",
        "Park et al. 2019 (Relational KD), https://arxiv.org/abs/1904.05068",
    )
    ONLY_FOR: ClassVar = CLASSES
    SAME_TOKENS: ClassVar = False
    loss: Literal["rkd"] = "rkd"
    distance: float = Field(default=1.0, ge=0, le=1e6, description="a, of the distances.")
    angle: float = Field(default=2.0, ge=0, le=1e6, description="b, of the angles.")


class AttentionTransfer(_Layered):
    ABOUT: ClassVar = About(
        "Distance of where in the image channels are active, each map brought to length 1; the larger map is averaged down.",
        "Σ over pairs of ‖Q_s/‖Q_s‖ − Q_t/‖Q_t‖‖² with Q = Σ over channels of h², mean over rows",
        "Zagoruyko, Komodakis 2016, https://arxiv.org/abs/1612.03928",
    )
    ONLY_FOR: ClassVar = ("image-classification",)
    SAME_TOKENS: ClassVar = False
    loss: Literal["attention_transfer"] = "attention_transfer"
    layers: Layers = Field(default="uniform", description=MAPS + " Only layers with maps count.")


class FeatureHint(_Layered):
    ABOUT: ClassVar = About(
        "Squared difference of a layer of the student's, through a regressor that is learned along, and one of the teacher's; the larger "
        "map is averaged down.",
        "Σ over pairs of the mean over rows and units of (r(h_s) − h_t)²; r: a matrix, or a convolution of 1×1",
        "Romero et al. 2014 (FitNets), https://arxiv.org/abs/1412.6550",
    )
    ONLY_FOR: ClassVar = NUMBERS
    SAME_TOKENS: ClassVar = False
    loss: Literal["feature_hint"] = "feature_hint"


Inner = Cosine | HiddenMse | EmbeddingMse | AttentionMse | AttentionKl | ValueRelation | Pkd | Rkd | AttentionTransfer | FeatureHint
