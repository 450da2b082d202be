"""Networks that read text. Their size depends on the tokenizer's vocabulary V, so `parameters` and `work` here take (V,) for a shape; with
0 classes they count a language model, whose outputs are the vocabulary.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from contract.base import About
from contract.registry.architectures import Dropout, Shape, Width, Work, _Architecture
from contract.rules import wrong

Layers = Annotated[int, Field(ge=1, le=200, description="Layers, one on the other.")]


class _Text(_Architecture):
    READS: ClassVar = "text"
    SERVES: ClassVar[tuple[str, ...]] = ("text-classification",)


KERNELS = 18  # of a layer of transformers: ten products, two normalisations, dropouts, sums
ENCODES = ("text-classification", "token-classification", "question-answering", "masked-lm")
GOES_ON = ("text-classification", "causal-lm")


class _Recurrent(_Text):
    """Parameters of stacked recurrent layers whose gates have GATES weight matrices each, as torch counts them."""

    GATES: ClassVar[int]
    DIRECTIONS: ClassVar[int] = 1
    STEP: ClassVar[int] = 5  # kernels from one state to the next
    embedding: Width = Field(default=128, description="Width of a token's vector.")
    hidden: Width = Field(default=128, description="Width of the state, in each direction.")
    layers: Annotated[int, Field(ge=1, le=16, description="Recurrent layers, one on the other.")] = 1
    dropout: Dropout = 0.0

    def parameters(self, shape: Shape, classes: int) -> int:
        wide = self.DIRECTIONS * self.hidden
        inputs = [self.embedding, *[wide] * (self.layers - 1)]
        layers = sum(self.DIRECTIONS * self.GATES * self.hidden * (before + self.hidden + 2) for before in inputs)
        outputs = classes or shape[0]
        return shape[0] * self.embedding + layers + (wide + 1) * outputs

    def work(self, shape: Shape, classes: int, tokens: int = 0) -> Work:
        wide = self.DIRECTIONS * self.hidden
        inputs = [self.embedding, *[wide] * (self.layers - 1)]
        products = tokens * sum(self.DIRECTIONS * self.GATES * self.hidden * (before + self.hidden) for before in inputs)
        products += wide * classes if classes else tokens * wide * shape[0]
        kernels = self.STEP * tokens * self.layers * self.DIRECTIONS  # a state waits for the one before it
        values = tokens * (2 * self.embedding + self.layers * wide * (2 * self.GATES + 3))
        return Work(products, kernels + 8, values, tokens * max(2 * self.embedding, (self.GATES + 2) * wide))


class Lstm(_Recurrent):
    ABOUT: ClassVar = About(
        "Long short-term memory over the tokens; the classes are read off the largest value of each unit over all tokens.",
        "z = W·max_t h_t + b",
        "Hochreiter, Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735",
    )
    arch: Literal["lstm"] = "lstm"
    SERVES: ClassVar = GOES_ON
    GATES: ClassVar = 4


class Bilstm(_Recurrent):
    ABOUT: ClassVar = About(
        "Long short-term memory in both directions, the student of Tang et al.; read off as with lstm.",
        "z = W·max_t [h→_t; h←_t] + b",
        "Tang et al. 2019, https://arxiv.org/abs/1903.12136",
    )
    arch: Literal["bilstm"] = "bilstm"
    SERVES: ClassVar = ("text-classification", "token-classification")
    GATES: ClassVar = 4
    DIRECTIONS: ClassVar = 2


class Gru(_Recurrent):
    ABOUT: ClassVar = About(
        "Gated recurrent units over the tokens; read off as with lstm.",
        "z = W·max_t h_t + b",
        "Cho et al. 2014, https://arxiv.org/abs/1406.1078",
    )
    arch: Literal["gru"] = "gru"
    SERVES: ClassVar = GOES_ON
    GATES: ClassVar = 3


class Textcnn(_Text):
    ABOUT: ClassVar = About(
        "Convolutions of several widths over the tokens' vectors, the largest value of each, one linear layer.",
        "z = W·[max_t relu(conv_k(x))_t for each width k] + b",
        "Kim 2014, https://arxiv.org/abs/1408.5882",
    )
    arch: Literal["textcnn"] = "textcnn"
    embedding: Width = Field(default=128, description="Width of a token's vector.")
    channels: Width = Field(default=100, description="Output channels of each convolution.")
    widths: list[Annotated[int, Field(ge=1, le=32)]] = Field(
        default=[3, 4, 5], min_length=1, max_length=16, description="Tokens that each convolution sees."
    )
    dropout: Dropout = 0.0

    def parameters(self, shape: Shape, classes: int) -> int:
        convolutions = sum(self.channels * (self.embedding * width + 1) for width in self.widths)
        return shape[0] * self.embedding + convolutions + len(self.widths) * self.channels * classes + classes

    def work(self, shape: Shape, classes: int, tokens: int = 0) -> Work:
        products = tokens * self.embedding * self.channels * sum(self.widths) + len(self.widths) * self.channels * classes
        values = tokens * (3 * self.embedding + len(self.widths) * (self.embedding + 3 * self.channels))
        return Work(products, 6 * len(self.widths) + 6, values, tokens * (self.embedding + self.channels))


class _Transformer(_Text):
    """A network that the transformers library builds, saves and opens; FIELDS are its names for ours."""

    LAYERED: ClassVar = True
    FIELDS: ClassVar[dict[str, str]]
    ATTENTIONS: ClassVar[int] = 1  # of what is one layer here
    MATRICES: ClassVar[int] = 2  # of its feed-forward blocks
    layers: Layers = 2
    hidden: Width = Field(default=128, description="Width of a token's vector in every layer.")
    heads: Annotated[int, Field(ge=1, le=256)] = Field(default=2, description="Attention heads; they share the width between them.")
    intermediate: Width | None = Field(default=None, description="Width inside the feed-forward blocks; four times `hidden` when not said.")
    positions: Annotated[int, Field(ge=8, le=131_072)] = Field(default=512, description="The longest text it can read, in tokens.")
    dropout: Dropout = 0.1

    @model_validator(mode="after")
    def _heads_share(self) -> "_Transformer":
        if self.hidden % self.heads:
            raise wrong(f"{self.heads} heads cannot share {self.hidden} values between them equally", at=("heads",))
        return self

    @property
    def inner(self) -> int:
        """Width inside the feed-forward blocks."""
        return self.intermediate or 4 * self.hidden

    def work(self, shape: Shape, classes: int, tokens: int = 0) -> Work:
        wide, inner = self.hidden, self.inner
        block = self.ATTENTIONS * (4 * wide * wide + 2 * tokens * wide) + self.MATRICES * wide * inner
        products = self.layers * tokens * block + (wide * (wide + classes) if classes else tokens * wide * shape[0])
        values = tokens * (4 * wide + self.layers * (13 * self.ATTENTIONS * wide + 2 * self.MATRICES * inner))
        return Work(products, self.layers * KERNELS * self.ATTENTIONS + 10, values, tokens * (wide + inner))

    def settings(self) -> dict[str, Any]:
        """What transformers' config of this kind takes."""
        given = {**self.model_dump(exclude={"arch"}), "intermediate": self.inner}
        return {theirs: given[ours] for ours, names in self.FIELDS.items() for theirs in names.split()}


