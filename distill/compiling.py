"""Networks compiled to fused kernels (torch.compile): where asked for, and where it pays."""

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from contract.errors import ErrorCode, InvalidSpec
from distill.networks import LibraryNetwork

WORTH = 1000  # steps: to compile takes about as long as some hundred of them


def compiles(device: torch.device, asked: str, network: nn.Module, steps: int) -> bool:
    """Whether the network is compiled. auto: a transformer on CUDA that is trained for long, where there is what that takes; on CPUs
    compiled networks were slower (`python -m benchmarks.compiling`). InvalidSpec where it is asked for and cannot be done."""
    if asked == "auto":
        compiler = os.environ.get("CC") or next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
        there = compiler is not None and importlib.util.find_spec("triton") is not None
        return device.type == "cuda" and there and isinstance(network, LibraryNetwork) and steps >= WORTH
    return asked == "on"


def compiled(network: nn.Module, device: torch.device, folder: Path) -> None:
    """In place: names of weights stay what they are. folder: for what the compiler writes, of this run alone, since it would load from
    there what another process has put in.

    Of a transformer the body alone is compiled. Its head, into which language models look, is not worth it.
    """
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    from torch._functorch import config as graphs
    from torch._inductor import config

    graphs.donated_buffer = False  # the graph is kept when shares of gradients are measured
    config.compile_threads = 1  # otherwise it keeps processes of its own, which would outlive a trainer that is killed
    try:
        torch.compile(_tried)(torch.ones(8, device=device))
    except (RuntimeError, OSError, ImportError) as error:
        raise InvalidSpec(
            f"training.compile: this machine cannot compile networks: {_first_line(error)}.",
            code=ErrorCode.DOES_NOT_FIT,
            param="training.compile",
            hint="Set it to auto or off. To compile takes a C++ compiler (g++) on CPUs, and Triton and a C compiler on CUDA.",
        ) from None
    _body(network).compile(dynamic=True)


def as_written(network: nn.Module) -> None:
    """Takes `compiled` back: what is measured of a student is how fast it is for whoever opens it."""
    _body(network)._compiled_call_impl = None


def _body(network: nn.Module) -> Any:
    return network.inner.base_model if isinstance(network, LibraryNetwork) else network


def _tried(x: torch.Tensor) -> torch.Tensor:
    return (x * 2 + 1).exp()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".")
