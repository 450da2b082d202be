"""What a classifier's answers say beyond accuracy, each with a bootstrap interval over rows (Efron 1979)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from contract.evidence import Statistic, statistic
from distill.device import derived_seed

Floats = NDArray[np.float64]
BINS = 15  # of confidence, as Guo et al. have them
RESAMPLES = 1000
SAMPLE = 2000  # rows whose spread speaks for more
MOST_CLASSES = 60  # whose confusions are counted in every resample


def scores(logits: Tensor, labels: Tensor) -> dict[str, Statistic]:
    """Macro F1, Matthews' correlation (Gorodkin 2004) and expected calibration error (Guo et al. 2017, https://arxiv.org/abs/1706.04599)
    of logits [N, C] and labels [N]."""
    classes = logits.shape[1]
    confidence, top = F.softmax(logits.double(), dim=1).max(1)
    right, y, p = (top == labels).cpu().numpy(), labels.cpu().numpy(), top.cpu().numpy()
    confused = np.zeros((len(y), 1 if classes > MOST_CLASSES else classes * classes))
    found = {"calibration_error": _with_interval(_binned(confidence.cpu().numpy(), right), calibration_error)}
    if classes <= MOST_CLASSES:
        confused[np.arange(len(y)), y * classes + p] = 1.0
        found["f1"] = _with_interval(confused, lambda counts: macro_f1(counts.reshape(len(counts), classes, classes)))
        found["mcc"] = _with_interval(confused, lambda counts: matthews(counts.reshape(len(counts), classes, classes)))
    return found


def macro_f1(confusion: Floats) -> Floats:
    """Mean over the classes there are of 2·right / (predicted + there), of confusion [R, C, C], rows being what is there."""
    right = np.einsum("rcc->rc", confusion)
    both = confusion.sum(1) + confusion.sum(2)
    seen = both > 0
    f1: Floats = np.divide(2 * right, both, out=np.zeros_like(right), where=seen)
    found: Floats = f1.sum(1) / np.maximum(seen.sum(1), 1)
    return found


def matthews(confusion: Floats) -> Floats:
    """Correlation between classes there and classes predicted, of confusion [R, C, C]; 0 where either never changes."""
    there, said, total = confusion.sum(2), confusion.sum(1), confusion.sum((1, 2))
    covariance = np.einsum("rcc->r", confusion) * total - (there * said).sum(1)
    spread = np.sqrt((total**2 - (there**2).sum(1)) * (total**2 - (said**2).sum(1)))
    found: Floats = np.divide(covariance, spread, out=np.zeros_like(covariance), where=spread > 0)
    return found


def calibration_error(binned: Floats) -> Floats:
    """Mean distance between confidence and accuracy, of sums [R, 3·BINS]: rows, confidence and right ones of each bin."""
    count, confidence, right = np.split(binned, 3, axis=1)
    found: Floats = np.abs(confidence - right).sum(1) / np.maximum(count.sum(1), 1e-12)
    return found


def _binned(confidence: Floats, right: NDArray[np.bool_]) -> Floats:
    """For each row the three figures of its bin, zeros elsewhere."""
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    found = np.zeros((len(bins), 3 * BINS))
    rows = np.arange(len(bins))
    for offset, value in enumerate((np.ones(len(bins)), confidence, right.astype(np.float64))):
        found[rows, offset * BINS + bins] = value
    return found


def _with_interval(rows: Floats, figure: Callable[[Floats], Floats]) -> Statistic:
    """A figure of sums over rows [N, K], and its interval: of many rows a sample tells the spread, which shrinks with their number."""
    value = float(figure(rows.sum(0)[None])[0])
    draw = np.random.default_rng(derived_seed("bootstrap"))
    sample = rows if len(rows) <= SAMPLE else rows[draw.choice(len(rows), SAMPLE, replace=False)]
    weights: Any = draw.poisson(1.0, size=(RESAMPLES, len(sample)))
    weights = weights[weights.any(axis=1)]
    values = figure(weights @ sample)
    middle = float(figure(sample.sum(0)[None])[0])
    low, high = np.quantile(values - middle, [0.025, 0.975]) * (len(sample) / len(rows)) ** 0.5
    return statistic([value], (value + float(low), value + float(high)))