_BERT = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "heads": "num_attention_heads",
    "intermediate": "intermediate_size",
    "positions": "max_position_embeddings",
    "dropout": "hidden_dropout_prob attention_probs_dropout_prob",
}


class _Encoder(_Transformer):
    SERVES: ClassVar = ENCODES
    EXTRA_ROWS: ClassVar[int] = 0  # of the embeddings, besides tokens and positions

    def parameters(self, shape: Shape, classes: int) -> int:
        """Embeddings, blocks, and a head of one hidden layer; a language model's shares its last matrix with the embeddings."""
        wide, inner = self.hidden, self.inner
        square = wide * (wide + 1)
        embeddings = (shape[0] + self.positions + self.EXTRA_ROWS + 2) * wide
        block = 4 * square + (wide + 1) * inner + (inner + 1) * wide + 4 * wide
        return embeddings + self.layers * block + square + ((wide + 1) * classes if classes else 2 * wide + shape[0])


class Bert(_Encoder):
    ABOUT: ClassVar = About(
        "Bidirectional encoder.", "z = W₂·tanh(W₁·h_[CLS] + b₁) + b₂", "Devlin et al. 2018, https://arxiv.org/abs/1810.04805"
    )
    FIELDS: ClassVar = _BERT
    EXTRA_ROWS: ClassVar = 2  # first and second text
    arch: Literal["bert"] = "bert"


class Roberta(_Encoder):
    ABOUT: ClassVar = About(
        "BERT without next-sentence task.", "z = W₂·tanh(W₁·h_[CLS] + b₁) + b₂", "Liu et al. 2019, https://arxiv.org/abs/1907.11692"
    )
    FIELDS: ClassVar = _BERT
    EXTRA_ROWS: ClassVar = 4  # two token types, and its positions are counted from the padding token's index on
    arch: Literal["roberta"] = "roberta"

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "max_position_embeddings": self.positions + 2}


