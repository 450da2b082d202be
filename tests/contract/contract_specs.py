"""Specs to start from and a way to spoil them."""

from copy import deepcopy
from itertools import pairwise
from typing import Any

import pytest

from contract.check import parse_spec
from contract.errors import InvalidSpec

TEACHER = {"job": "job_" + "0123456789abcdef" * 2}

TRAIN: dict[str, Any] = {
    "kind": "train",
    "task": "image-classification",
    "data": {"train": "digits"},
    "student": {"arch": "mlp", "hidden": [32]},
}
DISTILL: dict[str, Any] = {**TRAIN, "kind": "distill", "teacher": TEACHER, "student": {"arch": "mlp", "hidden": [4]}}
EVALUATE: dict[str, Any] = {**TRAIN, "kind": "evaluate", "student": TEACHER}
EXPORT: dict[str, Any] = {**EVALUATE, "kind": "export"}


def put(spec: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of the spec with `value` at the dotted path; parents that are missing are made, as lists where a number follows."""
    spec = deepcopy(spec)
    place: Any = spec
    parts: list[str | int] = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part, following in pairwise(parts):
        if isinstance(place, list):
            place = place[part]
        else:
            if not isinstance(place.get(part), dict | list):
                place[part] = [{}] if isinstance(following, int) else {}
            place = place[part]
    place[parts[-1]] = value
    return spec


def refusal(value: Any) -> InvalidSpec:
    """How the value is refused; what every refusal of a spec has is checked on the way."""
    with pytest.raises(InvalidSpec) as caught:
        parse_spec(value)
    error = caught.value
    assert error.status == 422
    assert error.detail
    assert error.code in ("invalid_spec", "unknown_field", "conflicting_fields")
    error.problem("/v1/jobs", "req_1").model_dump_json()  # whatever was sent, the answer can be written down
    return error


def refused(value: Any, param: str, code: str = "invalid_spec", hint: str = "") -> InvalidSpec:
    """The refusal names `param` as it stands in the YAML, points at the same place, and its hint holds `hint`."""
    error = refusal(value)
    assert (error.param, error.code) == (param, code), error.detail
    assert error.errors[0].pointer == "/" + param.replace(".", "/")
    assert error.detail == f"{param}: {error.errors[0].message}"
    assert hint in (error.hint or ""), error.hint
    return error


SGD = put(TRAIN, "training.optimizer", {"name": "sgd"})
STOPPING = put(put(TRAIN, "data.validation", 0.1), "training.early_stopping", {})
WITH = {  # what has to stand beside a field for it to be the only thing wrong
    "student.dropout": put(TRAIN, "student", {"arch": "mlp", "hidden": [4]}),
    "objective.0.temperature": put(DISTILL, "objective", [{"loss": "kl"}]),
    "objective.0.label_smoothing": put(DISTILL, "objective", [{"loss": "cross_entropy"}]),
    "objective.0.t_squared": put(DISTILL, "objective", [{"loss": "soft_cross_entropy"}]),
    "objective.0.weight": put(DISTILL, "objective", [{"loss": "kl"}]),
    "objective.0": put(DISTILL, "objective", [{"loss": "kl"}]),
    "objective.0.loss": put(DISTILL, "objective", [{"loss": "kl"}]),
    "recipe.temperature": put(DISTILL, "recipe", {"name": "hinton"}),
    "recipe.alpha": put(DISTILL, "recipe", {"name": "hinton"}),
    "training.optimizer.momentum": SGD,
    "data.train.columns.features.0": put(TRAIN, "data.train", {"dataset": "digits", "columns": {"features": ["a"]}}),
}


def base(path: str) -> dict[str, Any]:
    """A good spec in which the field at `path` can be set, and will be the only thing wrong."""
    if path in WITH:
        return WITH[path]
    if path.startswith("training.early_stopping."):
        return STOPPING
    if path.startswith("data.train."):
        return put(TRAIN, "data.train", {"dataset": "digits"})
    return DISTILL if path.startswith(("teacher", "recipe", "evaluation")) else TRAIN
