"""Several tasks, one network: its head is as many heads beside each other, one slice of the logits for each task.

Every row is of one task, and of what is said of it only that task's slice counts. So logits outside it are as good as impossible, of
student and teacher alike, from where the network has spoken: softmax then gives exactly 0 there, no gradient reaches the other heads, and
losses need to know of no tasks.
"""

import torch
from torch import Tensor

from contract.model import ModelConfig
from distill.data.batch import Given, TokenBatch

OUTSIDE = -1e9  # finite, so that nothing times its log is nothing; at any temperature exp of it is exactly 0 in float32


def slices(config: ModelConfig) -> list[slice]:
    """Of each task, which logits are its own."""
    found, first = [], 0
    for classes in config.by_task.values():
        found.append(slice(first, first + len(classes)))
        first += len(classes)
    return found


def owners(config: ModelConfig, device: torch.device) -> Tensor:
    """[C]: the number of the task that each logit belongs to."""
    counts = torch.tensor([len(classes) for classes in config.by_task.values()], device=device)
    return torch.arange(len(counts), device=device).repeat_interleave(counts, output_size=len(config.classes))


def within(logits: Tensor, config: ModelConfig, given: Given) -> Tensor:
    """Logits [B, C] with those of other tasks than the row's as good as impossible."""
    if not isinstance(given, TokenBatch) or given.tasks is None:
        return logits
    return logits.masked_fill(owners(config, logits.device) != given.tasks[:, None], OUTSIDE)


def drawn(tasks: Tensor, power: float, generator: torch.Generator) -> Tensor:
    """An epoch's rows: as many as there are, each of a task drawn in proportion to its rows to this power (Clark et al. 2019, section 3.2),
    and of a task none twice before all were seen. tasks [N]: of each row."""
    sizes = tasks.bincount()
    of = torch.multinomial(sizes.double() ** power, len(tasks), replacement=True, generator=generator)
    order = torch.empty(len(tasks), dtype=torch.int64)
    for task, size in enumerate(sizes.tolist()):
        places = (of == task).nonzero()[:, 0]
        rounds = [torch.randperm(size, generator=generator) for _ in range(-(-len(places) // size))]
        rows = (tasks == task).nonzero()[:, 0]
        order[places] = rows[torch.cat([torch.empty(0, dtype=torch.int64), *rounds])[: len(places)]]
    return order
