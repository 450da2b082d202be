"""Optimisers and learning-rate schedules. A schedule is a pure function of the step, so there is no scheduler state to lose."""

from collections.abc import Iterable
from math import cos, pi

import torch
from torch.nn import Parameter

from contract.spec import Optimizer, Schedule


def build(parameters: Iterable[Parameter], spec: Optimizer) -> torch.optim.Optimizer:
    """Fused implementations: one call for all parameters instead of one for each, which is most of a small student's step."""
    if spec.name == "sgd":
        momentum = 0.9 if spec.momentum is None else spec.momentum
        return torch.optim.SGD(parameters, lr=spec.lr, momentum=momentum, weight_decay=spec.weight_decay, fused=True)
    kind = torch.optim.AdamW if spec.name == "adamw" else torch.optim.Adam
    return kind(parameters, lr=spec.lr, weight_decay=spec.weight_decay, fused=True)


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
