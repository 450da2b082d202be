"""Of many students: which are worth their size, and what may be said of the best."""

from collections.abc import Sequence
from typing import NamedTuple

from contract.wire import TrialView


class Point(NamedTuple):
    """number: whose it is; value: of the metric; parameters: trainable ones, None where the job did not say."""

    number: int
    value: float
    parameters: int | None


def frontier(points: Sequence[Point], higher_is_better: bool) -> list[int]:
    """Numbers of the points that no other one beats in both size and value (the Pareto set), the smallest first; of equals the first."""
    sign = 1.0 if higher_is_better else -1.0
    found: list[Point] = []
    for point in sorted((p for p in points if p.parameters is not None), key=lambda p: (p.parameters, -sign * p.value, p.number)):
        if not found or sign * point.value > sign * found[-1].value:
            found.append(point)
    return [point.number for point in found]


def verdict(best: TrialView, values: str, metric: str, trials: Sequence[TrialView]) -> str:
    """One sentence. The best of many by their validation rows flatters itself there; the test rows have had no say."""
    succeeded, stopped = sum(t.status == "succeeded" for t in trials), sum(t.stopped_after_epoch is not None for t in trials)
    left = len(trials) - succeeded - stopped
    others = "".join([f", {stopped} stopped early" if stopped else "", f", {left} without a result" if left else ""])
    test = f", on the test rows {best.test:.4f}" if best.test is not None else ""
    return f"Best of {succeeded}{others}: trial {best.number} ({values}), validation {metric} {best.value:.4f}{test}."
