"""Where and in what precision a run computes, and what must be equal for a resume to be exact."""

import contextlib
import platform
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import torch


def pick_device() -> torch.device:
    if torch.cuda.is_available():
        torch.backends.cudnn.benchmark = False  # picks kernels by timing: two runs would differ
        torch.backends.cudnn.deterministic = True
        return torch.device("cuda")
    return torch.device("cpu")


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """bf16 where asked for, or where `auto` finds a GPU; otherwise plain float32."""
    if precision == "bf16" or (precision == "auto" and device.type == "cuda"):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def fingerprint(device: torch.device) -> dict[str, Any]:
    """Two runs with equal fingerprints compute the same bits. Threads count: they change the order of sums."""
    return {
        "torch": torch.__version__,
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "world_size": 1,
    }


def derived_seed(purpose: str, *parts: int) -> int:
    """A 63-bit seed for one purpose, so that no stream of random numbers depends on how much another one drew."""
    text = "/".join([purpose, *map(str, parts)])
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
