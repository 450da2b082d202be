"""What charts are made of: means over seeds that hold also where each curve was thinned by its own extremes."""

import random
from statistics import fmean

from api.pages.curves import POINTS, charts
from api.series import thinned
from contract.wire import Series


def series(name: str, seed: int, arm: str = "student", count: int = 100, most: int | None = None) -> Series:
    """y = seed + step / count, with noise that is never the same."""
    draw = random.Random(f"{name} {seed}")
    points = [(step, seed + step / count + draw.uniform(-1, 1), "") for step in range(1, count + 1)]
    return Series(name=name, arm=arm, seed=seed, points=thinned(points, count, most), total_points=count)


def test_one_run_shows_its_terms_and_several_their_means() -> None:
    names = ("gradient_norm", "gradient_share/kl", "memory_bytes", "steps_per_second", "train/loss", "train/loss/kl", "validation/accuracy")
    one = charts([series(name, 42) for name in names], None, everything=False)
    assert [chart["title"] for chart in one] == ["loss", "validation accuracy", "steps per second", "memory, MB"]
    assert [line["name"] for line in one[0]["lines"]] == ["total", "kl"]
    several = charts([series(name, seed) for name in names for seed in (1, 2, 3)], None, everything=False)
    assert [[line["name"] for line in chart["lines"]] for chart in several] == [["student, mean of its seeds"]] * 4
    whole = charts([series(name, seed) for name in names for seed in (1, 2, 3)], None, everything=True)
    assert [chart["title"] for chart in whole][4:] == ["gradient norm", "gradient share"]
    assert [line["name"] for line in whole[0]["lines"]] == ["student, mean of its seeds", "student, mean of its seeds · kl"]
    assert whole[0]["lines"][0]["x"] == list(range(1, 101))


def test_the_mean_of_long_curves_keeps_its_shape() -> None:
    found = [series("train/loss", seed, count=5000, most=POINTS) for seed in (1, 2, 3, 4, 5)]
    common = set.intersection(*({point[0] for point in one.points} for one in found))
    assert len(common) < 50, "each was thinned by its own extremes: steps that all have are few"
    (chart,) = charts(found, None, everything=False)
    (line,) = chart["lines"]
    assert POINTS * 0.35 < len(line["x"]) <= POINTS / 2 + 1 and line["x"] == sorted(line["x"])
    beside = fmean(abs(y - (3 + x / 5000)) for x, y in zip(line["x"], line["y"], strict=True))
    assert beside < 0.35, "extremes lie nearly 1 beside it"


def test_a_seed_that_has_just_begun_does_not_bend_the_others() -> None:
    (chart,) = charts(
        [series("train/loss", 1, count=5000, most=POINTS), series("train/loss", 2, count=600, most=POINTS)], None, everything=False
    )
    (line,) = chart["lines"]
    assert max(line["x"]) <= 600 and len(line["x"]) > 15
