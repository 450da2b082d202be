"""Networks whose weights are divided among the ranks (FSDP2: Zhao et al. 2023, https://arxiv.org/abs/2304.11277), for what does not fit on
a device; each layer is put together where it is computed. A student's gradients and moments are divided with them."""

from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from contract.errors import ErrorCode, InvalidSpec
from contract.units import size
from distill.networks.reading import LibraryNetwork


def divided(both: nn.Module, network: nn.Module) -> Any:
    """`both`, the network and what stands beside it, with all parameters divided where they stand. Raises InvalidSpec where the network is
    no transformer, or one that does not say its layers."""
    return fully_shard(both, mesh=_layer_by_layer(network, "student", "sharded"), reshard_after_forward=False)


def divided_teacher(network: nn.Module) -> str:
    """Divides it where it stands, and says what that spares. Raises InvalidSpec as `divided` does."""
    of_whole = sum(tensor.nbytes for tensor in network.parameters())
    mesh = _layer_by_layer(network, "teacher", "teacher_sharded")
    of_part = sum(here(tensor).nbytes for tensor in network.parameters())
    return f"the teacher is divided among {mesh.size()} devices: {size(of_part)} here instead of {size(of_whole)}"


def _layer_by_layer(network: nn.Module, whose: str, field: str) -> DeviceMesh:
    layers = set(getattr(network.inner, "_no_split_modules", None) or ()) if isinstance(network, LibraryNetwork) else set()
    if not layers:
        raise InvalidSpec(
            f"resources.{field}: only transformers can be divided among devices, layer by layer.",
            code=ErrorCode.DOES_NOT_FIT,
            param=f"resources.{field}",
            hint=f"Leave it out: every device then holds the whole {whose}, and takes its share of the rows all the same.",
        )
    assert isinstance(network, LibraryNetwork)
    mesh = init_device_mesh(next(network.parameters()).device.type, (dist.get_world_size(),))
    for module in list(network.inner.modules()):
        if type(module).__name__ in layers:
            fully_shard(module, mesh=mesh)
    fully_shard(network.inner, mesh=mesh, reshard_after_forward=False)  # the output layer is used once more after its forward
    return mesh


def here(tensor: Tensor) -> Tensor:
    """This rank's part."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of it; every rank must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, divided: Tensor) -> Tensor:
    """A whole tensor, divided as another is. Nobody is asked."""
    if not isinstance(divided, DTensor) or isinstance(tensor, DTensor):
        return tensor
    return distribute_tensor(tensor.to(divided.device), divided.device_mesh, divided.placements, src_data_rank=None)
