"""The parts of a spec that say which networks: trained ones, those made of another's layers, and what they read by."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from contract.base import Sent
from contract.registry import Architecture
from contract.rules import wrong
from contract.sources import HubName, LocalPath, Revision

JobRef = Annotated[str, Field(pattern=r"^(job_[0-9a-f]{32}|@[^\s@]{1,100})$", description="A job's id, or @name inside a batch.")]
ModelId = Annotated[str, Field(pattern=r"^mdl_[0-9a-f]{32}$")]


class ModelRef(Sent):
    """A trained network: the product of a job, a registered model, one of the Hugging Face Hub or (engine alone) a folder."""

    job: JobRef | None = None
    model: ModelId | None = None
    hub: HubName | None = Field(
        default=None, description="A repository of the Hugging Face Hub, org/name: its safetensors, config and tokenizer."
    )
    path: LocalPath | None = None
    revision: Revision | None = Field(
        default=None, description="Of `hub`: a commit, tag or branch; a commit never changes. `main` when not said."
    )

    @model_validator(mode="after")
    def _one_place(self) -> "ModelRef":
        if sum(value is not None for value in (self.job, self.model, self.hub, self.path)) != 1:
            raise wrong("give exactly one of `job` (job_…), `model` (mdl_…), `hub` (org/name) and `path` (engine alone)")
        if self.revision is not None and self.hub is None:
            raise wrong("only `hub` has revisions; leave this out", at=("revision",))
        return self


class Ensemble(Sent):
    """Several teachers that speak as one."""

    ensemble: list[ModelRef] = Field(min_length=2, max_length=16, description="Trained networks that know the same classes.")
    combine: Literal["probabilities", "logits"] = Field(
        default="probabilities",
        description="What is averaged: softened probabilities, or logits before they are softened. They differ: the mean of logits lets "
        "one sure member decide.",
    )
    weights: list[Annotated[float, Field(gt=0, le=1e6)]] | Literal["entropy", "learned"] | None = Field(
        default=None,
        description="Of each member; equal when not said. `entropy`: by how sure a member is of the row at hand. `learned`: those under "
        "which the training labels are likeliest.",
    )

    @model_validator(mode="after")
    def _weights_of_members(self) -> "Ensemble":
        if isinstance(self.weights, list) and len(self.weights) != len(self.ensemble):
            raise wrong(f"{len(self.ensemble)} members and {len(self.weights)} weights; give each its own", at=("weights",))
        if self.weights == "learned" and self.combine != "probabilities":
            raise wrong("they are those of a mixture of probabilities; use combine: probabilities", at=("weights",))
        return self


class FromLayers(Sent):
    """A student made of another network's layers: embeddings and head as they are, and of the blocks those listed."""

    init: Literal["teacher"] | ModelRef = Field(description="`teacher`, or a trained network.")
    layers: list[Annotated[int, Field(ge=0, le=1000)]] = Field(
        min_length=1, max_length=1000, description="The blocks taken, in their order, the first being 0; [0, 2, 4] of six is half."
    )

    arch: Literal["distilbert"] | None = Field(
        default=None,
        description="`distilbert` makes one of a `bert`'s layers, without token types and pooler; else it is of the same kind.",
    )

    @field_validator("layers")
    @classmethod
    def _rising(cls, value: list[int]) -> list[int]:
        if sorted(set(value)) != value:
            raise wrong("name each layer once, in rising order")
        return value


class NewTokenizer(Sent):
    """A byte-level BPE tokenizer made from the training texts (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909)."""

    vocabulary: int = Field(
        default=8192, ge=300, le=1_000_000, description="Tokens it knows at most: 256 bytes, 5 special ones, and pieces of words."
    )
    lowercase: bool = Field(default=True, description="Read capitals as small letters, and letters without their accents.")


def _teacher_form(value: Any) -> str:
    return "several" if isinstance(value, Ensemble) or (isinstance(value, dict) and "ensemble" in value) else "one"


Teacher = Annotated[Annotated[ModelRef, Tag("one")] | Annotated[Ensemble, Tag("several")], Discriminator(_teacher_form)]


def _student_form(value: Any) -> str:
    if isinstance(value, dict):
        return "layers" if "init" in value else "described" if "arch" in value else "trained"
    return "trained" if isinstance(value, ModelRef) else "layers" if isinstance(value, FromLayers) else "described"


Student = Annotated[
    Annotated[Architecture, Tag("described")] | Annotated[FromLayers, Tag("layers")] | Annotated[ModelRef, Tag("trained")],
    Discriminator(_student_form),
]


def _tokenizer_form(value: Any) -> str:
    names = value if isinstance(value, dict) else type(value).model_fields if isinstance(value, Sent) else ()
    return "trained" if {"job", "model", "hub", "path"} & set(names) else "new"


Tokenizer = Annotated[Annotated[NewTokenizer, Tag("new")] | Annotated[ModelRef, Tag("trained")], Discriminator(_tokenizer_form)]
