"""The process that trainers are forked from: torch imported, nothing computed. Started when the worker boots."""

import json
import multiprocessing
import os
import sys
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import NamedTuple

PRELOAD = "worker.preload"
BOOT_SECONDS = 120


class ForkServer(NamedTuple):
    """What starts trainers, and what was found where they run: there torch is loaded, in the worker it never is."""

    context: ForkServerContext
    devices: int  # CUDA ones
    memory: int | None  # bytes that a trainer can have
    processor: str
    torch: str


def prepare_environment() -> None:
    """Before the fork server starts: idle OpenMP threads must sleep instead of spinning (90 ms a step became 1 ms with two
    trainers on two cores), OpenBLAS must start no threads (refused one for want of memory, it waits for its own lock for ever), and
    no folder the user happens to stand in may shadow our modules."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.environ["PYTHONSAFEPATH"] = "1"


def start() -> ForkServer:
    """Starts the server and waits for proof that it has everything imported: errors of a preload are swallowed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOAD])
    ours, theirs = context.Pipe(duplex=False)
    process: ForkServerProcess = context.Process(target=_prove, args=(PRELOAD, theirs), daemon=True)
    process.start()
    theirs.close()
    if not ours.poll(BOOT_SECONDS):
        raise RuntimeError("the fork server did not start")
    found = json.loads(ours.recv_bytes())
    process.join()
    if found is None:
        raise RuntimeError(f"the fork server could not import {PRELOAD}: {_why(PRELOAD)}")
    return ForkServer(context, **found)


def _prove(preload: str, answer: Connection) -> None:
    """In a child of the fork server, where nothing is imported that the preload has not."""
    found = None
    if preload in sys.modules:
        import torch

        from distill.device import capacity, pick_device, processor

        found = {
            "devices": torch.cuda.device_count(),
            "memory": capacity(pick_device()),
            "processor": processor(),
            "torch": torch.__version__,
        }
    answer.send_bytes(json.dumps(found).encode())


def _why(module: str) -> str:
    try:
        __import__(module)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason to show
        return repr(error)
    return "it imports here, but not there"
