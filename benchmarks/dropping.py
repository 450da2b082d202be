"""`python -m benchmarks.dropping`: dropout, and attention with it, forward and back, by `distill.networks.dropping` and by torch; two
threads, interleaved."""

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distill.networks.dropping import attended, dropped

ROUNDS = 15
Work = Callable[[], Tensor]


def _tell(what: str, theirs: Work, ours: Work) -> None:
    """Milliseconds of each, in turn; the first two rounds warm up."""
    found: dict[Work, list[float]] = {theirs: [], ours: []}
    for _ in range(ROUNDS):
        for work, times in found.items():
            start = time.perf_counter()
            out = work()
            out.backward(torch.ones_like(out))  # type: ignore[no-untyped-call]
            times.append(1000 * (time.perf_counter() - start))
    torchs, mine = (median(times[2:]) for times in found.values())
    print(f"{what:<48} {torchs:>8.2f} {mine:>8.2f}  {torchs / mine:.2f}")


def main() -> None:
    print(f"{'':<48} {'torch':>8} {'ours, ms':>8}  times as fast")
    module = nn.Module()
    for dtype in (torch.float32, torch.bfloat16):
        for shape in ((32, 25, 128), (16, 128, 256), (32, 128, 768)):
            x = torch.randn(shape, dtype=dtype, requires_grad=True)
            _tell(f"dropout, {list(shape)}, {dtype}", partial(F.dropout, x, 0.1), partial(dropped, x, 0.1))
        for shape in ((32, 2, 25, 64), (16, 4, 128, 64), (8, 4, 512, 64)):
            mask = torch.ones(shape[0], 1, shape[2], shape[2], dtype=torch.bool)
            given = *(torch.randn(shape, dtype=dtype, requires_grad=True) for _ in range(3)), mask
            for share in (0.1, 0.0):
                theirs = partial(F.scaled_dot_product_attention, *given, dropout_p=share)
                ours = partial(attended, module, *given, dropout=share)
                _tell(f"attention, {list(shape)}, dropout {share}, {dtype}", theirs, lambda work=ours: work()[0])


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
