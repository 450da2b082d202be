"""`python -m benchmarks.devices`: steps a second of one training in a process of one thread, and in two such, which hold the same student
or divide it; beside them one process of two threads. In turn, round by round."""

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import figures
from contract.check import parse_spec
from contract.events import Finished, Outcome, RunEvent, Step
from contract.spec import JobSpec
from distill.inputs import Inputs
from distill.launch import launched
from distill.ranks import Ranks

ROUNDS = 3
SPEC: dict[str, Any] = {
    "kind": "train",
    "task": "text-classification",
    "data": {"train": "docstrings", "max_length": 64, "max_train_samples": 1024},
    "student": {"arch": "bert", "layers": 4, "hidden": 256, "heads": 4, "positions": 64},
    "training": {"epochs": 1, "batch_size": 128, "precision": "fp32"},
}
WAYS: dict[str, tuple[int, int, bool]] = {  # processes, threads of each, whether they divide the student
    "1 × 1": (1, 1, False),
    "1 × 2": (1, 2, False),
    "2 × 1": (2, 1, False),
    "2 × 1, divided": (2, 1, True),
}


def _work(
    spec: JobSpec, folder: Path, threads: int, ranks: Ranks, emit: Callable[[RunEvent], None], should_stop: Callable[[], bool]
) -> Outcome:
    import torch

    from distill.train import run

    torch.set_num_threads(threads)
    return run(spec, folder / "run", emit, should_stop, inputs=Inputs.local(spec, folder / "cache"), ranks=ranks)


def _rate(name: str) -> tuple[float, float]:
    """Steps a second from the second step to the last, and the loss of the last."""
    world, threads, sharded = WAYS[name]
    spec = parse_spec(SPEC | {"resources": {"devices": world, "sharded": sharded}})
    folder, events = Path(tempfile.mkdtemp()), list[RunEvent]()
    (folder / "run").mkdir()
    try:
        outcome = launched(world, (), events.append, lambda: False, partial(_work, spec, folder, threads))
        assert isinstance(outcome, Finished), outcome
    finally:
        shutil.rmtree(folder)
    points = [event for event in events if isinstance(event, Step) and event.steps_per_second is not None]
    return (len(points)) / sum(1 / point.steps_per_second for point in points if point.steps_per_second), points[-1].metrics["train/loss"]


def main() -> None:
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    losses: dict[str, float] = {}
    for number in range(ROUNDS):
        for name in list(WAYS)[:: 1 if number % 2 else -1]:
            rate, losses[name] = _rate(name)
            rates[name].append(rate)
            print(f"{name:>15} {rate:6.2f} steps/s, last loss {losses[name]:.4f}", flush=True)
    rows = [
        {
            "way": name,
            "rate": round(median(rates[name]), 2),
            "against_one": [round(mine / one, 2) for mine, one in zip(rates[name], rates["1 × 1"], strict=True)],
            "loss": round(losses[name], 4),
        }
        for name in WAYS
    ]
    figures.write("devices", "python -m benchmarks.devices", spec=SPEC, rows=rows)


if __name__ == "__main__":
    main()
