"""Dying, or waiting, at named points of a worker and its trainers. Production code has no hooks for this.

`START` starts a worker whose functions are wrapped before it runs; its fork server imports `chaos_preload`, which wraps the
trainer's. Every passage of a point asks the plan (`chaos_plan`) whether it is meant.
"""

import functools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaos_plan import Armed, Plan

START = "import chaos_points; chaos_points.wrap_worker(); from worker.serve import main; main()"
__all__ = ["START", "Plan", "passed"]

_passages: dict[Armed, int] = {}


def passed(point: str) -> None:
    if "CHAOS_PLAN" not in os.environ:
        return
    plan = Plan(Path(os.environ["CHAOS_PLAN"]))
    armed = plan.armed()
    if armed is None or armed.point != point:
        return
    _passages[armed] = _passages.get(armed, 0) + 1
    if _passages[armed] >= armed.nth and plan.take(armed):
        _ACTIONS[armed.action](plan)


def _kill(_plan: Plan) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hold(plan: Plan) -> None:
    while plan.armed() is not None:
        time.sleep(0.005)


def _starve(_plan: Plan) -> None:
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize(), resource.RLIM_INFINITY))


_ACTIONS = {"kill": _kill, "hold": _hold, "starve": _starve}


def _wrapped(owner: Any, name: str, before: Callable[..., None] | None = None, after: Callable[..., None] | None = None) -> None:
    """Puts calls around `owner.name`: `before` gets the arguments, `after` the result and the arguments."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def around(*arguments: Any, **named: Any) -> Any:
        if before is not None:
            before(*arguments)
        result = original(*arguments, **named)
        if after is not None:
            after(result, *arguments)
        return result

    setattr(owner, name, around)


def wrap_worker() -> None:
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    from models import claims
    from worker import forkserver, sink

    def mark(what: str) -> Callable[..., None]:
        def done(result: Any, session: Session, *_: Any) -> None:
            if what != "claim" or result is not None:  # None: nothing was due
                session.info["chaos"] = what

        return done

    _wrapped(claims, "claim", after=mark("claim"))
    _wrapped(claims, "add_checkpoint", after=mark("checkpoint"))
    _wrapped(claims, "finish", before=lambda *_: passed("at-finish"), after=mark("finish"))
    _wrapped(sink.Sink, "_commit", before=lambda _sink, _events, files: passed("at-checkpoint") if files else None)
    for name, when in (("before_commit", "before"), ("after_commit", "after")):

        def listener(session: Session, when: str = when) -> None:
            if "chaos" in session.info:
                passed(f"{when}-{session.info['chaos']}-commit")

        event.listen(Session, name, listener)
    forkserver.PRELOAD = "chaos_preload"


def wrap_trainer() -> None:
    """In the fork server: wraps only, computes nothing."""
    import torch

    import distill.checkpoint
    import distill.finish
    import distill.loop

    def renamed(when: str) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            if Path(arguments[-1]).parent.name == "checkpoints":
                passed(f"{when}-rename")

        return call

    def half_written(_result: Any, _tensors: Any, path: Path) -> None:
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        passed("checkpoint-file")
        path.write_bytes(whole)

    _wrapped(distill.loop.Loop, "_step", before=lambda *_: passed("step"))
    _wrapped(torch.nn.Sequential, "forward", before=lambda *_: passed("forward"))
    _wrapped(distill.checkpoint, "save_file", after=half_written)
    _wrapped(Path, "rename", before=renamed("before"), after=renamed("after"))
    _wrapped(distill.finish, "trained", after=lambda *_: passed("before-finished"))
