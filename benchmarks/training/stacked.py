"""`python -m benchmarks.training.stacked`: what it would bring to train the seeds and arms of a small student as one network of bigger
tensors. 40 students 784-4-10, each with its own order of 800 rows: as one, by batched products, and one after another, both by the barest
loop there is; in seconds of all cores. Nothing in the engine works so.
"""

import time
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

STUDENTS, ROWS, BATCH, WIDTH, HIDDEN, CLASSES, STEPS, ROUNDS = 40, 800, 64, 784, 4, 10, 6, 5
SHAPES = ((WIDTH, HIDDEN), (1, HIDDEN), (HIDDEN, CLASSES), (1, CLASSES))


def main() -> None:
    torch.set_num_threads(1)
    x, y = torch.rand(ROWS, WIDTH), torch.randint(0, CLASSES, (ROWS,))
    soft = torch.randn(ROWS, CLASSES).softmax(1)
    ratios, spent = [], []
    for _ in range(ROUNDS):
        one = _seconds(x, y, soft, 1) * STUDENTS
        together = _seconds(x, y, soft, STUDENTS)
        ratios.append(one / together)
        spent.append(together)
    step = 1e3 * median(spent) / STEPS
    spread = f"{min(ratios):.1f}–{max(ratios):.1f}"
    print(f"{STUDENTS} students as one: {median(ratios):.1f}× ({spread}), {step:.2f} ms a step of all, {ROUNDS} rounds")


def _seconds(x: Tensor, y: Tensor, soft: Tensor, students: int) -> float:
    weights = [torch.nn.Parameter(torch.randn(students, *shape) * 0.05) for shape in SHAPES]
    optimizer = torch.optim.Adam(weights, lr=5e-3, fused=True)
    order = torch.stack([torch.randperm(ROWS) for _ in range(students)])
    began = 0.0
    for step in range(-1, STEPS):  # the first warms everything up
        if step == 0:
            began = time.process_time()
        index = order[:, max(step, 0) * BATCH : (max(step, 0) + 1) * BATCH]
        w, b, v, c = weights
        z = torch.baddbmm(c, torch.baddbmm(b, x[index], w).relu(), v)
        log_p = z.log_softmax(2)
        hard = F.nll_loss(log_p.flatten(0, 1), y[index].flatten(), reduction="sum")
        (0.2 * hard - 0.8 * (soft[index] * log_p).sum()).div(BATCH).backward()
        optimizer.step()
        optimizer.zero_grad()
    return time.process_time() - began


if __name__ == "__main__":
    main()
