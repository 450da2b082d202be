"""Several tasks at the door: each task is looked at as a job of its own, and errors name it."""

import json
from typing import Any

import pytest
from real_service import Api
from test_api_texts import CONFIG, PAIRS, ROWS, add, push

STUDENT = {"arch": "bilstm"}


@pytest.fixture
def data(api: Api) -> dict[str, Any]:
    """20 texts with two classes, and 20 pairs with other names of columns."""
    claims = {"dataset": add(api, PAIRS), "columns": {"text": "premise", "text_pair": "claim"}}
    return {"train": {"tasks": {"mood": add(api), "claims": claims}}, "validation": 0.1}


def spec(data: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"kind": "train", "task": "text-classification", "data": data, "student": STUDENT, **changes}


def alone(data: dict[str, Any], task: str, **changes: Any) -> dict[str, Any]:
    return spec({**data, "train": data["train"]["tasks"][task]}, **changes)


def test_rows_of_all_tasks_are_counted(api: Api, data: dict[str, Any]) -> None:
    found = api.post("/v1/jobs/validate", spec(data, training={"batch_size": 8})).json()
    assert found["valid"], found
    assert {name: found["estimate"][name] for name in ("train_rows", "validation_rows", "test_rows")} == {
        "train_rows": 36,
        "validation_rows": 4,
        "test_rows": 4,
    }
    assert found["estimate"]["steps"] == 10 * 5 and [said.split(":")[0] for said in found["warnings"]] == ["data.validation"]
    assert list(found["resolved_spec"]["data"]["train"]["tasks"]) == ["claims", "mood"]
    few = api.post("/v1/jobs/validate", spec({**data, "max_train_samples": 30})).json()
    assert few["warnings"][0].startswith("data.train.tasks.claims: data.max_train_samples: there are only 20 rows")
    assert "training.batch_size: there are only 36 rows; every epoch is one step." in few["warnings"]


@pytest.mark.parametrize(
    ("change", "param", "said"),
    [
        ({"claims": {"columns": {}}}, "data.train.tasks.claims.columns.text", "which column holds the text?"),
        ({"claims": {"columns": {"text": "premise", "label": "stars"}}}, "data.train.tasks.claims.columns.label", "no column 'stars'"),
        ({"mood": {"dataset": "ds_" + "0" * 32}}, "data.train.tasks.mood", "there is no dataset"),
        ({"mood": {"split": "dev"}}, "data.train.tasks.mood.split", "has no split 'dev'"),
        ({"mood": {"path": "x", "dataset": None}}, "data.train.tasks.mood.path", "a path means nothing to a service"),
    ],
    ids=str,
)
def test_what_is_wrong_with_one_source_names_its_task(
    api: Api, data: dict[str, Any], change: dict[str, Any], param: str, said: str
) -> None:
    tasks = data["train"]["tasks"]
    whole = {"mood": {"dataset": tasks["mood"]}, "claims": tasks["claims"]}
    whole |= {name: {key: value for key, value in (whole[name] | more).items() if value is not None} for name, more in change.items()}
    answer = api.post("/v1/jobs", spec({**data, "train": {"tasks": whole}}))
    assert answer.status_code == 422 and answer.json()["param"] == param, answer.text
    assert answer.json()["detail"].startswith(f"{param}: ") and said in answer.json()["detail"]


def test_without_rows_to_measure_on_the_task_is_named(api: Api, data: dict[str, Any]) -> None:
    found = api.refused(api.post("/v1/jobs", spec({"train": data["train"]})), 422, "invalid_spec", "data.test.tasks.claims")
    assert "there is nothing to measure on" in found["detail"]
    claims = {**data["train"]["tasks"]["claims"], "dataset": add(api, PAIRS.replace("row 1", "line 1"))}
    test = {"test": {"tasks": {"mood": add(api, ROWS.replace("good", "odd")), "claims": claims}}}
    found = api.refused(api.post("/v1/jobs", spec({**data, **test})), 422, "does_not_fit", "data.test.tasks.mood")
    assert "it has classes that data.train.tasks.mood lacks: odd" in found["detail"]


