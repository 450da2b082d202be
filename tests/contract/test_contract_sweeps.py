"""Sweep specs: the space, the searches, where values go, and which trials are worth their size."""

from typing import Any

import pytest

from contract.check import checked
from contract.errors import InvalidSpec
from contract.frontier import Point, frontier
from contract.sweep import Halving, Range, SweepSpec, label

JOB = {"kind": "distill", "task": "image-classification", "recipe": "hinton"}
DEEP: dict[str, Any] = {}
for _ in range(700):
    DEEP = {"a": DEEP}
TWICE = list(range(501))


def sweep(**changes: Any) -> SweepSpec:
    return checked(SweepSpec, {"job": JOB, "space": {"recipe.temperature": [1, 4]}, **changes})


def refused(**changes: Any) -> InvalidSpec:
    with pytest.raises(InvalidSpec) as caught:
        sweep(**changes)
    return caught.value


def test_a_grid_is_every_combination_in_the_order_written() -> None:
    spec = sweep(space={"recipe.temperature": [1, 4], "training.optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True, "steps": 3}})
    assert spec.trials == 6
    assert spec.grid() == [
        {"recipe.temperature": t, "training.optimizer.lr": lr} for t in (1, 4) for lr in (1e-4, pytest.approx(1e-3), 1e-2)
    ]


def test_values_go_where_their_field_says_and_nowhere_else() -> None:
    job = {**JOB, "objective": [{"loss": "kl"}, {"loss": "cross_entropy"}]}
    spec = sweep(
        job=job,
        space={"recipe.temperature": [2], "training.optimizer.lr": [0.1], "objective.1.weight": [0.5], "student": [{"arch": "mlp"}]},
    )
    (values,) = spec.grid()
    filled = spec.filled(values)
    assert filled["recipe"] == {"name": "hinton", "temperature": 2}
    assert filled["training"] == {"optimizer": {"lr": 0.1}} and filled["student"] == {"arch": "mlp"}
    assert filled["objective"] == [{"loss": "kl"}, {"loss": "cross_entropy", "weight": 0.5}]
    assert spec.job == job, "the sweep's own job must stay as it was"
    assert label(values) == "temperature=2, lr=0.1, weight=0.5, student=mlp"


@pytest.mark.parametrize("field", ["objective.2.weight", "objective.first.weight", "kind.name", "objective.9", "objective." + "9" * 5000])
def test_a_field_that_leads_nowhere_is_named(field: str) -> None:
    spec = sweep(job={**JOB, "objective": [{"loss": "kl"}]}, space={field: [1]})
    with pytest.raises(InvalidSpec) as caught:
        spec.filled({field: 1})
    assert caught.value.param == f"space.{field}"


@pytest.mark.parametrize(
    ("changes", "param", "said"),
    [
        ({"space": {}}, "space", "at least 1 item"),
        ({"space": {"recipe.temperature": []}}, "space.recipe.temperature", "at least 1 item"),
        ({"space": {"recipe.temperature": 4}}, "space.recipe.temperature", "valid list"),
        ({"space": {"a": list(range(100)), "b": list(range(100))}}, "space", "10,000 combinations; at most 1,000"),
        ({"space": {"a": {"low": 1, "high": 2}}}, "space.a.steps", "how many values"),
        ({"space": {"a": {"low": 2, "high": 1, "steps": 3}}}, "space.a.high", "1 is not above `low` (2)"),
        ({"space": {"a": {"low": 0, "high": 1, "log": True, "steps": 3}}}, "space.a.low", "above 0"),
        ({"space": {"a": {"low": 0.5, "high": 3, "integer": True, "steps": 3}}}, "space.a.integer", "whole ends"),
        ({"space": {"a": {"low": 1, "hihg": 2}}}, "space.a.hihg", "not known"),
        ({"search": "bayes"}, "search.name", "grid, random, tpe"),
        ({"search": "random"}, "search.trials", "required"),
        ({"search": {"name": "random", "trials": 10**6}}, "search.trials", "1000"),
        ({"halving": {"factor": 1}}, "halving.factor", "2"),
        ({"metric": "speed"}, "metric", "accuracy, loss, perplexity"),
        ({"jobs": []}, "jobs", "not known"),
        ({"space": {"recipe": ["hinton"], "recipe.temperature": [1, 4]}}, "space.recipe.temperature", "vary one of them"),
        ({"job": {**JOB, "training": {"optimizer": {"lr": float("nan")}}}}, "job", "not finite"),
        ({"job": {**JOB, "metadata": DEEP}}, "job", "more than 50 deep"),
        ({"job": {**JOB, "priority": 10**5000}}, "job", "too large"),
        ({"space": {"a": [10**5000]}}, "space", "too large"),
        ({"space": {"a": {"low": 0, "high": 10**400}}, "search": {"name": "random", "trials": 2}}, "space.a.high", "1e+150"),
        ({"space": {"a": {"low": -1.7e308, "high": 1.7e308}}, "search": {"name": "tpe", "trials": 2}}, "space.a.low", "1e+150"),
        ({"space": {"a": TWICE, "b": TWICE}, "search": {"name": "tpe", "trials": 2}}, "space", "1,002 values to choose from"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(changes: dict[str, Any], param: str, said: str) -> None:
    error = refused(**changes)
    assert error.param == param and said in error.detail, (error.param, error.detail)


def test_rungs_are_powers_of_the_factor_below_the_end() -> None:
    assert Halving().rungs(27) == [1, 3, 9]
    assert Halving(first_epochs=2, factor=2).rungs(16) == [2, 4, 8]
    assert Halving(first_epochs=5).rungs(5) == []


def test_rounding_never_leaves_the_range() -> None:
    tight = Range(low=0.123456, high=0.123457)
    assert {tight.rounded(value) for value in (0.123456, 0.1234562, 0.123457)} <= {tight.low, tight.high}
    assert Range(low=1e-5, high=1).rounded(0.00123456) == 0.001235
    assert Range(low=1, high=9, integer=True).points(9) == list(range(1, 10))
    assert Range(low=1, high=3, integer=True).points(9) == [1, 2, 3]


def test_the_frontier_is_what_nothing_smaller_beats() -> None:
    points = [Point(1, 0.9, 100), Point(2, 0.8, 100), Point(3, 0.95, 300), Point(4, 0.95, 400), Point(5, 0.5, 50), Point(6, 0.99, None)]
    assert frontier(points, higher_is_better=True) == [5, 1, 3]
    assert frontier(points, higher_is_better=False) == [5]
    assert frontier([], higher_is_better=True) == []
