"""What this machine can do. Two tiny runs of the engine tell what a run and a step cost whatever the network, and what each kernel adds; a
large product tells the speed of multiplying, a copy that of memory."""

import os
import time
from collections.abc import Callable
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import quantiles

import torch

from contract.forecast import WORTH
from contract.machine import Machine
from contract.spec import JobSpec
from distill.device import capacity, in_bf16, peak, pick_device, processor
from distill.inputs import Inputs
from distill.train import run
from worker import trainer

LAYERS = (1, 8)  # hidden ones of the two networks
EPOCHS = 4
SIDE = 1024  # of the matrices multiplied
COPIED = 32 * 2**20  # bytes
SPENT = 0.2  # seconds for each figure
NICE = 5
WAITED = Path("/proc/thread-self/schedstat")


def main(answer: Connection, folder: Path, threads: int, device: str | None) -> None:
    trainer.die_with_the_worker()
    trainer.redirect_output(folder / "log")
    os.nice(NICE)
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    torch.set_num_threads(threads)
    answer.send_bytes(measured(folder).model_dump_json().encode())


def clock() -> float:
    """Seconds that do not pass while this thread waits for a core that others use."""
    while True:
        before, now, after = _waited(), time.perf_counter(), _waited()
        if before == after:
            return now - before


def _waited() -> float:
    try:
        return int(WAITED.read_text().split()[1]) / 1e9
    except OSError:  # a kernel that does not count it
        return 0.0


def measured(folder: Path) -> Machine:
    """Of the threads there are now."""
    device = pick_device()
    fixed, narrow = _run(folder, LAYERS[0])
    memory = peak() or 0
    _, deep = _run(folder, LAYERS[1])
    kernel = max(0.0, (deep - narrow) / (2 * (LAYERS[1] - LAYERS[0])))  # a linear layer and its ReLU
    cuda = device.type == "cuda"
    return Machine(
        processor=processor(),
        device=torch.cuda.get_device_name(device) if cuda else "cpu",
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        run_seconds=fixed,
        step_seconds=max(0.0, narrow - kernel * (2 * LAYERS[0] + 1)),
        kernel_seconds=kernel,
        flops=_flops(device, torch.float32),
        bf16_flops=_flops(device, torch.bfloat16) if in_bf16(device, "auto", WORTH) else None,
        bytes_per_second=_copying(device),
        memory_bytes=memory,
        capacity_bytes=capacity(device),
    )


def _run(folder: Path, layers: int) -> tuple[float, float]:
    """Seconds of a run without its steps, and of one of these."""
    spec = JobSpec.model_validate(
        {
            "kind": "train",
            "task": "image-classification",
            "data": {"train": "digits", "test": "digits"},
            "student": {"arch": "mlp", "hidden": [64] * layers},
            "training": {"epochs": EPOCHS},
        }
    )
    times: list[float] = []

    def stepped() -> bool:
        times.append(clock())
        return False

    start = clock()
    run(spec, folder / str(layers), lambda _: None, stepped, inputs=Inputs(folder / "cache"))
    step = quantiles([after - before for before, after in pairwise(times)], n=4)[0]  # the quickest: others may be in the way
    return clock() - start - step * len(times), step


def _flops(device: torch.device, dtype: torch.dtype) -> float:
    a = torch.rand(SIDE, SIDE, device=device).to(dtype)
    return 2 * SIDE**3 / _shortest(lambda: a @ a, device)


def _copying(device: torch.device) -> float:
    source = torch.zeros(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * COPIED / _shortest(lambda: target.copy_(source), device)  # read and written


def _shortest(work: Callable[[], object], device: torch.device) -> float:
    """Seconds it takes once, when nothing comes in between."""
    found: list[float] = []
    end = clock() + SPENT
    while len(found) < 3 or clock() < end:
        start = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        found.append(clock() - start)
    return min(found)
