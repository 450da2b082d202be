"""Rows of text made of others by changing their words: by chance alone, or with the words a masked language model expects."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from contract.base import About, Choice
from contract.refs import ModelRef
from contract.rules import wrong


class _Words(Choice):
    KEY: ClassVar = "rules"

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """In a recipe, which has its rules, they need not be named."""
        return handler(core)

    copies: int = Field(default=20, ge=1, le=100, description="Rows made of each training row.")


class TangWords(_Words):
    ABOUT: ClassVar = About(
        "Words hidden by chance or replaced by others of the same part of speech, and texts cut to a few words in a row.",
        "each word → mask_token with probability mask, or with probability pos a word of its part of speech, as often as it stands in the "
        "texts; then with probability ngram only n words in a row stay, n ~ U{1, …, 5}",
        "Tang et al. 2019, https://arxiv.org/abs/1903.12136",
    )
    rules: Literal["tang"] = "tang"
    mask: float = Field(default=0.1, ge=0, le=1, description="Probability of each word to be hidden.")
    pos: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Probability of each word to be replaced by one of the same part of speech: 0.1 in the paper. For English; where the "
        "job runs it needs `pip install 'potstill[pos]'`.",
    )
    ngram: float = Field(default=0.25, ge=0, le=1, description="Probability of a text to be cut to one to five words in a row.")
    mask_token: str = Field(
        default="[MASK]",
        min_length=1,
        max_length=64,
        description="What stands for a hidden word: a token of the teacher's and the student's tokenizer, `<mask>` of RoBERTa's.",
    )

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if self.mask + self.pos > 1:
            raise wrong("of each word the probabilities to be hidden (`mask`) and to be replaced are more than 1 together", at=("pos",))
        return self


class TinyBertWords(_Words):
    ABOUT: ClassVar = About(
        "Words replaced by those a masked language model expects in their place.",
        "each word that is one token of the model → with probability replace one of its `candidates` likeliest there, drawn evenly",
        "Jiao et al. 2019, https://arxiv.org/abs/1909.10351, algorithm 1",
    )
    rules: Literal["tinybert"] = "tinybert"
    replace: float = Field(default=0.4, gt=0, le=1, description="Probability of each word to be replaced.")
    candidates: int = Field(default=15, ge=1, le=100, description="How many of the likeliest words are drawn from.")
    model: ModelRef = Field(description="The masked language model: a job or model of task masked-lm, or one of the Hub with that head.")


Words = Annotated[TangWords | TinyBertWords, Field(discriminator="rules")]
