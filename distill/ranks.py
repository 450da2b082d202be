"""One training in several processes, its ranks, a device each: all hold the same weights, each takes its share of every step's rows.

A term is a mean over the whole step, so each rank is told how many rows and tokens the others have, and gradients are added up. A step
is then the one that a single process would make, whatever the number of ranks, but for the order of sums and what is drawn by chance.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from distill import sharding

T = TypeVar("T")
Tensors = dict[str, Tensor]
SILENCE = timedelta(minutes=30)  # the others may be so long about what each does by itself


class Ranks(NamedTuple):
    """This process among those of its training; alone, it is rank 0 of 1. Every method is called by all of them, in the same order."""

    rank: int = 0
    world: int = 1

    def parts(self, index: Tensor, size: int) -> list[Tensor]:
        """This rank's rows of a step's [N], so many at a time; rows of like length are neighbours, so each rank gets some of all lengths.
        As many parts for every rank, because they do some of each together; the last of them may be empty."""
        mine = index[self.rank :: self.world]
        found = list(torch.split(mine, size))
        of_first = -(-len(index) // self.world)  # no rank has more rows
        return found + [mine[:0]] * (-(-of_first // size) - len(found))

    def added(self, numbers: Sequence[int]) -> list[int]:
        """Each number, added up over the ranks. No device is waited for."""
        if self.world == 1:
            return list(numbers)
        found = torch.tensor(numbers, dtype=torch.int64)
        dist.all_reduce(found)
        return found.tolist()

    def summed(self, values: Sequence[Tensor]) -> list[Tensor]:
        """The same of scalars on the device."""
        if self.world == 1:
            return list(values)
        found = torch.stack([value.float() for value in values])
        dist.all_reduce(found)
        return list(found.unbind())

    def told(self, said: Any) -> Any:
        """What rank 0 says, as JSON has it; what others say is not heard."""
        if self.world == 1:
            return said
        words = torch.frombuffer(bytearray(json.dumps(said).encode()), dtype=torch.uint8)
        length = torch.tensor(len(words))
        dist.broadcast(length, 0)
        heard = words if self.rank == 0 else torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(heard, 0)
        return json.loads(bytes(heard.tolist()))

    def given(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Rank 0's tensors, on the CPU; what others have is not asked for."""
        shapes = self.told([[name, list(tensor.shape), str(tensor.dtype).removeprefix("torch.")] for name, tensor in tensors.items()])
        found: Tensors = {}
        for name, shape, dtype in shapes:
            here = tensors[name].detach().cpu().contiguous() if self.rank == 0 else torch.empty(shape, dtype=getattr(torch, dtype))
            dist.broadcast(here, 0)
            found[name] = here
        return found

    def gathered(self, tensor: Tensor) -> list[Tensor]:
        """Every rank's tensor, of one shape, on the CPU."""
        if self.world == 1:
            return [tensor]
        found = [torch.empty_like(tensor) for _ in range(self.world)]
        dist.all_gather(found, tensor)
        return found

    def together(self, network: nn.Module, objective: nn.Module, sharded: bool = False) -> "Together":
        """What a step is computed through, so that all ranks get the same gradients of both."""
        return Together(self, network, objective, sharded)


class _Around(nn.Module):
    """Everything that a step makes gradients for, as the one module that DistributedDataParallel knows."""

    def __init__(self, modules: nn.ModuleList) -> None:
        super().__init__()
        self.inner = modules

    def forward(self, work: Callable[[], T]) -> T:
        return work()


class Together:
    """torch's DistributedDataParallel, which adds gradients up while they are still being computed, or its fully_shard; of one process,
    nothing. Both exchange the parameters' values first, or replace them: what has been made of them before is of no use."""

    def __init__(self, ranks: Ranks, network: nn.Module, objective: nn.Module, sharded: bool) -> None:
        self.world, self.sharded = ranks.world, sharded
        if ranks.world == 1:
            return
        both = _Around(nn.ModuleList([network, objective]))
        if sharded:
            self.whole = sharding.divided(both, network)
            return
        normed = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
        # Which parameters a step reaches depends on its terms and rows: a head that only layers teach, a judge.
        self.whole = DistributedDataParallel(both, forward_sync_buffers=normed, find_unused_parameters=True)

    def part(self, work: Callable[[], tuple[Tensor, list[Tensor]]], *, last: bool, between: Callable[[list[Tensor]], None]) -> list[Tensor]:
        """Loss and terms of a part of a step, its gradients added to those that are there; with this rank's last part, to the others'.
        between: what looks at the terms while they have their graphs."""
        if self.world == 1:
            total, parts = work()
            between(parts)
            total.backward()  # type: ignore[no-untyped-call]
        else:
            if self.sharded:
                self.whole.set_requires_gradient_sync(last)
            with contextlib.nullcontext() if last or self.sharded else self.whole.no_sync():
                total, parts = self.whole(work)
                between(parts)
                (total * self.world).backward()  # it takes the mean, and these are shares of one step
        return [each.detach() for each in (total, *parts)]


ALONE = Ranks()


def deserted(error: BaseException) -> bool:
    """Whether it says that another rank is gone. Gloo has no error of its own."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


@contextlib.contextmanager
def joined(rank: int, world: int, meeting: str) -> Iterator[Ranks]:
    """This process as one of `world`, until the end of the block. meeting: where they find each other, as torch's `init_method` has it."""
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=world, timeout=SILENCE)
    try:
        yield Ranks(rank, world)
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def as_started() -> Iterator[Ranks]:
    """As torchrun started this process; alone where it was not torchrun."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield ALONE
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    with joined(int(os.environ["RANK"]), world, "env://") as ranks:
        yield ranks
