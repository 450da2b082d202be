"""A run on a disk that grows by one page from trial to trial, so that every write of it is once the one that does not fit.

Started by test_engine_small_disk.py in a mount namespace of its own: `small_disk.py FOLDER TEACHER size|inodes|honest`, FOLDER being
where the small disk is mounted. Prints one line of JSON for each trial.
"""

import json
import shutil
import subprocess
import sys
from collections import namedtuple
from itertools import count
from pathlib import Path
from typing import Any

import torch
from engine_runs import Engine, Ran, small

from contract.errors import JobError
from contract.events import RunEvent
from distill import disk, evaluate
from distill.errors import CheckpointInvalidError
from distill.manifest import verify

PAGE = 4096
Usage = namedtuple("Usage", "total used free")


def trials(folder: Path, teacher: Path, how: str) -> None:
    spec = small(teacher, training={"batch_size": 90, "checkpoint_every_seconds": 0, "early_stopping": {"patience": 9}})
    undisturbed = said(Engine(folder.with_name("roomy")).run(spec))
    start, step = {"size": (1, 1), "inodes": (2, 1), "honest": (disk.MARGIN // PAGE, 3)}[how]
    if how != "honest":  # others take the room between the look at it and the write
        shutil.disk_usage = lambda path: Usage(10**12, 0, 10**12)  # type: ignore[assignment]
    for room in count(start, step):
        for path in folder.iterdir():
            shutil.rmtree(path)
        mounted(folder, f"nr_inodes={room}" if how == "inodes" else f"size={room * PAGE}")
        trial = one(folder, spec, undisturbed)
        print(json.dumps({"room": room, **trial}), flush=True)
        if trial["code"] is None:
            return


def one(folder: Path, spec: Any, undisturbed: Any) -> dict[str, Any]:
    """Runs until the disk is full, looks at what is there, makes room and goes on."""
    engine, events = Engine(folder), list[RunEvent]()
    code = hint = None
    try:
        ran = engine.run(spec, emit=events.append)
    except JobError as error:
        code, hint = error.code, error.hint
    except OSError:  # the test's own: not even the attempt's folder fits
        return {"code": "none", "saved": [], "there": [], "torn": [], "strange": [], "result": False, "same": True, "warned": 0}
    attempt = folder / "attempt-1"
    saved = [event.step for event in events if event.type == "checkpoint"]
    there = sorted(int(path.name) for path in attempt.glob("checkpoints/*") if path.name.isdecimal())
    known = {"checkpoints", "result"}
    strange = [str(p) for p in [*attempt.iterdir(), *attempt.glob("checkpoints/*")] if p.name not in known and not p.name.isdecimal()]
    strange += [str(path) for path in (folder / "cache").rglob(".*")]
    torn = [step for step in there if not whole(attempt / "checkpoints" / str(step))]
    result = (attempt / "result").exists()
    if code is not None:
        mounted(folder, "nr_inodes=100000,size=64m")
        ran = engine.run(spec, resume=[attempt / "checkpoints" / str(step) for step in reversed(there)])
    else:
        ran = Ran(ran.outcome, events, attempt)
    warned = sum("in memory" in event.message for event in events if event.type == "log")
    found = {"code": code, "hint": hint, "saved": saved, "there": there, "torn": torn, "strange": strange}
    return {**found, "result": result, "same": said(ran) == undisturbed, "warned": warned}


def said(ran: Ran) -> Any:
    return ran.weights, ran.report["arms"]["student"]["metrics"], ran.report["agreement"], ran.report["validation"]


def whole(folder: Path) -> bool:
    try:
        verify(folder)
    except CheckpointInvalidError:
        return False
    return True


def mounted(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    timed = evaluate._timed
    evaluate._timed = lambda *given, seconds: timed(*given, seconds=0.0)  # type: ignore[assignment]
    evaluate.bootstrap = lambda values: (0.0, 0.0)  # type: ignore[assignment]
    trials(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
