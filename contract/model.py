"""`config.json` of a small network: what rebuilds it and what it was made for. Written by the engine, checked at upload."""

from math import prod
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from contract.fit import DataShape
from contract.registry import Architecture

_ARCHITECTURE: TypeAdapter[Architecture] = TypeAdapter(Architecture)


class Scaling(BaseModel):
    """Raw features become (x − subtract) / divide before the first layer; one number, or one for each feature."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    subtract: float | list[float] = 0.0
    divide: float | list[float] = 1.0


class ModelConfig(BaseModel):
    """The architecture's own fields stand beside these in the file: {"arch": "mlp", "hidden": [4], "task": …, "shape": …}."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    arch: str
    task: str
    shape: list[int] = Field(min_length=1, max_length=3)
    classes: list[str] = Field(min_length=2)
    input: Scaling = Scaling()

    @classmethod
    def of(cls, architecture: Architecture, task: str, made_for: DataShape, scaling: Scaling) -> "ModelConfig":
        fields = architecture.model_dump(mode="json")
        return cls(**fields, task=task, shape=list(made_for.shape), classes=made_for.classes, input=scaling)

    @property
    def architecture(self) -> Architecture:
        """Raises pydantic's ValidationError when the fields describe no registered architecture."""
        return _ARCHITECTURE.validate_python(self.model_extra_with_arch())

    def model_extra_with_arch(self) -> dict[str, Any]:
        return {"arch": self.arch, **(self.model_extra or {})}

    def flaw(self) -> str | None:
        """Why these fields, each of them valid, describe no network that can run; None when they do. Raises as `architecture` does."""
        shape = tuple(self.shape)
        if min(shape) < 1:
            return f"shape: {self.shape} holds no values"
        reason = self.architecture.refuses(shape)
        if reason:
            return f"shape: {reason}"
        for field, value in (("subtract", self.input.subtract), ("divide", self.input.divide)):
            if isinstance(value, list) and len(value) != prod(shape):
                return f"input.{field}: {len(value)} numbers for {prod(shape)} features"
        if 0 in (self.input.divide if isinstance(self.input.divide, list) else [self.input.divide]):
            return "input.divide: it holds a zero"
        return None

    @property
    def made_for(self) -> DataShape:
        return DataShape(shape=tuple(self.shape), classes=self.classes)

    @property
    def parameters(self) -> int:
        return self.architecture.parameters(tuple(self.shape), len(self.classes))
