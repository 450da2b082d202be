"""Low-rank adaptation: a trained transformer that learns by small matrices beside its own."""

from typing import Annotated

from pydantic import Field

from contract.base import Sent
from contract.model import ModelConfig

LayerName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^\w+(\.\w+)*$")]


class Lora(Sent):
    """What is learned beside frozen weights (Hu et al. 2021, https://arxiv.org/abs/2106.09685): W + α/r · B·A."""

    rank: int = Field(default=8, ge=1, le=4096, description="r: how wide the two matrices A and B are where they meet.")
    alpha: float = Field(default=16.0, gt=0, le=1e6, description="α: what they say counts α/r.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Of what goes into A while training.")
    targets: Annotated[list[LayerName], Field(min_length=1, max_length=64)] | None = Field(
        default=None,
        description="Layers that are adapted, by the last parts of their names, as `query`. Not said, those that make queries and values.",
    )


def unadaptable(config: ModelConfig) -> str | None:
    """Why a network cannot learn that way; None where nothing is known against it."""
    if config.of_library or config.architecture.LAYERED:
        return None
    return f"LoRA is for transformers, and that network is of kind {config.arch}; leave this out"
