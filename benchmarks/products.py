"""`python -m benchmarks.products`: what share of the speed at which this machine multiplies matrices the training of a transformer reaches.

A student of four layers learns to write on, in blocks without padding, in the precision that `precision: auto` chooses. Counted are the
products that its sizes ask for: once forward, twice back. They are held against the fastest of square products in that precision, taken
before each round and after it. Seconds are the clock's, of whole steps, with all that is no product.
"""

import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import figures
from contract.check import parse_spec
from contract.events import Finished, RunEvent, Step
from distill.device import in_bf16
from distill.inputs import Inputs
from distill.networks import load_config
from distill.train import run

ROUNDS, LAYERS, BLOCK, BATCH, SKIPPED = 3, 4, 128, 16, 3
SQUARES, ROUNDS_OF_PRODUCTS = (512, 1024, 2048, 4096), 10
WIDTHS = {128: 12, 256: 8, 512: 4, 768: 2}  # and epochs, for about as long a time


def _spec(width: int, dropout: float) -> dict[str, Any]:
    """400 rows make some 130 blocks."""
    return {
        "kind": "train",
        "task": "causal-lm",
        "data": {"train": "docstrings", "max_length": BLOCK, "max_train_samples": 400},
        "student": {"arch": "gpt2", "layers": LAYERS, "hidden": width, "heads": width // 64, "positions": BLOCK, "dropout": dropout},
        "training": {"epochs": WIDTHS[width], "batch_size": BATCH, "clip_norm": 1.0},
    }


def fastest(dtype: torch.dtype, sizes: Iterable[int] = SQUARES, device: str = "cpu") -> float:
    """Floating-point operations a second of the fastest of square products."""
    best = 0.0
    for size in sizes:
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        for _ in range(ROUNDS_OF_PRODUCTS):
            began = time.perf_counter()
            a @ b
            if device == "cuda":
                torch.cuda.synchronize()
            best = max(best, 2 * size**3 / (time.perf_counter() - began))
    return best


def _trained(width: int, dropout: float) -> float:
    """Floating-point operations a second of the student's products, from the third step told to the last."""
    spec, told = parse_spec(_spec(width, dropout)), list[tuple[float, Step]]()

    def listen(event: RunEvent) -> None:
        if isinstance(event, Step):
            told.append((time.perf_counter(), event))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "run")
        folder.mkdir()
        outcome = run(spec, folder, listen, lambda: False, inputs=Inputs.local(spec, Path(name, "cache")))
        assert isinstance(outcome, Finished), outcome
        work = load_config(folder / "result/student").work(BLOCK).multiply_adds
    (began, first), (ended, last) = told[SKIPPED], told[-1]
    return 2 * 3 * work * BATCH * (last.step - first.step) / (ended - began)


def main() -> None:
    bf16 = {width: in_bf16(torch.device("cpu"), "auto", width) for width in WIDTHS}
    ways = [(width, dropout) for width in WIDTHS for dropout in (0.1, 0.0)]
    shares: dict[tuple[int, float], list[float]] = {way: [] for way in ways}
    speeds: dict[tuple[int, float], list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way in ways:
            dtype = torch.bfloat16 if bf16[way[0]] else torch.float32
            before, speed, after = fastest(dtype), _trained(*way), fastest(dtype)
            shares[way].append(round(speed / max(before, after), 3))
            speeds[way].append(round(max(before, after) / 1e9))
            print(f"{way} {dtype}: {shares[way][-1]:.1%} of {speeds[way][-1]:,} GFLOP/s", flush=True)
    rows = [
        {
            "width": width,
            "dropout": dropout,
            "bf16": bf16[width],
            "gflops": round(median(speeds[width, dropout])),
            "shares": shares[width, dropout],
        }
        for width, dropout in ways
    ]
    figures.write("products", "python -m benchmarks.products", threads=torch.get_num_threads(), rows=rows)


if __name__ == "__main__":
    main()
