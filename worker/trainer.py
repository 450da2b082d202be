"""The trainer: one process for one attempt. It knows no database or broker, and of HTTP only whom it hands to the engine to ask a remote
teacher: orders come in as JSON, events go out on a pipe, and a second pipe says `beat` (the lease holds), `stop` (leave at the next step)
or, by closing, that nobody is there.

It must never outlive its worker: it dies with the fork server (PDEATHSIG), when the control pipe closes, or without a beat.
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from contract.errors import ErrorBody, ErrorCode, PotstillError
from contract.events import Failed, LogLine, Outcome, RunEvent
from distill import train
from distill.errors import out_of_memory
from distill.inputs import DatasetFile, Inputs
from distill.launch import launched
from distill.ranks import ALONE, Ranks
from distill.train import Emit
from models.blobs import Blobs
from outward.endpoint import speaker
from worker.order import STOP, Order

PR_SET_PDEATHSIG = 1
OOM_SCORE = Path("/proc/self/oom_score_adj")


def help_along(order_json: str) -> None:
    """Makes parts of what a run elsewhere asks its teacher for. What goes wrong is printed, and is that run's to report."""
    order = _begun(order_json, oom_score=900)
    train.help_along(order.spec, order.workdir, _inputs(order))


def main(order_json: str, events: Connection, control: Connection) -> None:
    order = _begun(order_json, oom_score=800)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
    threading.Thread(target=_watch, args=(control, stop, order.silence_seconds), daemon=True).start()

    def emit(event: RunEvent) -> None:
        events.send_bytes(event.model_dump_json().encode())

    try:
        emit(_together(order, emit, stop))
    except BrokenPipeError:
        os._exit(1)


def _together(order: Order, emit: Emit, stop: threading.Event) -> Outcome:
    """In this process, or in one for each device of the job, which this one then looks after."""
    count = order.spec.resources.devices
    if count == 1:
        return _run(order, ALONE, emit, stop.is_set)
    devices = order.device.split(",") if order.device is not None else []

    def work(ranks: Ranks, emit: Emit, should_stop: Callable[[], bool]) -> Outcome:
        torch.set_num_threads(order.threads)
        return _run(order, ranks, emit, should_stop)

    return launched(count, devices, emit, stop.is_set, work)


def _run(order: Order, ranks: Ranks, emit: Emit, should_stop: Callable[[], bool]) -> Outcome:
    inputs = _inputs(order)
    for note in order.notes if ranks.rank == 0 else ():
        emit(LogLine(level="warning", message=note))
    try:
        return train.run(order.spec, order.workdir, emit, should_stop, inputs=inputs, resume_from=order.resume_from, ranks=ranks)
    except PotstillError as error:
        return Failed(error=error.body())
    except Exception as error:  # noqa: BLE001 - a bug or a broken machine: say so, count it as a crash
        if out_of_memory(error):
            told = "; ".join([str(error)[:300], *getattr(error, "__notes__", ())])
            hint = "Use a smaller training.micro_batch_size, shorter texts (data.max_length) or a smaller student."
            return Failed(error=ErrorBody(code=ErrorCode.OUT_OF_MEMORY, message=f"Memory ran out: {told}", hint=hint))
        if ranks.world == 1:
            emit(LogLine(level="error", message=traceback.format_exc(limit=-8)))
        else:  # of one that died the others complain too; the log of the attempt has it all
            traceback.print_exc()
        body = ErrorBody(code=ErrorCode.INTERNAL_ERROR, message=f"{type(error).__name__}: {error}")
        return Failed(error=body, retryable=True)


def _begun(order_json: str, oom_score: int) -> Order:
    """oom_score: where memory runs out the highest is killed first, and neither worker nor database."""
    die_with_the_worker()
    order = Order.model_validate_json(order_json, strict=False)
    redirect_output(order.workdir / "trainer.log")
    with contextlib.suppress(OSError):
        OOM_SCORE.write_text(str(oom_score))
    if order.device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = order.device
    torch.set_num_threads(order.threads)
    return order


def _inputs(order: Order) -> Inputs:
    datasets = {ref: DatasetFile(path, name) for ref, (path, name) in order.datasets.items()}
    shelf = Blobs(order.shelf) if order.shelf else None
    return Inputs(order.cache, datasets, order.models, shelf, speaker(order.access), attempt=order.attempt)


def die_with_the_worker() -> None:
    os.setsid()
    alive = forkserver._forkserver._forkserver_alive_fd  # type: ignore[attr-defined]
    if alive is not None:  # each child inherits it, and would keep the fork server up after the worker is gone
        os.close(alive)
        forkserver._forkserver._forkserver_alive_fd = None  # type: ignore[attr-defined]
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked to be told
        os._exit(1)


def _watch(control: Connection, stop: threading.Event, silence_seconds: float) -> None:
    while True:
        try:
            if not control.poll(silence_seconds):
                break
            if control.recv_bytes() == STOP:
                stop.set()
        except (EOFError, OSError):
            break
    os.killpg(0, signal.SIGKILL)


def redirect_output(path: Path) -> None:
    """What libraries print lands in a file of the attempt: it is what explains a crash."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.stdout.flush()
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)
