"""The parts of a spec that say how a student is trained, and how often."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from contract.base import Sent
from contract.registry.methods import Recipe, RecipeName
from contract.rules import wrong


class Optimizer(Sent):
    name: Literal["adam", "adamw", "sgd"] = Field(default="adam", description="Adam (2014), AdamW (2017) or SGD.")
    lr: float = Field(default=1e-3, gt=0, le=1e6, description="Learning rate after warm-up.")
    weight_decay: float = Field(
        default=0.0, ge=0, le=1e3, description="Weight decay; decoupled in `adamw`, part of the gradient in `adam` and `sgd`."
    )
    momentum: float | None = Field(default=None, ge=0, lt=1, description="SGD only; 0.9 when not said.")

    @model_validator(mode="after")
    def _momentum_is_sgds(self) -> "Optimizer":
        if self.momentum is not None and self.name != "sgd":
            raise wrong(f"`momentum` belongs to sgd; {self.name} has its own", at=("momentum",))
        return self


class Schedule(Sent):
    name: Literal["constant", "linear", "cosine"] = Field(default="constant", description="linear and cosine fall to zero at the end.")
    warmup: float = Field(default=0, ge=0, le=1e9, description="Below 1: share of all steps; from 1: number of steps.")


class Keep(Sent):
    last: int = Field(default=2, ge=1, le=1000, description="Newest checkpoints kept.")
    best: int = Field(default=1, ge=0, le=1000, description="Best checkpoints by validation metric kept besides.")


class EarlyStopping(Sent):
    patience: int = Field(default=3, ge=1, le=100_000, description="Epochs without improvement before stopping.")
    min_delta: float = Field(default=0.0, ge=0, le=1e6, description="What counts as an improvement.")
    metric: Literal["accuracy", "loss"] | None = Field(
        default=None, description="accuracy, or loss where rows have no classes, when not said."
    )


class Training(Sent):
    epochs: int = Field(default=10, ge=1, le=1_000_000, description="Passes over the training rows.")
    batch_size: int = Field(default=64, ge=1, le=1_048_576, description="Rows per optimisation step; the last of an epoch may be smaller.")
    micro_batch_size: Annotated[int, Field(ge=1, le=1_048_576)] | None = Field(
        default=None, description="Rows worked on at a time, where a whole batch needs too much memory; the step stays the same."
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Compute a transformer's layers again for their gradients rather than keep what they held: less memory, more time.",
    )
    optimizer: Optimizer = Field(default=Optimizer(), description="Optimizer and learning rate.")
    schedule: Schedule = Field(default=Schedule(), description="Course of the learning rate.")
    seed: int = Field(
        default=42, ge=0, lt=2**31, description="Decides initial weights, row order and dropout, each from a stream of its own."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="auto: bf16 autocast on CUDA, and for transformers of width 128 and more on CPUs that multiply in it; else fp32.",
    )
    compile: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Compile the network to fused kernels first, which takes up to a minute. auto: transformers on CUDA that are trained "
        "for 1,000 steps or more. A compiled run that is broken off goes on, but not bit for bit as if nothing had happened.",
    )
    clip_norm: Annotated[float, Field(gt=0, le=1e6)] | None = Field(default=None, description="Largest norm of the whole gradient.")
    checkpoint_every_seconds: float = Field(default=300, ge=0, le=86_400, description="0: after every step.")
    keep: Keep = Field(default=Keep(), description="Checkpoints that stay.")
    early_stopping: EarlyStopping | None = Field(default=None, description="Needs data.validation; the best epoch's weights are kept.")


class Evaluation(Sent):
    control: bool = Field(default=False, description="Train the same student alone beside it: same weights, order and budget, no teacher.")
    seeds: int = Field(default=1, ge=1, le=100, description="Repeats with training.seed … + N − 1.")
    compare: Annotated[list[Recipe], Field(max_length=20)] = Field(
        default=[],
        description="Other recipes for the same student, each an arm beside it: same teacher, weights, order and budget. Names, or recipes "
        "with parameters.",
    )

    @field_validator("compare", mode="before", json_schema_input_type=Annotated[list[RecipeName | Recipe], Field(max_length=20)])
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return [{"name": one} if isinstance(one, str) else one for one in value] if isinstance(value, list) else value

    @property
    def arms(self) -> dict[str, Recipe]:
        """The recipes of `compare` by the names of their arms: their own, numbered where one is there twice."""
        found: dict[str, Recipe] = {}
        for recipe in self.compare:
            number = sum(other.name == recipe.name for other in found.values()) + 1
            found[recipe.name if number == 1 else f"{recipe.name}_{number}"] = recipe
        return found
