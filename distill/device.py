"""Where and in what precision a run computes, and what must be equal for a resume to be exact."""

import contextlib
import os
import platform
import re
import signal
import time
from collections.abc import Callable, Iterator
from functools import cache
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from contract.errors import ErrorCode, InvalidSpec
from contract.forecast import WORTH

SHARED = 1_000_000  # multiply-adds: two threads do fewer in no less time than one, and wait for each other with both cores
CPUINFO = Path("/proc/cpuinfo")
STATUS = Path("/proc/self/status")
GROUP = Path("/sys/fs/cgroup/memory.max")  # a container sees its own there
RESIDENT = Path("/proc/self/statm")  # in pages: all of it, then what is resident
PROCESSOR = ("model name", "cpu family", "model", "CPU implementer", "CPU part")  # x86 has the first three, Arm the others
BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # what processors call it that multiply in bf16
LIBRARIES = {"blas": r"BLAS_INFO=(\w+)", "mkl": r"Math Kernel Library Version ([\w.]+)", "onednn": r"MKL-DNN v([\w.]+)"}


def pick_device() -> torch.device:
    if torch.cuda.is_available():
        torch.backends.cudnn.benchmark = False  # picks kernels by timing: two runs would differ
        torch.backends.cudnn.deterministic = True
        return torch.device("cuda")
    return torch.device("cpu")


def in_bf16(device: torch.device, asked: str, width: int, recurrent: bool = False) -> bool:
    """Whether products are computed in bf16. width: of a transformer's hidden states, 0 for other networks; recurrent: whether there is an
    LSTM. InvalidSpec where it is asked for and cannot be had."""
    if asked == "fp32":
        return False
    if device.type == "cuda":
        there = torch.cuda.is_bf16_supported(including_emulation=False)
        return asked == "bf16" or there
    if asked == "auto":
        return width >= WORTH and bool(BF16 & set(_said().get("flags", _said().get("Features", "")).split())) and survives_bf16()
    if not survives_bf16():
        raise InvalidSpec(
            "training.precision: this processor announces bf16 and stops a process that uses it, as some virtual machines do.",
            code=ErrorCode.DOES_NOT_FIT,
            param="training.precision",
            hint="Set it to auto or fp32.",
        )
    if recurrent and not survives_bf16(_try_lstm):
        raise InvalidSpec(
            "training.precision: on this processor torch has no LSTM in bf16.",
            code=ErrorCode.DOES_NOT_FIT,
            param="training.precision",
            hint="Set it to auto or fp32.",
        )
    return True


def memory(device: torch.device) -> int | None:
    """Bytes in use now: on a GPU what torch has taken of it, else what of this process is resident. None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.memory_reserved(device)
    try:
        return int(RESIDENT.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def capacity(device: torch.device) -> int | None:
    """The most bytes a process can have here: those of the GPU, else of the machine or of the control group it is kept in."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    limits = []
    with contextlib.suppress(OSError, ValueError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
        limits.append(int(GROUP.read_text()))
    return min(limits, default=None)


def peak() -> int | None:
    """The most bytes this process held so far; None where the system does not say."""
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)


def autocast(device: torch.device, bf16: bool) -> contextlib.AbstractContextManager[Any]:
    """bf16: whether products inside are computed in it, whatever those around are."""
    if not bf16 and not torch.is_autocast_enabled(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16)


@cache
def survives_bf16(work: Callable[[], None] | None = None, seconds: float = 30) -> bool:
    """Whether a product in bf16 on the CPU comes back, or other work, tried by a child: it may end the process at an instruction that is
    not there."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            (work or _try_bf16)()
            os._exit(0)
        os._exit(1)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _try_bf16() -> None:
    signal.signal(signal.SIGILL, signal.SIG_DFL)  # whoever listens for it should not hear of this one
    torch.set_num_threads(1)  # the threads of the parent are not here
    x = torch.ones(128, 128, dtype=torch.bfloat16, requires_grad=True)
    (x @ x).sum().backward()  # type: ignore[no-untyped-call]


def _try_lstm() -> None:
    _try_bf16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.nn.LSTM(8, 8)(torch.ones(2, 1, 8))[0].sum().backward()


def fingerprint(device: torch.device, bf16: bool = False) -> dict[str, Any]:
    """Two runs with equal fingerprints compute the same bits. Threads count: they change the order of sums. So does a processor:
    libraries choose their kernels by its model and its vector instructions."""
    common = {
        "torch": torch.__version__,
        "device": device.type,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "world_size": 1,
        **({"precision": "bf16"} if bf16 else {}),
    }
    if device.type == "cuda":
        cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        return {**common, "device_name": torch.cuda.get_device_name(device), "cudnn": cudnn}
    built = torch.__config__.show()
    libraries = {name: found[1] if (found := re.search(pattern, built)) else None for name, pattern in LIBRARIES.items()}
    return {**common, "device_name": processor(), "vectors": torch.backends.cpu.get_cpu_capability(), **libraries}


def versions(device: torch.device) -> dict[str, Any]:
    """What a result was made with, for who wants it again."""
    return {"potstill": metadata.version("potstill"), "python": platform.python_version(), **fingerprint(device)}


def _said() -> dict[str, str]:
    """What the system says of the first processor."""
    try:
        lines = [line.partition(":") for line in CPUINFO.read_text().split("\n\n")[0].splitlines()]
    except OSError:
        lines = []
    return {name.strip(): value.strip() for name, _, value in lines}


def processor() -> str:
    """Its model, with the numbers by which libraries know it where virtual machines all have one name."""
    said = _said()
    return " ".join([platform.machine(), *(said[name] for name in PROCESSOR if said.get(name))])


def derived_seed(purpose: str, *parts: int) -> int:
    """A 63-bit seed for one purpose, so that no stream of random numbers depends on how much another one drew."""
    text = "/".join([purpose, *map(str, parts)])
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1


def paying_threads(device: torch.device, multiply_adds: int) -> int:
    """As many of the threads given as make a step of so many multiply-adds shorter. multiply_adds: of the forward pass."""
    return 1 if device.type == "cpu" and multiply_adds < SHARED else torch.get_num_threads()


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
