"""What every contender has in common: its order, its clock, its largest memory, and how its student is judged. Needs torch alone; scripts
here run in environments that do not know this project."""

import json
import random
import resource
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F

STEPS: dict[str, tuple[float, float]] = {}


def order() -> Any:
    """The work to do, as the harness wrote it: paths, epochs, batch, rate, temperature, alpha, seed, threads."""
    found = SimpleNamespace(**json.loads(Path(sys.argv[1]).read_text()))
    torch.set_num_threads(found.threads)
    torch.manual_seed(found.seed)
    random.seed(found.seed)
    return found


def clock(name: str) -> None:
    """Ends a part of the work, which began where the one before it ended: on the wall, and in seconds of all cores."""
    STEPS[name] = time.perf_counter(), time.process_time()
    if name == "trained":
        STEPS["peak"] = peak(), 0.0


def done(work: Any, tokens: int = 0, **quality: float) -> None:
    """Seconds between the clock's marks `begin`, `prepared` and `trained`; the largest resident size up to then; and how good it is."""
    begin, prepared, trained = (STEPS[name] for name in ("begin", "prepared", "trained"))
    found = {
        "prepare_s": prepared[0] - begin[0],
        "train_s": trained[0] - prepared[0],
        "train_cpu_s": trained[1] - prepared[1],
        "peak_mb": STEPS["peak"][0],
        "tokens": tokens,
        **quality,
    }
    Path(work.result).write_text(json.dumps(found))


def peak() -> float:
    """MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def texts(path: str) -> tuple[list[str], list[int]]:
    rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return [row["text"] for row in rows], [row["label"] for row in rows]


def hinton(z_s: torch.Tensor, z_t: torch.Tensor, y: torch.Tensor, work: Any) -> torch.Tensor:
    """(1 − α)·CE + α·T²·KL, averaged over rows, in the words of torch's own tutorial."""
    soft, said = F.softmax(z_t / work.temperature, dim=-1), F.log_softmax(z_s / work.temperature, dim=-1)
    kl = F.kl_div(said, soft, reduction="batchmean") * work.temperature**2
    return (1 - work.alpha) * F.cross_entropy(z_s, y) + work.alpha * kl


def linear(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)


def judged(model: Any, tokenizer: Any, work: Any) -> dict[str, float]:
    """Held-out loss and accuracy of a classifier of transformers."""
    model.eval()
    rows, labels = texts(work.test)
    y, found = torch.tensor(labels), []
    with torch.inference_mode():
        for first in range(0, len(rows), 64):
            batch = tokenizer(rows[first : first + 64], truncation=True, max_length=work.max_length, padding=True, return_tensors="pt")
            found.append(model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits)
    z = torch.cat(found)
    return {"loss": F.cross_entropy(z, y).item(), "accuracy": (z.argmax(1) == y).float().mean().item()}
