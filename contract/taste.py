"""What is allowed and seldom wise, said before a job runs; distill.diagnosis says afterwards what came of it, by the same thresholds."""

from collections.abc import Mapping
from math import exp, log, log1p
from typing import Any

from contract.machine import Estimate
from contract.registry import SoftCrossEntropy
from contract.spec import JobKind, JobSpec
from contract.units import duration, size

FELT = 0.01  # share of the gradient below which a term is not felt
FLAT = 0.98  # entropy of softened answers, of the most there can be
SUREST = 2.0**-24  # the doubt of a teacher that float32 takes for certain
FEW_STEPS = 50
FEW_ROWS = 30


def of_spec(spec: JobSpec, classes: int, steps: int | None, held_out: int | None) -> list[str]:
    """classes: of each answer, 0 where rows have none. steps: of all runs. held_out: validation rows."""
    found = []
    if spec.kind is JobKind.DISTILL:
        found += [*_of_alpha(spec), *_of_weights(spec), *(_of_temperatures(spec, classes) if classes > 1 else [])]
        each = steps // len(spec.runs()) if steps else FEW_STEPS
        if each < FEW_STEPS:
            found.append(f"training.epochs: a run has {each} steps; few students have heard what there is to hear before {FEW_STEPS}.")
        if spec.evaluation.control and spec.evaluation.seeds == 1:
            found.append("evaluation.seeds: one run of each arm says nothing of their spread, and the verdict will say so; 3 to 5 do.")
    if held_out and held_out < FEW_ROWS and spec.kind.trains:
        points = 98 / held_out**0.5  # half of a 95 % interval around one half
        found.append(
            f"data.validation: accuracy on {held_out} rows is uncertain by up to {points:.0f} points; hold out {FEW_ROWS} or more."
        )
    return found


def of_teachers(reports: Mapping[str, dict[str, Any]]) -> list[str]:
    """Of finished jobs, by the field that names each: those no better than always naming the commonest class."""
    found = []
    for field, report in reports.items():
        arms = report.get("arms", {})
        accuracy = (arms.get("model") or arms.get("student") or {}).get("metrics", {}).get("accuracy")
        commonest = report.get("majority")
        if accuracy is not None and commonest is not None and accuracy["mean"] <= commonest:
            right, named = 100 * accuracy["mean"], 100 * commonest
            found.append(
                f"{field}: it is right about {right:.1f} % of its test rows, always naming the commonest class about {named:.1f} %."
            )
    return found


def of_time(spec: JobSpec, estimate: Estimate) -> list[str]:
    every, takes = spec.training.checkpoint_every_seconds, estimate.run_seconds
    asked = "checkpoint_every_seconds" in spec.training.model_fields_set
    if not asked or takes is None or every <= takes or not spec.kind.trains:
        return []
    return [
        f"training.checkpoint_every_seconds: a run takes about {duration(takes)}, so there will be none before its end, and a worker that "
        "dies takes all of it along."
    ]


def _of_alpha(spec: JobSpec) -> list[str]:
    """Of one that was asked for: some recipes have 1 by themselves."""
    recipe = spec.recipe
    alpha = getattr(recipe, "alpha", None) if recipe is not None and "alpha" in recipe.model_fields_set else None
    said = {
        0: "recipe.alpha: at 0 the teacher is not heard, and the student is what it would be alone.",
        1: "recipe.alpha: at 1 the labels are not heard; where the teacher is wrong, the student will be.",
    }
    return [said[alpha]] if alpha in said else []


def _of_weights(spec: JobSpec) -> list[str]:
    """Terms that others drown out. Gradients of softened terms fall with 1/T² where nothing is multiplied by T² (Hinton et al. 2015)."""
    counts: dict[str, float] = {}
    for term in spec.terms:
        shrinks = term.temperature**2 if isinstance(term, SoftCrossEntropy) and not term.t_squared else 1.0
        weight = max(term.weight, (term.anneal.weight or 0.0) if term.anneal is not None else 0.0)
        counts[term.loss] = counts.get(term.loss, 0.0) + weight / shrinks
    if any(term.SEES != "logits" or not term.counts for term in spec.terms):  # losses of other kinds have sizes of their own
        return []
    total = sum(counts.values())
    return [
        f"objective: {loss} has {100 * count / total:.1g} % of the weight: it hardly counts."
        for loss, count in counts.items()
        if count < FELT * total
    ]


def _of_temperatures(spec: JobSpec, classes: int) -> list[str]:
    highest = flattening(classes)
    asked = sorted({getattr(term, "temperature", 0.0) for term in spec.terms if term.NEEDS_TEACHER})
    return [
        f"temperature: at {temperature:g} even a teacher that is certain is nearly alike for all {classes} classes; "
        f"from {highest:.0f} on there is little left to hear."
        for temperature in asked
        if temperature > highest
    ]


def flattening(classes: int) -> float:
    """The temperature from which on the softened answer of a teacher whose doubt is SUREST, spread evenly over the other classes, has more
    than FLAT of the entropy there can be."""
    low, high = 0.1, 1e4
    gap = log1p(-SUREST) - log(SUREST / (classes - 1))
    while high / low > 1.001:
        middle = (low * high) ** 0.5
        others = (classes - 1) * exp(-gap / middle)
        entropy = log1p(others) + others / (1 + others) * gap / middle
        low, high = (middle, high) if entropy < FLAT * log(classes) else (low, middle)
    return high


def of_memory(estimate: Estimate) -> list[str]:
    most = estimate.machine.capacity_bytes if estimate.machine is not None else None
    if most is None or estimate.memory is None or estimate.memory.total <= most:
        return []
    return [f"student: a run needs about {size(estimate.memory.total)} of memory, and no live worker has more than {size(most)}."]
