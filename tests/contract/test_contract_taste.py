"""What is allowed and seldom wise is said once, before a job runs, with the field and what it does."""

from math import exp, log
from typing import Any

import pytest

from contract import taste
from contract.check import parse_spec
from contract.machine import Estimate, Memory, Where

SPEC: dict[str, Any] = {
    "kind": "distill",
    "task": "image-classification",
    "data": {"train": "digits"},
    "teacher": {"job": "job_" + "0" * 32},
    "student": {"arch": "mlp", "hidden": [8]},
}
SOFT = {"loss": "soft_cross_entropy", "temperature": 20.0, "t_squared": False}
HARD = {"loss": "cross_entropy"}


def said(steps: int | None = 1000, held_out: int | None = None, classes: int = 10, **changes: Any) -> list[str]:
    spec = parse_spec({**SPEC, **changes})
    return taste.of_spec(spec, classes, steps, held_out)


def test_nothing_is_said_of_what_is_usual() -> None:
    assert said(held_out=140) == []
    assert said(recipe={"name": "hinton", "temperature": 20.0, "alpha": 0.9}) == []  # MNIST of Hinton et al. 2015
    assert said(recipe="logit_mse") == []  # whose alpha is 1 by itself
    assert said(steps=None) == []  # what nobody can count yet


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"recipe": {"name": "hinton", "temperature": 25.0}}, "temperature", "nearly alike for all 10 classes"),
        ({"objective": [{"loss": "jsd", "temperature": 100.0}, HARD]}, "temperature", "at 100"),
        ({"recipe": {"name": "hinton", "alpha": 0.0}}, "recipe.alpha", "the teacher is not heard"),
        ({"recipe": {"name": "hinton", "alpha": 1.0}}, "recipe.alpha", "the labels are not heard"),
        ({"recipe": {"name": "hinton", "alpha": 0.995}}, "objective", "cross_entropy has 0.5 % of the weight"),
        ({"objective": [SOFT, HARD]}, "objective", "soft_cross_entropy has 0.2 % of the weight"),
        ({"steps": 49}, "training.epochs", "a run has 49 steps"),
        ({"held_out": 29}, "data.validation", "uncertain by up to 18 points"),
        ({"evaluation": {"control": True}}, "evaluation.seeds", "says nothing of their spread"),
    ],
)
def test_each_is_named_with_what_it_does(changes: dict[str, Any], field: str, words: str) -> None:
    (warning,) = said(**changes)
    assert warning.startswith(f"{field}: ") and words in warning


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": {"name": "hinton", "temperature": 22.0}},
        {"recipe": {"name": "hinton", "temperature": 49.0}, "classes": 2},
        {"recipe": {"name": "hinton", "alpha": 0.99}},
        {"objective": [{**SOFT, "t_squared": True}, HARD]},
        {"objective": [{**SOFT, "temperature": 9.0}, HARD]},
        {"steps": 50},
        {"held_out": 30},
        {"evaluation": {"control": True, "seeds": 3}, "steps": 300},
        {"recipe": {"name": "hinton", "temperature": 1000.0}, "classes": 0},
    ],
)
def test_up_to_the_threshold_nothing_is_said(changes: dict[str, Any]) -> None:
    assert said(**changes) == []


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_where_answers_become_flat_is_where_their_entropy_says(classes: int) -> None:
    def share(temperature: float) -> float:
        logits = [log(1 - taste.SUREST), *[log(taste.SUREST / (classes - 1))] * (classes - 1)]
        raised = [exp(z / temperature) for z in logits]
        return -sum(p / sum(raised) * log(p / sum(raised)) for p in raised) / log(classes)

    found = taste.flattening(classes)
    assert share(0.99 * found) < taste.FLAT < share(1.01 * found)


def report(accuracy: float, arm: str = "model", **more: Any) -> dict[str, Any]:
    return {"arms": {arm: {"metrics": {"accuracy": {"mean": accuracy}}}}, **more}


def test_a_teacher_that_knows_no_more_than_the_commonest_class() -> None:
    (warning,) = taste.of_teachers({"teacher": report(0.4, majority=0.4)})
    assert warning == "teacher: it is right about 40.0 % of its test rows, always naming the commonest class about 40.0 %."
    (warning,) = taste.of_teachers(
        {"teacher.ensemble.1": report(0.3, arm="student", majority=0.4), "teacher.ensemble.0": report(0.9, majority=0.4)}
    )
    assert warning.startswith("teacher.ensemble.1: ")
    assert taste.of_teachers({"teacher": report(0.41, majority=0.4), "other": report(0.0), "none": {}}) == []


def test_checkpoints_that_would_come_after_the_end() -> None:
    def told(every: float | None, takes: float | None) -> list[str]:
        training = {} if every is None else {"checkpoint_every_seconds": every}
        counts: dict[str, Any] = dict.fromkeys(("train_rows", "validation_rows", "test_rows", "steps"))
        return taste.of_time(parse_spec({**SPEC, "training": training}), Estimate(parameters={}, runs=1, run_seconds=takes, **counts))

    (warning,) = told(300, 200.0)
    assert warning.startswith("training.checkpoint_every_seconds: ") and "3:20" in warning
    assert told(300, 301.0) == told(300, None) == told(None, 200.0) == []


def test_more_memory_than_any_worker_has() -> None:
    where = Where(worker="wrk", host="a", processor="b", device="cpu", threads=1, slots=1, capacity_bytes=24 * 10**9)
    parts = dict.fromkeys(("process", "weights", "gradients", "optimizer", "activations", "rows", "teacher"), 0)
    counts: dict[str, Any] = dict.fromkeys(("train_rows", "validation_rows", "test_rows", "steps"))

    def told(needed: int, where: Where | None) -> list[str]:
        return taste.of_memory(Estimate(parameters={}, runs=1, memory=Memory(total=needed, **parts), machine=where, **counts))

    (warning,) = told(30 * 10**9, where)
    assert "30.0 GB" in warning and "24.0 GB" in warning
    assert told(24 * 10**9, where) == told(30 * 10**9, None) == told(30 * 10**9, where.model_copy(update={"capacity_bytes": None})) == []
