"""`python -m benchmarks.checkpoints`: what a checkpoint costs, as a share of the default interval between two."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from unittest.mock import patch

import torch
from torch import nn

from contract.spec import Optimizer, Training
from distill import checkpoint, disk, optim
from distill.state import Identity, Progress, State

WIDTHS = {0.1: 158, 10: 1_581, 100: 5_000}  # MB of weights: width of one square layer
TIMES = 7


def checkpoint_overhead() -> None:
    """The loop's own pause: all weights looked at, written with Adam's moments (three times their size), hashed, on the disk. The
    interval runs from the end of one checkpoint, so the share is the pause's part of both together."""
    interval = Training().checkpoint_every_seconds
    for megabytes, width in WIDTHS.items():
        state = _trained(width)
        with tempfile.TemporaryDirectory(prefix="potstill-bench-") as folder:
            found = _seconds(lambda folder=folder, state=state: _save(Path(folder), state))
            with patch.object(disk, "fsync", lambda path: None):
                unsynced = _seconds(lambda folder=folder, state=state: _save(Path(folder), state))
            size = sum(path.stat().st_size for path in (Path(folder) / "1").iterdir()) / 1e6
        middle = median(found)
        share = f"{100 * middle / (interval + middle):.3f} % of {interval:g} s (max {100 * max(found) / (interval + max(found)):.3f} %)"
        spread = f"median {1000 * middle:.0f} ms (min {1000 * min(found):.0f}, max {1000 * max(found):.0f})"
        synced = f"without fsync {1000 * median(unsynced):.0f} ms (min {1000 * min(unsynced):.0f}, max {1000 * max(unsynced):.0f})"
        print(f"checkpoint, {megabytes:g} MB of weights, {size:.1f} MB on disk, {TIMES} times: {spread} = {share}; {synced}")


def _trained(width: int) -> State:
    """A network after one step of Adam, as the loop has it."""
    network = nn.Sequential(nn.Linear(width, width))
    optimizer = optim.build(network.parameters(), Optimizer(name="adam", lr=1e-3))
    network(torch.randn(8, width)).square().mean().backward()
    optimizer.step()
    return State(network, torch.nn.Identity(), optimizer, Progress(step=1, saved={"1": None}), total_steps=1, keeps_best=False)


def _save(folder: Path, state: State) -> None:
    assert all(torch.isfinite(value).all() for value in state.network.state_dict().values())
    checkpoint.save(folder / "1", state, Identity("benchmark", {}))


def _seconds(work: Callable[[], None]) -> list[float]:
    """Durations after one that does not count."""
    found = []
    for _ in range(TIMES + 1):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return found[1:]


if __name__ == "__main__":
    checkpoint_overhead()
