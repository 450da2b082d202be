"""`python -m benchmarks.loss_memory`: memory of a language model's losses over a vocabulary of 128k, worked off in pieces and whole, and
whole by torch's own functions.

Each figure is the growth of a process's largest resident size from before the loss to after its gradient, in a process of its own.
"""

import resource
import subprocess
import sys
from statistics import median

import torch
from torch.nn import functional

VOCABULARY, TOKENS, WIDTH = 128_000, 1024, 256
TIMES = 3


def loss_memory() -> None:
    """Forward and backward of kl + clm for one text of 1,024 tokens; the student's head is 256 × 128k, the teacher's the same."""
    found = {how: [_in_a_process(how) for _ in range(TIMES)] for how in ("pieces", "whole", "torch")}
    said = {how: f"median {median(sizes):,.0f} MB (min {min(sizes):,.0f}, max {max(sizes):,.0f})" for how, sizes in found.items()}
    ratios = [median(found[how]) / median(found["pieces"]) for how in ("whole", "torch")]
    print(f"kl + clm, vocabulary {VOCABULARY:,}, {TOKENS:,} tokens, {TIMES} times: in pieces {said['pieces']}, whole {said['whole']}")
    print(f"by torch's functions {said['torch']}; in pieces it is 1/{ratios[0]:.1f} of whole, 1/{ratios[1]:.1f} of torch's")


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
    if how == "torch":
        z_s, z_t = student.logits, teacher.logits.detach()
        soft = functional.kl_div(functional.log_softmax(z_s / 2, -1), functional.softmax(z_t / 2, -1), reduction="batchmean")
        total = 4 * soft + functional.cross_entropy(z_s, labels)
    else:
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
