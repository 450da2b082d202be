"""The parts of a spec that say which networks: trained ones, those made of another's layers, and what they read by."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from contract.base import Sent
from contract.lora import Lora
from contract.refs import ModelRef
from contract.registry import Architecture
from contract.remote import RemoteTeacher
from contract.rules import wrong
from contract.sources import MOST_TASKS, TaskKey


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


_LORA = Field(
    default=None,
    exclude_if=lambda value: value is None,
    description="Train low-rank adapters and the head alone, by default ones with `{}`; at the end they are added to the weights.",
)


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

    lora: Lora | None = _LORA

    @field_validator("layers")
    @classmethod
    def _rising(cls, value: list[int]) -> list[int]:
        if sorted(set(value)) != value:
            raise wrong("name each layer once, in rising order")
        return value


class TrainedStudent(ModelRef):
    """A trained network to go on from."""

    lora: Lora | None = _LORA

    @property
    def network(self) -> ModelRef:
        """Which one, whatever is done with it."""
        return ModelRef(**self.model_dump(exclude={"lora"}))


class NewTokenizer(Sent):
    """A byte-level BPE tokenizer made from the training texts (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909)."""

    vocabulary: int = Field(
        default=8192, ge=300, le=1_000_000, description="Tokens it knows at most: 256 bytes, 5 special ones, and pieces of words."
    )
    lowercase: bool = Field(default=True, description="Read capitals as small letters, and letters without their accents.")


def _one_or_several(value: Any) -> str:
    return "several" if isinstance(value, Ensemble) or (isinstance(value, dict) and "ensemble" in value) else "one"


_TaskTeacher = Annotated[Annotated[ModelRef, Tag("one")] | Annotated[Ensemble, Tag("several")], Discriminator(_one_or_several)]


class TaskTeachers(Sent):
    """A teacher, or several that speak as one, for each of several tasks."""

    tasks: dict[TaskKey, _TaskTeacher] = Field(
        max_length=MOST_TASKS, description="By the names in `data.train.tasks`; each is asked of its own task's rows alone."
    )

    @field_validator("tasks")
    @classmethod
    def _in_order(cls, value: "dict[str, ModelRef | Ensemble]") -> "dict[str, ModelRef | Ensemble]":
        return dict(sorted(value.items()))


def _teacher_form(value: Any) -> str:
    names = value if isinstance(value, dict) else type(value).model_fields if isinstance(value, Sent) else ()
    return "by_task" if "tasks" in names else "remote" if "endpoint" in names else _one_or_several(value)


Teacher = Annotated[
    Annotated[ModelRef, Tag("one")]
    | Annotated[Ensemble, Tag("several")]
    | Annotated[TaskTeachers, Tag("by_task")]
    | Annotated[RemoteTeacher, Tag("remote")],
    Discriminator(_teacher_form),
]


def members(teacher: ModelRef | Ensemble | TaskTeachers | RemoteTeacher | None, field: str = "teacher") -> dict[str, ModelRef]:
    """Every network of a teacher, by the dotted field that names it; a remote one has none that anybody could fetch."""
    if isinstance(teacher, Ensemble):
        return {f"{field}.ensemble.{i}": member for i, member in enumerate(teacher.ensemble)}
    if isinstance(teacher, TaskTeachers):
        return {place: ref for name, one in teacher.tasks.items() for place, ref in members(one, f"{field}.tasks.{name}").items()}
    return {field: teacher} if isinstance(teacher, ModelRef) else {}


def _student_form(value: Any) -> str:
    if isinstance(value, dict):
        return "layers" if "init" in value else "described" if "arch" in value else "trained"
    return "trained" if isinstance(value, ModelRef) else "layers" if isinstance(value, FromLayers) else "described"


Student = Annotated[
    Annotated[Architecture, Tag("described")] | Annotated[FromLayers, Tag("layers")] | Annotated[TrainedStudent, Tag("trained")],
    Discriminator(_student_form),
]


def _tokenizer_form(value: Any) -> str:
    names = value if isinstance(value, dict) else type(value).model_fields if isinstance(value, Sent) else ()
    return "trained" if {"job", "model", "hub", "path"} & set(names) else "new"


Tokenizer = Annotated[Annotated[NewTokenizer, Tag("new")] | Annotated[ModelRef, Tag("trained")], Discriminator(_tokenizer_form)]
