"""`python -m benchmarks.loss_memory`: memory of a language model's losses over a vocabulary of 128k, worked off in pieces and whole.

Each figure is the growth of a process's largest resident size from before the loss to after its gradient, in a process of its own.
"""

import resource
import subprocess
import sys
from statistics import median

import torch

VOCABULARY, TOKENS, WIDTH = 128_000, 1024, 256
TIMES = 3


def loss_memory() -> None:
    """Forward and backward of kl + clm for one text of 1,024 tokens; the student's head is 256 × 128k, the teacher's the same."""
    found = {how: [_in_a_process(how) for _ in range(TIMES)] for how in ("pieces", "whole")}
    said = {how: f"median {median(sizes):,.0f} MB (min {min(sizes):,.0f}, max {max(sizes):,.0f})" for how, sizes in found.items()}
    ratio = median(found["whole"]) / median(found["pieces"])
    print(f"kl + clm, vocabulary {VOCABULARY:,}, {TOKENS:,} tokens, {TIMES} times: in pieces {said['pieces']}, whole {said['whole']}")
    print(f"in pieces it is 1/{ratio:.1f}")


def _in_a_process(how: str) -> float:
    done = subprocess.run([sys.executable, "-m", "benchmarks.loss_memory", how], capture_output=True, text=True, check=True)
    return float(done.stdout)


def _measure(how: str) -> float:
    """Megabytes beyond what was there before: weights, their gradients and the features are not counted, as both ways have them."""
    from contract.registry import Clm, Kl
    from distill import objectives

    torch.set_num_threads(1)
    if how == "whole":
        objectives.PIECE = VOCABULARY * TOKENS
    heads = [torch.nn.Linear(WIDTH, VOCABULARY, bias=False) for _ in range(2)]
    heads[1].requires_grad_(False)
    heads[0].weight.grad = torch.zeros_like(heads[0].weight)
    student = objectives.Said(torch.randn(TOKENS, WIDTH, requires_grad=True), heads[0], VOCABULARY)
    teacher = objectives.Said(torch.randn(TOKENS, WIDTH), heads[1], VOCABULARY)
    labels = torch.randint(0, VOCABULARY, (TOKENS,))
    objective = objectives.Objective([Kl(temperature=2.0), Clm()])
    before = _largest()
    total, _ = objective(student, labels, teacher)
    total.backward()
    return _largest() - before


def _largest() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(_measure(sys.argv[1]))
    else:
        loss_memory()
