"""Everything a person can get wrong in a spec: refused with the field, and nothing is left behind."""

import json
from copy import deepcopy
from typing import Any

import pytest
from real_service import Api

NOBODY = "0" * 32


def changed(spec: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    spec = deepcopy(spec)
    place: Any = spec
    *parents, last = path.split(".")
    for part in parents:
        place = place.setdefault(part, {})
    place[last] = value
    return spec


WRONG = [
    ("epohcs", 3, "unknown_field", "epohcs", ""),
    ("training.epohcs", 3, "unknown_field", "training.epohcs", "epochs"),
    ("training.optimizer.lrr", 0.1, "unknown_field", "training.optimizer.lrr", "lr"),
    ("student.hiden", [3], "unknown_field", "student.hiden", "hidden"),
    ("training.epochs", "3", "invalid_spec", "training.epochs", None),
    ("training.epochs", 3.5, "invalid_spec", "training.epochs", None),
    ("training.epochs", True, "invalid_spec", "training.epochs", None),
    ("training.epochs", None, "invalid_spec", "training.epochs", None),
    ("training.epochs", 0, "invalid_spec", "training.epochs", None),
    ("training.epochs", -5, "invalid_spec", "training.epochs", None),
    ("training.epochs", 10**30, "invalid_spec", "training.epochs", None),
    ("training.batch_size", 10**9, "invalid_spec", "training.batch_size", None),
    ("training.optimizer.lr", -1e-3, "invalid_spec", "training.optimizer.lr", None),
    ("training.optimizer.name", "adamm", "invalid_spec", "training.optimizer.name", "adam"),
    ("training.seed", -1, "invalid_spec", "training.seed", None),
    ("training", [], "invalid_spec", "training", None),
    ("training", "fast", "invalid_spec", "training", None),
    ("student.hidden", [], "invalid_spec", "student.hidden", None),
    ("student.hidden", [0], "invalid_spec", "student.hidden.0", None),
    ("student.hidden", [4, "x"], "invalid_spec", "student.hidden.1", None),
    ("student.arch", "mpl", "invalid_spec", "student.arch", "mlp"),
    ("student", {}, "invalid_spec", "student", None),
    ("student", None, "invalid_spec", "student", None),
    ("student", "mlp", "invalid_spec", "student", None),
    ("recipe.name", "hintn", "invalid_spec", "recipe.name", "hinton"),
    ("recipe.temperature", 0, "invalid_spec", "recipe.temperature", None),
    ("recipe.alpha", 1.5, "invalid_spec", "recipe.alpha", None),
    ("objective", [{"loss": "kl"}], "conflicting_fields", "objective", None),
    ("kind", "distil", "invalid_spec", "kind", "distill"),
    ("task", "image-clasification", "invalid_spec", "task", "image-classification"),
    ("version", 2, "invalid_spec", "version", None),
    ("name", "", "invalid_spec", "name", None),
    ("name", "x" * 101, "invalid_spec", "name", None),
    ("name", "a\u0000b", "invalid_spec", "name", None),
    ("priority", 10**6, "invalid_spec", "priority", None),
    ("metadata", {"a": 1}, "invalid_spec", "metadata.a", None),
    ("metadata", {str(i): "" for i in range(17)}, "invalid_spec", "metadata", None),
    ("metadata", {"a": "b\u0000c"}, "invalid_spec", "metadata.a", None),
    ("data.train", "digit", "dataset_not_found", "data.train", "digits"),
    ("data.train", "mnist-of-mine", "dataset_not_found", "data.train", None),
    ("data.train", f"ds_{NOBODY}", "dataset_not_found", "data.train", None),
    ("data.test", f"ds_{NOBODY}", "dataset_not_found", "data.test", None),
    ("data.train", "ds_123", "dataset_not_found", "data.train", None),
    ("data.train", "../secret", "invalid_spec", "data.train", None),
    ("data.train", {"path": "/etc/passwd"}, "invalid_spec", "data.train.path", "potstill run"),
    ("data.test", {"path": "rows.csv"}, "invalid_spec", "data.test.path", "potstill run"),
    ("data.train", {"dataset": "digits", "split": "dev"}, "does_not_fit", "data.train.split", "train, test"),
    ("data.train", {"dataset": "digits", "columns": {"label": "x"}}, "invalid_spec", "data.train.columns", None),
    ("data.train", {}, "invalid_spec", "data.train", None),
    ("data.validation", 1, "invalid_spec", "data.validation", None),
    ("data.validation", -0.1, "invalid_spec", "data.validation", None),
    ("data.max_train_samples", 0, "invalid_spec", "data.max_train_samples", None),
    ("data", {}, "invalid_spec", "data.train", None),
    ("data", None, "invalid_spec", "data", None),
    ("teacher", None, "invalid_spec", "teacher", None),
    ("teacher", {"job": f"job_{NOBODY}"}, "job_not_found", "teacher.job", None),
    ("teacher", {"job": "job_1"}, "invalid_spec", "teacher.job", None),
    ("teacher", {"job": "@assistant"}, "invalid_spec", "teacher.job", "batch"),
    ("teacher", {"model": f"mdl_{NOBODY}"}, "model_not_found", "teacher.model", None),
    ("teacher", {"path": "/models/x"}, "invalid_spec", "teacher.path", "potstill run"),
    ("teacher", {}, "invalid_spec", "teacher", None),
    ("teacher", {"job": f"job_{NOBODY}", "model": f"mdl_{NOBODY}"}, "invalid_spec", "teacher", None),
    ("student", {"job": f"job_{NOBODY}"}, "job_not_found", "student.job", None),
    ("student", {"path": "/models/x"}, "invalid_spec", "student.path", "potstill run"),
]


@pytest.mark.parametrize(
    ("path", "value", "code", "param", "hint"), WRONG, ids=[f"{path}={str(value)[:30]!r}" for path, value, *_ in WRONG]
)
def test_a_wrong_field_is_named_and_nothing_is_stored(
    api: Api, distill: dict[str, Any], train: dict[str, Any], path: str, value: Any, code: str, param: str, hint: str | None
) -> None:
    teacher = api.submit(train)
    before = api.state()
    body = api.refused(api.post("/v1/jobs", changed({**distill, "teacher": {"job": teacher["id"]}}, path, value)), 422, code, param)
    assert body["errors"] and body["errors"][0]["pointer"].startswith("/")
    if hint is not None:
        assert hint in (body["hint"] or "") + body["detail"]
    assert api.state() == before


def test_a_network_beyond_all_bounds(api: Api, train: dict[str, Any]) -> None:
    huge = {**train, "student": {"arch": "mlp", "hidden": [16384] * 64}}
    assert "parameters" in api.refused(api.post("/v1/jobs", huge), 422, "does_not_fit", "student")["detail"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e999"])
def test_numbers_that_are_none(api: Api, train: dict[str, Any], number: str) -> None:
    text = json.dumps(changed(train, "training.optimizer.lr", 123)).replace("123", number)
    response = api.http.post("/v1/jobs", content=text, headers={"Content-Type": "application/json"})
    api.refused(response, 422, "invalid_spec", "training.optimizer.lr")


def test_half_a_character(api: Api, train: dict[str, Any]) -> None:
    text = json.dumps({**train, "metadata": {"a": "\ud800"}})
    api.refused(api.http.post("/v1/jobs", content=text, headers={"Content-Type": "application/json"}), 422, "invalid_spec", "metadata.a")


def test_a_number_of_ten_thousand_digits(api: Api) -> None:
    response = api.http.post("/v1/jobs", content=b'{"priority": ' + b"9" * 10_000 + b"}", headers={"Content-Type": "application/json"})
    api.refused(response, 400, "malformed_body")


def test_a_control_arm_cannot_be_asked_for_yet(api: Api, train: dict[str, Any]) -> None:
    """Accepting what is not carried out would be worse."""
    api.refused(api.post("/v1/jobs", {**train, "evaluation": {"control": True}}), 422, "invalid_spec", "evaluation.control")


def test_parts_that_do_not_fit_each_other(api: Api, train: dict[str, Any]) -> None:
    import numpy as np
    from worker_hand import npz

    teacher = api.submit(train)
    waiting = {**train, "kind": "distill", "teacher": {"job": teacher["id"]}}
    three = npz(
        x_train=np.zeros((20, 8, 8), np.uint8), y_train=np.arange(20) % 3, x_test=np.zeros((6, 8, 8), np.uint8), y_test=np.arange(6) % 3
    )
    large = npz(
        x_train=np.zeros((20, 9, 9), np.uint8), y_train=np.arange(20) % 10, x_test=np.zeros((20, 9, 9), np.uint8), y_test=np.arange(20) % 10
    )
    classes, shape = (api.http.post("/v1/datasets", files={"file": ("rows.npz", one)}).json()["id"] for one in (three, large))
    for finished in (False, True):
        if finished:
            api.hand.done(teacher["id"])
        body = api.refused(api.post("/v1/jobs", {**waiting, "data": {"train": classes}}), 422, "does_not_fit", "teacher")
        assert "10 classes" in body["detail"] and "3 classes" in body["detail"]
        body = api.refused(api.post("/v1/jobs", {**waiting, "data": {"train": shape}}), 422, "does_not_fit", "teacher")
        assert "[1, 8, 8]" in body["detail"] and "[1, 9, 9]" in body["detail"]
        body = api.refused(api.post("/v1/jobs", {**waiting, "task": "tabular-classification"}), 422, "does_not_fit", "teacher")
    table = {**train, "task": "tabular-classification", "student": {"arch": "cnn"}}
    api.refused(api.post("/v1/jobs", table), 422, "does_not_fit", "student.arch")


def test_one_class_is_nothing_to_learn(api: Api) -> None:
    rows = "a,label\n" + "1,x\n" * 10
    dataset = api.http.post("/v1/datasets", files={"file": ("rows.csv", rows)}).json()["id"]
    spec = {
        "kind": "train",
        "task": "tabular-classification",
        "data": {"train": dataset, "validation": 0.2},
        "student": {"arch": "logistic"},
    }
    api.refused(api.post("/v1/jobs", spec), 422, "does_not_fit", "data.train")


def test_a_label_of_fractions_has_no_classes(api: Api) -> None:
    rows = "a,b,label\n" + "".join(f"{i}.5,{i}.25,{i % 2}\n" for i in range(10))
    dataset = api.http.post("/v1/datasets", files={"file": ("rows.csv", rows)}).json()["id"]
    data = {"train": {"dataset": dataset, "columns": {"label": "b"}}, "validation": 0.2}
    spec = {"kind": "train", "task": "tabular-classification", "data": data, "student": {"arch": "logistic"}}
    api.refused(api.post("/v1/jobs", spec), 422, "does_not_fit", "data.train.columns.label")
