"""The figures of each class, from counts: where a student is ahead of the same student alone, and where it is behind."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

# Of each class its name, how many are of it, how many were said to be, and how many of those rightly. A list: a database keeps no order of
# keys.
Counts = Sequence[Sequence[Any]]


def f1(there: int, said: int, right: int) -> float:
    return 2 * right / (there + said) if there + said else 0.0


def table(arms: Mapping[str, Sequence[Counts]]) -> list[dict[str, Any]]:
    """A row for each class: how many of it there are, and of each arm the means over its seeds. Recall is the share of those of the class
    that were found, precision the share of those said to be of it that are."""
    first = next(iter(arms.values()))[0]
    return [
        {"class": name, "rows": rows, "arms": {arm: _means([counts[place][1:] for counts in seeds]) for arm, seeds in arms.items()}}
        for place, (name, rows, *_) in enumerate(first)
    ]


def _means(seeds: Sequence[Sequence[int]]) -> dict[str, float]:
    recall = fmean(right / there if there else 0.0 for there, _, right in seeds)
    precision = fmean(right / said if said else 0.0 for _, said, right in seeds)
    return {"recall": recall, "precision": precision, "f1": fmean(f1(*one) for one in seeds)}


def ahead(mine: Sequence[Counts], theirs: Sequence[Counts]) -> list[list[float]]:
    """Of each class by how much F1 is higher, seed by seed."""
    by_seed = [[f1(*a[1:]) - f1(*b[1:]) for a, b in zip(*pair, strict=True)] for pair in zip(mine, theirs, strict=True)]
    return [list(one) for one in zip(*by_seed, strict=True)]
