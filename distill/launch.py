"""Starts the ranks of one training on this machine: copies of this process, which has torch already and has computed nothing yet.

torchrun would start each from nothing, which takes seconds of imports, and wait on the network for hosts that never come; what is used is
what torch itself starts processes with. Across machines it is torchrun: `torchrun … -m potstill run SPEC --out FOLDER`.
"""

import contextlib
import ctypes
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

import torch
from torch.multiprocessing.spawn import ProcessException, start_processes

from contract.errors import ErrorBody, ErrorCode, JobError
from contract.events import RUN_EVENT, Failed, Outcome, RunEvent
from distill.ranks import Ranks, joined

Emit = Callable[[RunEvent], None]
Work = Callable[[Ranks, Emit, Callable[[], bool]], Outcome]
PR_SET_PDEATHSIG = 1
LOOK = 0.1  # seconds
GRACE = 2.0  # seconds that ranks have to say something of their own when one is gone


def launched(world: int, devices: Sequence[str], emit: Emit, should_stop: Callable[[], bool], work: Work) -> Outcome:
    """What `work` comes to on `world` ranks: the first one's outcome, or what any of them failed by. devices: what each is to see of the
    machine's GPUs, as CUDA_VISIBLE_DEVICES has it; empty where there are none. When one dies, all are ended, and the outcome may be tried
    again."""
    fork = get_context("fork")
    events, events_out = fork.Pipe(duplex=False)
    stop = fork.Event()
    with tempfile.TemporaryDirectory(prefix="potstill-ranks-") as folder:
        context = start_processes(  # type: ignore[no-untyped-call]
            _rank, (world, devices, Path(folder), events_out, fork.Lock(), stop, work), nprocs=world, join=False, start_method="fork"
        )
        events_out.close()
        ended, complaint = False, ""
        while not ended:
            _pass_on(events, emit)
            if should_stop():
                stop.set()
            try:
                ended = context.join(0, GRACE)
            except ProcessException as error:
                ended, complaint = True, str(error).strip().splitlines()[-1]
        _pass_on(events, emit)
        said = [_outcome(Path(folder), rank) for rank in range(world)]
        codes = [process.exitcode for process in context.processes]
    return _agreed(said, codes, complaint)


def gpus(count: int) -> list[str]:
    """The first `count` of this machine's GPUs that we may see; none where there are none. JobError where there are too few."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = seen.split(",") if seen else [str(i) for i in range(torch.cuda.device_count())]
    if 0 < len(there) < count:
        raise JobError(
            f"resources.devices: {count} are asked for, and here are {len(there)} GPUs.",
            code=ErrorCode.DOES_NOT_FIT,
            param="resources.devices",
            hint=f"Set it to {len(there)} or less, or start it on several machines with torchrun.",
        )
    return there[:count]


def share_cores(ranks: Ranks) -> None:
    """As many threads for each rank as there are cores for it."""
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // ranks.world))


def _agreed(said: Sequence[Outcome | None], codes: Sequence[int | None], complaint: str) -> Outcome:
    """Of several errors the one that would come again; else a rank's death, of which the others' complaints only tell."""
    failed = [each for each in said if isinstance(each, Failed)]
    for each in failed:
        if not each.retryable:
            return each
    for rank, code in enumerate(codes):
        if code is not None and code < 0 and code != -signal.SIGTERM:
            return _lost(f"rank {rank} of {len(codes)} was killed by signal {-code}")
    if failed:
        return failed[0]
    return said[0] or _lost(complaint or f"the ranks ended without a word, with exit codes {', '.join(map(str, codes))}")


def _lost(message: str) -> Failed:
    return Failed(error=ErrorBody(code=ErrorCode.INTERNAL_ERROR, message=message), retryable=True)


def _pass_on(events: Connection, emit: Emit) -> None:
    with contextlib.suppress(EOFError):
        while events.poll(LOOK):
            emit(RUN_EVENT.validate_json(events.recv_bytes()))


def _rank(
    rank: int,
    world: int,
    devices: Sequence[str],
    folder: Path,
    events: Connection,
    lock: AbstractContextManager[bool],
    stop: Event,
    work: Work,
) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of a terminal; whoever started us decides what it means
    if devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[rank]
    for library in ("GLOO", "NCCL"):  # they talk among themselves, and nobody else may listen
        os.environ[f"{library}_SOCKET_IFNAME"] = "lo"

    def emit(event: RunEvent) -> None:
        with lock:
            events.send_bytes(event.model_dump_json().encode())

    with joined(rank, world, f"file://{folder}/meeting") as ranks:
        outcome = work(ranks, emit, stop.is_set)
        half = folder / f".{rank}"
        half.write_text(outcome.model_dump_json())
        half.rename(folder / f"{rank}.json")
        if isinstance(outcome, Failed):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)  # the others are told at once, and not after a farewell that waits for them


def _outcome(folder: Path, rank: int) -> Outcome | None:
    try:
        found = RUN_EVENT.validate_json((folder / f"{rank}.json").read_bytes())
    except OSError:
        return None
    return found if isinstance(found, Outcome) else None
