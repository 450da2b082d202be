"""`python -m benchmarks.dropping`: dropout, and attention with it, forward and back, by `distill.networks.dropping` and by torch; two
threads, interleaved."""

import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distill.networks.dropping import attended, dropped

ROUNDS = 15
Work = Callable[[], Tensor]


def _milliseconds(ways: dict[str, Work]) -> dict[str, float]:
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, work in ways.items():
            start = time.perf_counter()
            out = work()
            out.backward(torch.ones_like(out))  # type: ignore[no-untyped-call]
            found[name].append(1000 * (time.perf_counter() - start))
    return {name: median(times[2:]) for name, times in found.items()}


def _tell(what: str, ways: dict[str, Work]) -> None:
    found = _milliseconds(ways)
    print(f"{what:<48} {found['torch']:>8.2f} {found['ours']:>8.2f}  {found['torch'] / found['ours']:.2f}")


if __name__ == "__main__":
    torch.set_num_threads(2)
    module = nn.Module()
    print(f"{'':<48} {'torch':>8} {'ours, ms':>8}  times as fast")
    for dtype in (torch.float32, torch.bfloat16):
        for shape in ((32, 25, 128), (16, 128, 256), (32, 128, 768)):
            x = torch.randn(shape, dtype=dtype, requires_grad=True)
            _tell(f"dropout, {list(shape)}, {dtype}", {"torch": lambda x=x: F.dropout(x, 0.1), "ours": lambda x=x: dropped(x, 0.1)})  # type: ignore[misc]
        for shape in ((32, 2, 25, 64), (16, 4, 128, 64), (8, 4, 512, 64)):
            for share in (0.1, 0.0):
                q, k, v = (torch.randn(shape, dtype=dtype, requires_grad=True) for _ in range(3))
                mask = torch.ones(shape[0], 1, shape[2], shape[2], dtype=torch.bool)
                ways: dict[str, Work] = {
                    "torch": lambda a=(q, k, v, mask), p=share: F.scaled_dot_product_attention(*a, dropout_p=p),  # type: ignore[misc]
                    "ours": lambda a=(q, k, v, mask), p=share: attended(module, *a, dropout=p)[0],  # type: ignore[misc]
                }
                _tell(f"attention, {list(shape)}, dropout {share}, {dtype}", ways)
