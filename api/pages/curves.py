"""What the charts of a job's page show; the browser draws."""

from statistics import fmean
from typing import Any

POINTS = 400  # of each curve on a page; the API has them all
TITLES = {"memory_bytes": "memory, MB"}
FIRST = ("loss", "validation", "steps_per_second", "memory_bytes")


def charts(found: list[Any], report: dict[str, Any] | None, *, everything: bool) -> list[dict[str, Any]]:
    """Loss and its terms, validation with the teacher as a line, speed and memory; with `everything` all others, too. Of several runs the
    mean of each arm."""
    several = len({(one.arm, one.seed) for one in found}) > 1
    groups: dict[str, list[Any]] = {}
    for one in averaged(found, terms=everything) if several else found:
        groups.setdefault(_kind(one.name), []).append(one)
    metric = (report or {}).get("metric")
    watched = next((name for name in (f"validation {metric}", "validation accuracy", "validation loss") if name in groups), "validation")
    order = [watched if name == "validation" else name for name in FIRST]
    chosen = [*order, *(name for name in groups if name not in order)] if everything else order
    teacher = (((report or {}).get("arms", {}).get("teacher") or {}).get("metrics", {}).get(metric) or {}).get("mean")
    return [
        {
            "title": TITLES.get(name, name.replace("_", " ")),
            "lines": [_line(one, several) for one in groups[name]],
            "teacher": teacher if name == f"validation {metric}" else None,
        }
        for name in chosen
        if name in groups
    ]


def _kind(name: str) -> str:
    """The chart it belongs to."""
    group, _, rest = name.partition("/")
    return {"train": "loss", "validation": f"validation {rest}"}.get(group, group)


def averaged(found: list[Any], *, terms: bool) -> list[Any]:
    """The mean of each arm over its seeds, and without `terms` no single ones: ten runs of three terms are no picture."""
    kept: dict[tuple[str, str], list[Any]] = {}
    for one in found:
        if terms or not one.name.startswith("train/loss/"):
            kept.setdefault((one.name, one.arm), []).append(one)
    return [_mean(several) for several in kept.values()]


def _mean(several: list[Any]) -> Any:
    """Where all have a point; of long curves, thinned each by its own extremes, over stretches of steps that all have reached."""
    if len(several) == 1:
        return several[0]
    at = [{step: value for step, value, _ in one.points} for one in several]
    steps = sorted(set(at[0]).intersection(*at[1:]))
    values = [fmean(values[step] for values in at) for step in steps]
    if any(one.total_points > len(one.points) for one in several):
        end = min(max(one) for one in at)
        count = max(1, min(sum(step <= end for step in one) for one in at) // 2)
        stretches: dict[int, list[list[float]]] = {}
        for i, one in enumerate(at):
            for step, value in one.items():
                if step <= end:
                    stretches.setdefault(step * count // end, [[] for _ in at])[i].append(value)
        full = {number: each for number, each in sorted(stretches.items()) if all(each)}
        steps = [number * end // count for number in full]
        values = [fmean(fmean(own) for own in each) for each in full.values()]
    return several[0].model_copy(update={"points": [(step, value, "") for step, value in zip(steps, values, strict=True)], "seed": -1})


def _line(one: Any, several: bool) -> dict[str, Any]:
    group, *rest = one.name.split("/")
    term = rest[-1] if (group == "train" and len(rest) > 1) or (group not in ("train", "validation") and rest) else ""
    arm = f"{one.arm}, {'mean of its seeds' if one.seed < 0 else f'seed {one.seed}'}" if several else ""
    whole = "total" if group == "train" else one.arm
    name = " · ".join(filter(None, [arm, term])) or whole
    scale = 1e-6 if one.name == "memory_bytes" else 1
    x, y = [point[0] for point in one.points], [scale * point[1] for point in one.points]
    return {"name": name, "metric": one.name, "arm": one.arm, "seed": one.seed, "x": x, "y": y, "scale": scale}
