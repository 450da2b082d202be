"""The paired gains as a picture: every seed a dot, the mean and its interval beneath."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from benchmarks.results.words import NOT_SHOWN, points, verdict
from contract.evidence import Statistic

# Okabe and Ito's colours, which the colour-blind can tell apart; the words beside them say the same.
COLOURS = {"helped": "#0072B2", "hurt": "#D55E00", NOT_SHOWN: "#4D4D4D"}
DOT = "#8FA3B0"


class Line(NamedTuple):
    group: str  # a thin rule stands between groups
    label: str
    gain: Statistic


def gains(title: str, lines: Sequence[Line], path: Path) -> None:
    """One line for each job, the first on top. Shares become points of a hundred."""
    figure = Figure(figsize=(9.4, 1.0 + 0.8 * len(lines)), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color="#9A9A9A", linewidth=1.2, zorder=1)
    spread = random.Random(0)
    for place, line in enumerate(lines):
        values, mean, (low, high) = line.gain["values"], line.gain["mean"], line.gain["ci95"]
        judged = verdict(line.gain)
        colour = COLOURS[judged]
        heights = [place - 0.1 - spread.uniform(0, 0.24) for _ in values]
        axes.scatter([100 * value for value in values], heights, s=15, color=DOT, alpha=0.75, linewidths=0, zorder=2)
        axes.plot([100 * low, 100 * high], [place + 0.14] * 2, color=colour, linewidth=4.5, solid_capstyle="butt", zorder=3)
        axes.plot([100 * mean], [place + 0.14], "o", color="white", markeredgecolor=colour, markeredgewidth=2, markersize=8, zorder=4)
        beside: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 10}
        axes.annotate(f"{line.label}\n{line.group}", (-0.015, place), ha="right", **beside)
        said = f"{points(mean)}  ({points(low)} to {points(high)})\n{judged}"
        axes.annotate(said, (1.015, place), color=colour, **beside)
        if place and line.group != lines[place - 1].group:
            axes.axhline(place - 0.5, color="#C8C8C8", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_yticks([])
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel("points of test accuracy over the same student alone\ndots: one seed each · bars: 95 % interval of the mean")
    axes.grid(axis="x", color="#EAEAEA")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, facecolor="white", metadata={"Software": None})
