"""Measuring a network on rows: metrics with their uncertainty, size and speed."""

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contract.evidence import pack_bits, statistic
from contract.model import ModelConfig
from distill.data import Split
from distill.device import derived_seed, threads
from distill.networks import count_parameters, scaled
from distill.teacher import infer

Z95 = 1.959963984540054
CARRIED_ROWS = 100_000


@dataclass(frozen=True)
class Measured:
    """logits [N, C] of the rows measured, and what the report says of them."""

    logits: Tensor
    metrics: dict[str, dict[str, Any]]
    rows_right: str | None  # which rows had the right class, packed; None for more rows than are worth carrying


def quick(network: nn.Module, config: ModelConfig, rows: Split) -> dict[str, float]:
    """Accuracy and loss, for the curve during training."""
    logits = infer(network, config, rows)
    return {
        "accuracy": (logits.argmax(1) == rows.labels).float().mean().item(),
        "loss": F.cross_entropy(logits, rows.labels).item(),
    }


def measure(logits: Tensor, rows: Split) -> Measured:
    """Accuracy with its Wilson interval and mean loss with a bootstrap interval, both over rows: one seed has no other spread."""
    right = (logits.argmax(1) == rows.labels).double()
    losses = F.cross_entropy(logits.double(), rows.labels, reduction="none").cpu().numpy()
    accuracy, loss = right.mean().item(), float(losses.mean())
    packed = pack_bits((right > 0).tolist()) if len(rows) <= CARRIED_ROWS else None
    return Measured(
        logits,
        {
            "accuracy": statistic([accuracy], wilson(accuracy, len(rows))),
            "loss": statistic([loss], bootstrap(losses)),
        },
        packed,
    )


def wilson(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a binomial share (Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953)."""
    square = Z95**2 / count
    middle = (share + square / 2) / (1 + square)
    half = Z95 / (1 + square) * (share * (1 - share) / count + square / (4 * count)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap(values: "np.ndarray[Any, np.dtype[np.float64]]", resamples: int = 1000) -> tuple[float, float]:
    """95 % percentile interval of the mean (Efron 1979). Rows are drawn by counts, so large sets cost no more memory."""
    draw = np.random.default_rng(derived_seed("bootstrap"))
    weights = draw.poisson(1.0, size=(resamples, min(len(values), 2000)))
    weights = weights[weights.any(axis=1)]  # of a few rows, some draws take none
    if len(values) > 2000:  # a sample of rows is enough for the spread of the mean, which then shrinks with the rest
        sample = draw.choice(values, 2000, replace=False)
        means = (weights @ sample) / weights.sum(1)
        spread = (means - sample.mean()) * (2000 / len(values)) ** 0.5
        low, high = np.quantile(values.mean() + spread, [0.025, 0.975])
    else:
        low, high = np.quantile((weights @ values) / weights.sum(1), [0.025, 0.975])
    return float(low), float(high)


def agreement(a: Tensor, b: Tensor) -> float:
    """Share of rows on which both have the same top class."""
    return (a.argmax(1) == b.argmax(1)).float().mean().item()


def cost(network: nn.Module, config: ModelConfig, rows: Split, size_bytes: int) -> dict[str, Any]:
    """Parameters, bytes, median latency of one row on one thread, and rows per second in batches of 64."""
    with torch.inference_mode(), threads(1):
        one = rows.features[:1]
        latency = 1000 * median(_timed(network, config, one, seconds=0.05))
    with torch.inference_mode():
        batch = rows.features[:64]
        seconds = median(_timed(network, config, batch, seconds=0.05))
    return {
        "parameters": count_parameters(network) or sum(p.numel() for p in network.parameters()),
        "size_bytes": size_bytes,
        "latency_ms": {"batch": 1, "threads": 1, "p50": round(latency, 4)},
        "rows_per_second": {"batch": len(batch), "value": round(len(batch) / seconds, 1)},
        "peak_memory": {"batch": len(batch), "bytes": peak_memory(network, config, batch)},
    }


def peak_memory(network: nn.Module, config: ModelConfig, features: Tensor) -> int:
    """Bytes an inference of these rows needs: on a GPU what the allocator saw, on a CPU the weights and, at the widest layer,
    its input and output."""
    if features.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        with torch.inference_mode():
            network(scaled(features, config.input))
        return torch.cuda.max_memory_allocated()
    widest = 0

    def look(_layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal widest
        widest = max(widest, output.nbytes + sum(each.nbytes for each in inputs))

    leaves = [layer for layer in network.modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(look) for layer in leaves]
    with torch.inference_mode():
        network(scaled(features, config.input))
    for hook in hooks:
        hook.remove()
    return widest + sum(p.nbytes for p in network.parameters())


def _timed(network: nn.Module, config: ModelConfig, features: Tensor, seconds: float) -> list[float]:
    """Durations of single forward passes, after a warm-up, until the time is used; at least three."""
    network.eval()
    for _ in range(3):
        network(scaled(features, config.input))
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        network(scaled(features, config.input))
        if features.is_cuda:
            torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return found