def test_each_task_waits_for_its_teacher(api: Api, data: dict[str, Any]) -> None:
    mood, claims = (api.submit(alone(data, name))["id"] for name in ("mood", "claims"))
    asked = spec(data, kind="distill", recipe="bam", teacher={"tasks": {"mood": {"job": mood}, "claims": {"job": claims}}})
    job = api.submit(asked)
    assert sorted(job["depends_on"]) == sorted([mood, claims])
    turned = {**asked, "teacher": {"tasks": {"mood": {"job": claims}, "claims": {"job": claims}}}}
    found = api.refused(api.post("/v1/jobs", turned), 422, "does_not_fit", "teacher.tasks.mood")
    assert "it knows 2 classes (0, 1); data.train.tasks.mood has 2 classes (bad, good)" in found["detail"]
    missing = {**asked, "teacher": {"tasks": {"mood": {"job": "job_" + "0" * 32}, "claims": {"job": claims}}}}
    api.refused(api.post("/v1/jobs", missing), 422, "job_not_found", "teacher.tasks.mood.job")


def test_the_rows_of_every_task_are_in_use(api: Api, data: dict[str, Any]) -> None:
    job, ids = api.submit(spec(data)), (data["train"]["tasks"]["mood"], data["train"]["tasks"]["claims"]["dataset"])
    for id_ in ids:
        api.refused(api.http.delete(f"/v1/datasets/{id_}"), 409, "in_use")
    api.post(f"/v1/jobs/{job['id']}/cancel")
    assert [api.http.delete(f"/v1/datasets/{id_}").status_code for id_ in ids] == [204, 204]


def test_a_model_that_teaches_a_task_is_in_use(api: Api, data: dict[str, Any]) -> None:
    named = {**CONFIG, "architectures": ["BertForSequenceClassification"], "id2label": {"0": "bad", "1": "good"}}
    model, claims = push(api, named).json()["id"], api.submit(alone(data, "claims"))["id"]
    several = {"ensemble": [{"model": model}, {"model": model}]}
    job = api.submit(spec(data, kind="distill", teacher={"tasks": {"mood": several, "claims": {"job": claims}}}))
    api.refused(api.http.delete(f"/v1/models/{model}"), 409, "in_use")
    api.post(f"/v1/jobs/{job['id']}/cancel")
    assert api.http.delete(f"/v1/models/{model}").status_code == 204


def test_a_job_of_the_same_tasks_teaches_all(api: Api, data: dict[str, Any]) -> None:
    first = api.submit(spec(data))["id"]
    taught = spec(data, kind="distill", teacher={"job": first}, recipe="mt_dnn_kd")
    assert api.post("/v1/jobs/validate", taught).json()["valid"]
    other = {**data, "train": {"tasks": {"moods": data["train"]["tasks"]["mood"], "claims": data["train"]["tasks"]["claims"]}}}
    found = api.refused(api.post("/v1/jobs", spec(other, kind="distill", teacher={"job": first})), 422, "does_not_fit", "teacher")
    assert "claims/0" in found["detail"] and "Name a teacher for each task" in found["hint"]


def test_teachers_are_named_inside_a_batch(api: Api, data: dict[str, Any]) -> None:
    teachers = [alone(data, name, name=f"of-{name}") for name in ("mood", "claims")]
    student = spec(data, kind="distill", recipe="bam", teacher={"tasks": {"mood": {"job": "@of-mood"}, "claims": {"job": "@of-claims"}}})
    answer = api.post("/v1/jobs/batch", {"jobs": [student, *teachers]})
    assert answer.status_code == 202, answer.text
    found, *before = answer.json()["data"]
    assert sorted(found["depends_on"]) == sorted(job["id"] for job in before)
    assert json.dumps(found["resolved_spec"]["teacher"]).count("job_") == 2
