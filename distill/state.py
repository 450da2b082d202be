"""What changes while training: tensors in network, optimiser and best weights, all else in `Progress`."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn

from contract.training import Keep
from distill.sharding import here, like

Count = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
StepName = Annotated[str, Field(pattern=r"^[0-9]{1,18}$")]


@dataclass
class Progress:
    """Where the loop stands, apart from tensors."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    step: Count = 0
    best: Finite | None = None
    best_step: Count = 0
    best_validation: dict[str, Finite] = field(default_factory=dict)
    epochs_without_gain: Count = 0
    stopped_early: bool = False
    first_loss: Finite | None = None
    sums: dict[str, Finite] = field(default_factory=dict)  # metrics since the last point
    summed_steps: Count = 0
    validation: dict[str, Finite] = field(default_factory=dict)  # the latest validation's metrics
    felt: dict[str, Finite] = field(default_factory=dict)  # of each term the largest share of the gradient so far
    saved: dict[StepName, Finite | None] = field(default_factory=dict)  # kept checkpoints: step → validation metric


@dataclass
class State:
    """All that changes while training, and the two figures that a checkpoint of it must fit."""

    network: nn.Module
    objective: nn.Module
    optimizer: torch.optim.Optimizer
    progress: Progress
    total_steps: int
    keeps_best: bool  # whether the best epoch's weights are kept beside the last ones
    best_weights: dict[str, Tensor] | None = None


@dataclass
class Identity:
    """What must be equal: `job` for any resume, `fingerprint` for an exact one."""

    job: str
    fingerprint: dict[str, Any]


def retain(saved: dict[str, float | None], keep: Keep, higher_is_better: bool) -> list[int]:
    """Takes steps out of `saved` until only the newest `keep.last` and the best `keep.best` are left; returns those dropped."""
    steps = sorted(map(int, saved))
    keepers = set(steps[-keep.last :])
    judged = [step for step in steps if saved[str(step)] is not None]
    judged.sort(key=lambda step: (saved[str(step)] or 0.0) * (-1 if higher_is_better else 1))
    keepers |= set(judged[: keep.best])
    dropped = [step for step in steps if step not in keepers]
    for step in dropped:
        del saved[str(step)]
    return dropped


def weights(network: nn.Module) -> dict[str, Tensor]:
    """The network's tensors that may change, each under one name, also where two layers share it. Parameters that are frozen are what they
    were when it was opened."""
    found: dict[str, Tensor] = {}
    seen: set[tuple[int, int]] = set()
    frozen = {name for name, parameter in network.named_parameters(remove_duplicate=False) if not parameter.requires_grad}
    for name, tensor in network.state_dict().items():
        if name in frozen:
            continue
        mine = here(tensor)
        place = (mine.data_ptr(), mine.numel())
        if mine.numel() == 0 or place not in seen:
            found[name] = tensor
        seen.add(place)
    return found


def put_weights(network: nn.Module, found: dict[str, Tensor]) -> None:
    """What `weights` gave, put back. KeyError for names the network has not."""
    there = network.state_dict()
    with torch.no_grad():
        for name, tensor in found.items():
            there[name].copy_(like(tensor, there[name]))
