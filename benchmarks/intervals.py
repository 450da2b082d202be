"""`python -m benchmarks.intervals`: how often a 95 % interval of the gain holds the truth, for three ways to make one; simulated.

Rows differ in how hard they are and in what a teacher helps with; seeds differ in how well they come out. The truth is the mean gain over
all seeds and rows there could be. Says why `ci95` is Student's t and no bootstrap over seeds, and why there is a `ci95_rows`.
"""

import numpy as np
from numpy.typing import NDArray

from contract.evidence import difference

TRIALS = 2000
RESAMPLES = 400
POPULATION = 200_000  # rows from which the truth is computed
HELP, SEED_SPREAD, ROW_SPREAD, HELP_SPREAD = 0.25, 0.1, 2.0, 0.8  # in logits
EASE = 2.5

Right = NDArray[np.bool_]  # [seeds, rows]


def _drawn(draw: np.random.Generator, seeds: int, rows: int) -> tuple[Right, Right]:
    """Which rows students and controls have right."""
    ease = draw.normal(EASE, ROW_SPREAD, rows)
    helped = ease + draw.normal(HELP, HELP_SPREAD, rows)
    found = []
    for logits in (helped, ease):
        of_seeds = logits + draw.normal(0, SEED_SPREAD, (seeds, 1))
        found.append(draw.random((seeds, rows)) < 1 / (1 + np.exp(-of_seeds)))
    return found[0], found[1]


def _bootstrap(gains: NDArray[np.float64], draw: np.random.Generator) -> tuple[float, float]:
    means = draw.choice(gains, (RESAMPLES, len(gains))).mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def coverage(seeds: int, rows: int, trials: int = TRIALS) -> dict[str, float]:
    """Share of intervals that hold the truth, by the way they are made."""
    draw = np.random.default_rng(0)
    mine, theirs = _drawn(draw, 50, POPULATION)
    truth = mine.mean() - theirs.mean()
    held = dict.fromkeys(("bootstrap over seeds", "t over seeds (ci95)", "seeds and rows (ci95_rows)"), 0)
    for _ in range(trials):
        mine, theirs = _drawn(draw, seeds, rows)
        better = mine.astype(int) - theirs
        found = difference(better.mean(1).tolist(), better.tolist())
        bounds = [_bootstrap(np.array(found["values"]), draw), found["ci95"], found["ci95_rows"]]
        for name, (low, high) in zip(held, bounds, strict=True):
            held[name] += low <= truth <= high
    return {name: count / trials for name, count in held.items()}


if __name__ == "__main__":
    print(f"share of {TRIALS:,} simulated 95 % intervals that hold the true gain")
    for seeds, rows in ((5, 360), (5, 2000), (12, 360), (12, 10_000)):
        found = coverage(seeds, rows)
        print(f"{seeds:2} seeds, {rows:6,} rows: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in found.items()), flush=True)
