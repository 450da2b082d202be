"""The process that trainers are forked from: torch imported, nothing computed. Started when the worker boots."""

import multiprocessing
import os
import sys
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess

PRELOAD = "worker.preload"
BOOT_SECONDS = 120


def prepare_environment() -> None:
    """Before the fork server starts: idle OpenMP threads must sleep instead of spinning (90 ms a step became 1 ms with two
    trainers on two cores), and no folder the user happens to stand in may shadow our modules."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ["PYTHONSAFEPATH"] = "1"


def start() -> ForkServerContext:
    """Starts the server and waits for proof that it has everything imported: errors of a preload are swallowed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOAD])
    ours, theirs = context.Pipe(duplex=False)
    process: ForkServerProcess = context.Process(target=_prove, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    if not ours.poll(BOOT_SECONDS):
        raise RuntimeError("the fork server did not start")
    missing = ours.recv_bytes().decode()
    process.join()
    if missing:
        raise RuntimeError(f"the fork server could not import {missing}: {_why(missing)}")
    return context


def _prove(answer: Connection) -> None:
    answer.send_bytes(b"" if PRELOAD in sys.modules else PRELOAD.encode())


def _why(module: str) -> str:
    try:
        __import__(module)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason to show
        return repr(error)
    return "it imports here, but not there"
