"""Where and in what precision a run computes, and what must be equal for a resume to be exact."""

import contextlib
import platform
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

CPUINFO = Path("/proc/cpuinfo")
PROCESSOR = ("model name", "cpu family", "model", "CPU implementer", "CPU part")  # x86 has the first three, Arm the others
LIBRARIES = {"blas": r"BLAS_INFO=(\w+)", "mkl": r"Math Kernel Library Version ([\w.]+)", "onednn": r"MKL-DNN v([\w.]+)"}


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
    """Two runs with equal fingerprints compute the same bits. Threads count: they change the order of sums. So does a processor:
    libraries choose their kernels by its model and its vector instructions."""
    common = {
        "torch": torch.__version__,
        "device": device.type,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "world_size": 1,
    }
    if device.type == "cuda":
        cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        return {**common, "device_name": torch.cuda.get_device_name(device), "cudnn": cudnn}
    built = torch.__config__.show()
    libraries = {name: found[1] if (found := re.search(pattern, built)) else None for name, pattern in LIBRARIES.items()}
    return {**common, "device_name": _processor(), "vectors": torch.backends.cpu.get_cpu_capability(), **libraries}


def _processor() -> str:
    """The first processor's model, with the numbers by which libraries know it where virtual machines all have one name."""
    try:
        lines = [line.partition(":") for line in CPUINFO.read_text().split("\n\n")[0].splitlines()]
    except OSError:
        lines = []
    said = {name.strip(): value.strip() for name, _, value in lines}
    return " ".join([platform.machine(), *(said[name] for name in PROCESSOR if said.get(name))])


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
