"""Optimisers and learning-rate schedules. A schedule is a pure function of the step, so there is no scheduler state to lose."""

from collections.abc import Iterable, Mapping, Sequence
from math import cos, pi
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from contract.spec import Optimizer, Schedule
from distill.sharding import like, whole


def build(parameters: Iterable[Parameter], spec: Optimizer) -> torch.optim.Optimizer:
    """Fused implementations: one call for all parameters instead of one for each, which is most of a small student's step."""
    if spec.name == "sgd":
        momentum = 0.9 if spec.momentum is None else spec.momentum
        return torch.optim.SGD(parameters, lr=spec.lr, momentum=momentum, weight_decay=spec.weight_decay, fused=True)
    kind = torch.optim.AdamW if spec.name == "adamw" else torch.optim.Adam
    return kind(parameters, lr=spec.lr, weight_decay=spec.weight_decay, fused=True)


def clip(parameters: Sequence[Parameter], longest: float | None) -> Tensor:
    """The norm of all gradients together; where it is longer than `longest`, they are shortened to that."""
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    if longest is not None and (norm.is_cuda or not whole(norm) + 1e-6 <= longest):  # NaN, too; a GPU would have to be waited for
        torch.nn.utils.clip_grads_with_norm_(parameters, longest, norm)
    return whole(norm)


def learning_rate(spec: Optimizer, schedule: Schedule, step: int, total_steps: int) -> float:
    """The rate of step 0 … total_steps − 1: a linear warm-up from lr/warmup to lr, then constant, or falling to zero."""
    warmup = round(schedule.warmup * total_steps) if schedule.warmup < 1 else int(schedule.warmup)
    if step < warmup:
        return spec.lr * (step + 1) / warmup
    if schedule.name == "constant":
        return spec.lr
    done = (step - warmup) / max(1, total_steps - warmup)
    return spec.lr * (1 - done) if schedule.name == "linear" else spec.lr * (1 + cos(pi * done)) / 2


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What the optimiser remembers of each parameter, as `0.exp_avg`; all else in it comes from the spec and the step."""
    found = {f"{index}.{slot}": value for index, slots in optimizer.state_dict()["state"].items() for slot, value in slots.items()}
    return {name: value for name, value in found.items() if value is not None}


def moments_expected(optimizer: torch.optim.Optimizer, found: Iterable[str]) -> dict[str, Tensor]:
    """Tensors of the names, shapes and types that `moments` has once a step was made. found: the names there are: of a parameter that no
    term reaches, as a head where only layers are compared, the optimiser remembers nothing, else all."""
    reached = {name.partition(".")[0] for name in found}
    slots = ["step", "exp_avg", "exp_avg_sq"]
    if isinstance(optimizer, torch.optim.SGD):
        slots = ["momentum_buffer"] if optimizer.defaults["momentum"] else []
    every = enumerate(parameter for group in optimizer.param_groups for parameter in group["params"])
    parameters = [(index, parameter) for index, parameter in every if str(index) in reached]
    scalar = torch.tensor(0.0)
    return {f"{index}.{slot}": scalar if slot == "step" else parameter for index, parameter in parameters for slot in slots}


def set_moments(optimizer: torch.optim.Optimizer, found: Mapping[str, Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for name, value in found.items():
        index, slot = name.split(".", 1)
        state.setdefault(int(index), {})[slot] = value if slot == "step" else like(value, parameters[int(index)])
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