class Distilbert(_Encoder):
    ABOUT: ClassVar = About(
        "BERT without token types and pooler.", "z = W₂·relu(W₁·h_[CLS] + b₁) + b₂", "Sanh et al. 2019, https://arxiv.org/abs/1910.01108"
    )
    FIELDS: ClassVar = {
        "layers": "n_layers",
        "hidden": "dim",
        "heads": "n_heads",
        "intermediate": "hidden_dim",
        "positions": "max_position_embeddings",
        "dropout": "dropout attention_dropout",
    }
    arch: Literal["distilbert"] = "distilbert"


class Gpt2(_Transformer):
    ABOUT: ClassVar = About(
        "Causal decoder with learned positions.",
        "z_t = W·h_t, W being the embeddings",
        "Radford et al. 2019, https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf",
    )
    SERVES: ClassVar = GOES_ON
    FIELDS: ClassVar = {
        "layers": "n_layer",
        "hidden": "n_embd",
        "heads": "n_head",
        "intermediate": "n_inner",
        "positions": "n_positions",
        "dropout": "resid_pdrop embd_pdrop attn_pdrop",
    }
    arch: Literal["gpt2"] = "gpt2"

    def parameters(self, shape: Shape, classes: int) -> int:
        wide, inner = self.hidden, self.inner
        block = 4 * wide * (wide + 1) + (wide + 1) * inner + (inner + 1) * wide + 4 * wide
        return (shape[0] + self.positions + 2 + classes) * wide + self.layers * block


class T5(_Transformer):
    ABOUT: ClassVar = About(
        "Encoder and decoder of as many layers each, with relative positions.",
        "z_t = W·h_t / √hidden, W being the embeddings",
        "Raffel et al. 2019, https://arxiv.org/abs/1910.10683",
    )
    SERVES: ClassVar = ("seq2seq",)
    FIELDS: ClassVar = {
        "layers": "num_layers num_decoder_layers",
        "hidden": "d_model",
        "heads": "num_heads",
        "intermediate": "d_ff",
        "dropout": "dropout_rate",
    }
    ATTENTIONS: ClassVar = 3  # the encoder's, and two of the decoder's
    MATRICES: ClassVar = 4
    BUCKETS: ClassVar = 32  # of distances that are told apart
    arch: Literal["t5"] = "t5"

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "d_kv": self.hidden // self.heads, "relative_attention_num_buckets": self.BUCKETS}

    def parameters(self, shape: Shape, classes: int) -> int:
        wide, inner = self.hidden, self.inner
        forward = 2 * wide * inner + wide
        encoder, decoder = 4 * wide * wide + wide + forward, 8 * wide * wide + 2 * wide + forward
        return shape[0] * wide + self.layers * (encoder + decoder) + 2 * (self.BUCKETS * self.heads + wide)


class _Rotary(_Transformer):
    """Causal decoders with rotary positions and gated feed-forward blocks; a language model's head shares the embeddings."""

    SERVES: ClassVar = GOES_ON
    FIELDS: ClassVar = {
        "layers": "num_hidden_layers",
        "hidden": "hidden_size",
        "heads": "num_attention_heads num_key_value_heads",
        "intermediate": "intermediate_size",
        "positions": "max_position_embeddings",
        "dropout": "attention_dropout",
    }
    MATRICES: ClassVar = 3
    BIASES: ClassVar[int] = 0  # of queries, keys and values

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "tie_word_embeddings": True}

    def parameters(self, shape: Shape, classes: int) -> int:
        wide, inner = self.hidden, self.inner
        block = 4 * wide * wide + 3 * wide * inner + (2 + self.BIASES) * wide
        return (shape[0] + 1 + classes) * wide + self.layers * block


class Llama(_Rotary):
    ABOUT: ClassVar = About(
        "Causal decoder with rotary positions, gated feed-forward blocks and no biases.",
        "z_t = W·h_t, W being the embeddings",
        "Touvron et al. 2023, https://arxiv.org/abs/2302.13971",
    )
    arch: Literal["llama"] = "llama"


class Qwen2(_Rotary):
    ABOUT: ClassVar = About(
        "Llama with biases of queries, keys and values.",
        "z_t = W·h_t, W being the embeddings",
        "Yang et al. 2024, https://arxiv.org/abs/2407.10671",
    )
    BIASES: ClassVar = 3
    arch: Literal["qwen2"] = "qwen2"
