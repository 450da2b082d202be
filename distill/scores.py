"""What a classifier's answers say beyond accuracy, each with a bootstrap interval over rows (Efron 1979)."""

from collections.abc import Callable
from functools import lru_cache
from math import inf

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from contract.by_class import Counts
from contract.evidence import Statistic, statistic
from distill.device import derived_seed

Floats = NDArray[np.float64]
BINS = 15  # of confidence, as Guo et al. have them
RESAMPLES = 1000
SAMPLE = 2000  # rows whose spread speaks for more
MOST_CLASSES = 60  # whose confusions are counted in every resample


def of_classes(logits: Tensor, labels: Tensor) -> dict[str, Statistic]:
    """Macro F1, Matthews' correlation (Gorodkin 2004) and expected calibration error (Guo et al. 2017, https://arxiv.org/abs/1706.04599)
    of logits [N, C] and labels [N]."""
    confidence, top = F.softmax(logits.double(), dim=1).max(1)
    return _of_answers(confidence, top, labels, logits.shape[1])


def _of_answers(confidence: Tensor, top: Tensor, labels: Tensor, classes: int) -> dict[str, Statistic]:
    right, y, p = (top == labels).cpu().numpy(), labels.cpu().numpy(), top.cpu().numpy()
    found = {"calibration_error": _with_interval(_binned(confidence.double().cpu().numpy(), right), calibration_error)}
    if classes <= MOST_CLASSES:
        confused = np.zeros((len(y), classes * classes))
        confused[np.arange(len(y)), y * classes + p] = 1.0
        shape = (-1, classes, classes)
        f1, mcc = (lambda counts: macro_f1(counts.reshape(shape))), (lambda counts: matthews(counts.reshape(shape)))
        found["f1"], found["mcc"] = _with_intervals(confused, f1, mcc)
    return found


def counted(top: Tensor, labels: Tensor, classes: list[str]) -> Counts | None:
    """Of each class how many rows [N] are of it, how many are said to be, and how many of those rightly; None of very many classes."""
    if not 0 < len(classes) <= MOST_CLASSES:
        return None
    parts = [part.bincount(minlength=len(classes)).tolist() for part in (labels, top, labels[top == labels])]
    return [list(row) for row in zip(classes, *parts, strict=True)]


def of_several(logits: Tensor, marks: Tensor) -> dict[str, Statistic]:
    """F1 over all answers (micro) and as a mean over classes (macro), and expected calibration error, of logits [N, C] of classes that each
    hold or not, marks [N, C]."""
    said, there = (logits > 0).cpu().numpy(), marks.bool().cpu().numpy()
    counts = np.concatenate([(said & there), said, there], axis=1).astype(np.float64)  # [N, 3·C]
    sure = logits.double().sigmoid().flatten()
    confidence = torch.maximum(sure, 1 - sure).cpu().numpy()
    return {
        "calibration_error": _with_interval(_binned(confidence, (said == there).flatten()), calibration_error),
        "f1": _with_interval(counts, lambda sums: _f1(*np.split(sums, 3, axis=1))),
        "f1_micro": _with_interval(counts, lambda sums: _f1(*(part.sum(1, keepdims=True) for part in np.split(sums, 3, axis=1)))),
    }


def of_tags(confidence: Tensor, top: Tensor, right: Tensor, row: Tensor, classes: list[str]) -> dict[str, Statistic]:
    """Of words [N] and the row each stands in: what `of_classes` tells; and where the classes mark the beginnings of names (B-…, I-…, O),
    F1 over whole names (Tjong Kim Sang, De Meulder 2003, https://aclanthology.org/W03-0419)."""
    found = _of_answers(confidence, top, right, len(classes))
    if any(name.startswith("B-") for name in classes) and all(name == "O" or name[:2] in ("B-", "I-") for name in classes):
        rows = [part.tolist() for part in (row, top, right)]
        counts: dict[int, tuple[list[str], list[str]]] = {}
        for place, said, there in zip(*rows, strict=True):
            mine, theirs = counts.setdefault(place, ([], []))
            mine.append(classes[said])
            theirs.append(classes[there])
        of_rows = np.array([_names_found(*pair) for pair in counts.values()], dtype=np.float64)
        found["f1_names"] = _with_interval(of_rows, lambda sums: _f1(sums[:, :1], sums[:, 1:2], sums[:, 2:]))
    return found


def _names_found(said: list[str], there: list[str]) -> tuple[int, int, int]:
    mine, theirs = names(said), names(there)
    return len(mine & theirs), len(mine), len(theirs)


def names(tags: list[str]) -> set[tuple[str, int, int]]:
    """(kind, first word, word after the last) of each name that B-… and I-… mark. As in conlleval, an I- after another kind begins one."""
    found, first, kind = set(), 0, ""
    for place, tag in enumerate([*tags, "O"]):
        goes_on = tag.startswith("I-") and tag[2:] == kind
        if kind and not goes_on:
            found.add((kind, first, place))
            kind = ""
        if tag != "O" and not goes_on:
            first, kind = place, tag[2:]
    return found


def _f1(both: Floats, said: Floats, there: Floats) -> Floats:
    """[R]: mean over classes [R, C] of 2·both / (said + there), of those that are said or there."""
    total = said + there
    f1 = np.divide(2 * both, total, out=np.zeros_like(both), where=total > 0)
    found: Floats = f1.sum(1) / np.maximum((total > 0).sum(1), 1)
    return found


def macro_f1(confusion: Floats) -> Floats:
    """Mean over the classes there are of 2·right / (predicted + there), of confusion [R, C, C], rows being what is there."""
    return _f1(np.einsum("rcc->rc", confusion), confusion.sum(1), confusion.sum(2))


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
    return _with_intervals(rows, figure)[0]


def _with_intervals(rows: Floats, *figures: Callable[[Floats], Floats]) -> list[Statistic]:
    """Figures of sums over rows [N, K], and their intervals: of many rows a sample tells the spread, which shrinks with their number."""
    chosen, weights = resamples(len(rows))
    sample = rows if chosen is None else rows[chosen]
    sums, found = weights @ sample, []
    for figure in figures:
        value, drawn = float(figure(rows.sum(0)[None])[0]), figure(sums)
        # Around their own mean: chance adds to a calibration error, and once more to one of rows drawn by chance.
        low, high = np.quantile(drawn - drawn.mean(), [0.025, 0.975]) * (len(sample) / len(rows)) ** 0.5
        floor = 0.0 if figure is calibration_error else -inf
        found.append(statistic([value], (max(floor, value + float(low)), value + float(high))))
    return found


@lru_cache(maxsize=2)  # 16 MB each; of teacher and student, and of runs one after another, the rows are as many
def resamples(rows: int) -> tuple[NDArray[np.int64] | None, Floats]:
    """Which rows are the sample, None where all are, and how often each resample [RESAMPLES, sample] takes them: of so many rows always the
    same, so it is drawn once for all figures."""
    draw = np.random.default_rng(derived_seed("bootstrap"))
    chosen = None if rows <= SAMPLE else draw.choice(rows, SAMPLE, replace=False)
    weights = draw.poisson(1.0, size=(RESAMPLES, min(rows, SAMPLE)))
    return chosen, weights[weights.any(axis=1)].astype(np.float64)
