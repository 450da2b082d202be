"""Values of a wrong kind or outside their range are refused where they stand."""

from typing import Any

import pytest
from contract_specs import DISTILL, base, put, refusal, refused

from contract.check import parse_spec

INTEGERS = [
    "priority", "training.epochs", "training.batch_size", "training.seed", "training.keep.last", "training.keep.best",
    "training.early_stopping.patience", "evaluation.seeds", "data.max_train_samples", "student.hidden.0",
]  # fmt: skip
NUMBERS = [
    "data.validation", "training.optimizer.lr", "training.optimizer.weight_decay", "training.optimizer.momentum",
    "training.schedule.warmup", "training.clip_norm", "training.checkpoint_every_seconds", "training.early_stopping.min_delta",
    "student.dropout", "recipe.temperature", "recipe.alpha", "objective.0.weight", "objective.0.temperature",
    "objective.0.label_smoothing",
]  # fmt: skip
WORDS = [
    "kind", "task", "name", "data.train.dataset", "data.train.path", "data.train.split", "data.train.columns.label",
    "data.train.columns.features.0",
    "teacher.job", "teacher.model", "teacher.path", "student.arch", "recipe.name", "objective.0.loss", "training.optimizer.name",
    "training.schedule.name", "training.precision", "training.early_stopping.metric", "metadata.a",
]  # fmt: skip
FLAGS = ["evaluation.control", "objective.0.t_squared"]
LISTS = ["student.hidden", "objective", "data.train.columns.features"]
MAPPINGS = [
    "data", "teacher", "student", "training", "training.optimizer", "training.schedule", "training.keep",
    "training.early_stopping", "evaluation", "metadata", "data.train.columns", "objective.0",
]  # fmt: skip
NULL_IS_ABSENCE = {
    "name", "data.validation", "data.max_train_samples", "training.optimizer.momentum", "training.clip_norm", "training.early_stopping",
    "data.train.split", "data.train.columns.label", "data.train.columns.features", "objective",
}  # fmt: skip


def cases(paths: list[str], values: list[Any]) -> list[Any]:
    return [pytest.param(path, value, id=f"{path}={str(value)[:12]!r}") for path in paths for value in values]


HUGE = 10**400  # more than a float holds
NOT_INTEGERS = ["3", "three", True, 3.5, 1e400, float("nan"), HUGE, -HUGE, [3], {"value": 3}]
NOT_NUMBERS = ["0.5", "half", True, float("nan"), float("inf"), float("-inf"), -0.1, 1e30, HUGE, [0.5], {"value": 0.5}]
NOT_WORDS = [5, True, 0.5, ["digits"], {"name": "digits"}, "\ud800", ""]
ANY_WORD = ["data.train.columns.label", "data.train.columns.features.0"]  # compared with the columns there are, later


WRONG_KINDS = [
    *cases(INTEGERS, NOT_INTEGERS),
    *cases(NUMBERS, NOT_NUMBERS),
    *cases([path for path in WORDS if path not in (*ANY_WORD, "metadata.a")], NOT_WORDS),
    *cases(["metadata.a"], NOT_WORDS[:-1]),
    *cases(ANY_WORD, NOT_WORDS[:-2]),
    *cases(FLAGS, ["yes", "true", 1, 0, 0.0, [], {}]),
    *cases(LISTS, [4, "4", {"0": 4}, True, []]),
    *cases(MAPPINGS, [5, True, "fast", ["a"]]),
    *cases(sorted({*INTEGERS, *NUMBERS, *FLAGS, *LISTS, *MAPPINGS} - NULL_IS_ABSENCE - {"teacher"}), [None]),
]


@pytest.mark.parametrize(("path", "value"), WRONG_KINDS)
def test_a_value_of_a_wrong_kind_is_refused_where_it_stands(path, value):
    """Strictly: "3" is no number and true no count. What is guessed here trains for hours on a guess."""
    error = refusal(put(base(path), path, value))
    named = error.param or ""
    # A list where one word is wanted may be blamed as a whole or by what is in it.
    assert named == path or (isinstance(value, list | dict) and named.startswith(f"{path}.")), (named, error.detail)
    assert error.code in ("invalid_spec", "unknown_field")
    if named == path:
        assert error.errors[0].pointer == "/" + path.replace(".", "/")


@pytest.mark.parametrize("path", sorted(NULL_IS_ABSENCE))
def test_null_where_a_field_may_be_absent_means_absent(path):
    parse_spec(put(base(path), path, None))


OUTSIDE = [
    ("priority", -1001), ("priority", 1001), ("training.epochs", 0), ("training.epochs", -1), ("training.epochs", 1_000_001),
    ("training.batch_size", 0), ("training.batch_size", 1_048_577), ("training.seed", -1), ("training.seed", 2**31),
    ("training.optimizer.lr", 0), ("training.optimizer.lr", -1e-3), ("training.optimizer.momentum", 1), ("training.clip_norm", 0),
    ("training.schedule.warmup", -1), ("training.keep.last", 0), ("training.keep.best", -1), ("training.checkpoint_every_seconds", 86_401),
    ("training.early_stopping.patience", 0), ("evaluation.seeds", 0), ("evaluation.seeds", 101),
    ("data.validation", 1), ("data.validation", -0.01), ("data.max_train_samples", 0), ("data.max_train_samples", 10**9 + 1),
    ("recipe.temperature", 0), ("recipe.temperature", 1001), ("recipe.alpha", 1.01), ("objective.0.weight", -1),
    ("objective.0.weight", 1e7),
    ("objective.0.label_smoothing", 1), ("student.hidden.0", 0), ("student.hidden.0", 16_385), ("student.dropout", 1),
    ("student.hidden", [4] * 65), ("version", 0), ("version", 2), ("name", "x" * 101), ("name", "a\nb"), ("name", "a\x00b"),
    ("metadata.a", "x" * 513), ("teacher.job", "job_1"), ("teacher.job", "@"), ("teacher.job", "@a b"), ("teacher.job", "mdl_" + "0" * 32),
    ("teacher.job", "job_" + "0" * 33), ("teacher.job", "job_" + "G" * 32), ("data.train.dataset", "../digits"),
    ("data.train.dataset", "Digits"),
    ("data.train.path", "x" * 4097), ("data.train.split", "x" * 65),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), OUTSIDE, ids=[f"{path}={str(value)[:12]!r}" for path, value in OUTSIDE])
def test_a_value_outside_its_range_is_refused_where_it_stands(path, value):
    refused(put(base(path), path, value), path)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("teacher.job", "JOB", "teacher.job: 'JOB' is neither a job's id"),
        ("teacher.model", "mdl_1", "teacher.model: 'mdl_1' is no model's id"),
        ("teacher.hub", "../x", "teacher.hub: '../x' is no repository"),
        ("data.train", "My Rows", "data.train: 'My Rows' is neither a dataset's id"),
    ],
)
def test_ids_that_are_none_are_told_in_words(path: str, value: str, said: str) -> None:
    spec = {**DISTILL, "teacher": {}} if path.startswith("teacher") else DISTILL
    assert refusal(put(spec, path, value)).detail.startswith(said)
