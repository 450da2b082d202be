"""POST /v1/jobs and its sisters: what is accepted, and what the answer holds."""

from typing import Any

import pytest
import yaml
from real_service import Api
from worker_hand import npz

from models.service import Worker


def test_a_job_is_accepted_with_its_whole_view(api: Api, train: dict[str, Any]) -> None:
    response = api.post("/v1/jobs", {**train, "priority": 3, "metadata": {"team": "a"}})
    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["id"].startswith("job_") and job["object"] == "job"
    assert (job["kind"], job["name"], job["status"], job["priority"]) == ("train", "teacher", "queued", 3)
    assert job["spec"] == {**train, "priority": 3, "metadata": {"team": "a"}}
    assert job["resolved_spec"]["training"]["optimizer"] == {"name": "adam", "lr": 1e-3, "weight_decay": 0.0, "momentum": None}
    assert job["resolved_spec"]["objective"] == [{"loss": "cross_entropy", "weight": 1.0, "label_smoothing": 0.0}]
    assert job["created_at"].endswith("Z") and job["queued_at"].endswith("Z")
    assert job["started_at"] is job["finished_at"] is job["report"] is job["model"] is job["error"] is None
    assert job["progress"]["step"] is None and job["latest"] == {} and job["depends_on"] == [] and job["attempt"] == 0
    assert api.get(response.headers["location"]).json() == job


def test_yaml_is_read_too(api: Api, distill: dict[str, Any], train: dict[str, Any]) -> None:
    teacher = api.submit(train)
    text = yaml.safe_dump({**distill, "teacher": {"job": teacher["id"]}}) + "training: {optimizer: {lr: 5e-3}}\n"
    response = api.http.post("/v1/jobs", content=text, headers={"Content-Type": "application/yaml; charset=utf-8"})
    assert response.status_code == 202, response.text
    assert response.json()["resolved_spec"]["training"]["optimizer"]["lr"] == 5e-3


def test_a_name_is_made_where_none_is_given(api: Api, train: dict[str, Any]) -> None:
    del train["name"]
    assert api.submit(train)["name"] == "train-mlp"


def test_a_recipe_is_expanded(api: Api, distill: dict[str, Any], train: dict[str, Any]) -> None:
    teacher = api.submit(train)
    job = api.submit({**distill, "teacher": {"job": teacher["id"]}})
    assert job["spec"]["recipe"]["name"] == "hinton" and job["resolved_spec"]["recipe"] is None
    assert [term["loss"] for term in job["resolved_spec"]["objective"]] == ["kl", "cross_entropy"]


def test_a_job_waits_for_an_unfinished_teacher(api: Api, distill: dict[str, Any], train: dict[str, Any]) -> None:
    teacher = api.submit(train)
    job = api.submit({**distill, "teacher": {"job": teacher["id"]}})
    assert job["status"] == "waiting" and job["depends_on"] == [teacher["id"]]
    api.hand.done(teacher["id"])
    assert api.get(f"/v1/jobs/{job['id']}").json()["status"] == "queued"
    assert api.submit({**distill, "teacher": {"job": teacher["id"]}})["status"] == "queued"


@pytest.mark.parametrize("ending", ["failed", "cancelled"])
def test_a_teacher_without_a_model_is_refused(api: Api, distill: dict[str, Any], train: dict[str, Any], ending: str) -> None:
    teacher = api.submit(train)
    if ending == "failed":
        api.hand.fail(teacher["id"])
    else:
        api.post(f"/v1/jobs/{teacher['id']}/cancel")
    body = api.refused(api.post("/v1/jobs", {**distill, "teacher": {"job": teacher["id"]}}), 422, "dependency_failed", "teacher.job")
    assert teacher["id"] in body["detail"]


def test_an_evaluate_job_measures_but_teaches_nobody(api: Api, distill: dict[str, Any], train: dict[str, Any]) -> None:
    trained = api.submit(train)
    evaluate = api.submit({"kind": "evaluate", "task": train["task"], "data": train["data"], "student": {"job": trained["id"]}})
    assert evaluate["name"] == "evaluate-model" and evaluate["resolved_spec"]["objective"] is None
    api.refused(api.post("/v1/jobs", {**distill, "teacher": {"job": evaluate["id"]}}), 422, "does_not_fit", "teacher.job")


def test_an_export_waits_for_its_student_and_says_what_it_will_write(api: Api, train: dict[str, Any]) -> None:
    trained = api.submit(train)
    asked = {"kind": "export", "task": train["task"], "data": train["data"], "student": {"job": trained["id"]}}
    export = api.submit(asked)
    assert export["status"] == "waiting" and export["depends_on"] == [trained["id"]] and export["name"] == "export-model"
    assert export["resolved_spec"]["export"] == {"format": "onnx", "quantize": "int8", "tolerance": 0.001}
    said = api.post("/v1/jobs/validate", asked).json()
    assert said["valid"] and said["estimate"]["steps"] == 0
    api.hand.done(trained["id"])
    assert api.get(f"/v1/jobs/{export['id']}").json()["status"] == "queued"
    table = {**asked, "task": "tabular-classification"}
    api.refused(api.post("/v1/jobs", {**table, "student": {"job": export["id"]}}), 422, "does_not_fit", "student")


def test_adapters_are_for_transformers_and_the_door_knows_which_are(api: Api) -> None:
    texts = {"kind": "train", "task": "text-classification", "data": {"train": "docstrings"}}
    small, large = (api.submit({**texts, "student": {"arch": arch}})["id"] for arch in ("bilstm", "bert"))
    body = api.refused(api.post("/v1/jobs", {**texts, "student": {"job": small, "lora": {}}}), 422, "does_not_fit", "student.lora")
    assert "bilstm" in body["detail"]
    adapted = api.submit({**texts, "student": {"job": large, "lora": {"rank": 4}}})
    assert adapted["resolved_spec"]["student"]["lora"] == {"rank": 4, "alpha": 16.0, "dropout": 0.0, "targets": None}
    assert "lora" not in api.submit({**texts, "student": {"job": large}})["resolved_spec"]["student"]


def test_a_registered_model_teaches(api: Api, distill: dict[str, Any], train: dict[str, Any]) -> None:
    trained = api.submit(train)
    api.hand.done(trained["id"])
    model = api.get(f"/v1/jobs/{trained['id']}").json()["model"]
    job = api.submit({**distill, "teacher": {"model": model}})
    assert job["status"] == "queued" and job["depends_on"] == []
    api.refused(api.http.delete(f"/v1/models/{model}"), 409, "in_use")
    api.refused(api.http.delete(f"/v1/jobs/{trained['id']}"), 409, "in_use")


def test_a_deleted_model_is_missed(api: Api, distill: dict[str, Any], train: dict[str, Any]) -> None:
    trained = api.submit(train)
    api.hand.done(trained["id"])
    model = api.get(f"/v1/jobs/{trained['id']}").json()["model"]
    assert api.http.delete(f"/v1/models/{model}").status_code == 204
    assert api.get(f"/v1/jobs/{trained['id']}").json()["model"] is None
    api.refused(api.post("/v1/jobs", {**distill, "teacher": {"job": trained["id"]}}), 422, "model_not_found", "teacher.job")
    api.refused(api.post("/v1/jobs", {**distill, "teacher": {"model": model}}), 422, "model_not_found", "teacher.model")


def test_an_uploaded_dataset_trains(api: Api) -> None:
    import numpy as np

    archive = npz(
        x_train=np.zeros((20, 8, 8), np.uint8), y_train=np.arange(20) % 3, x_test=np.zeros((6, 8, 8), np.uint8), y_test=np.arange(6) % 3
    )
    dataset = api.http.post("/v1/datasets", files={"file": ("rows.npz", archive)}).json()
    spec = {"kind": "train", "task": "image-classification", "data": {"train": dataset["id"]}, "student": {"arch": "cnn"}}
    job = api.submit(spec)
    assert job["resolved_spec"]["data"]["train"]["dataset"] == dataset["id"]
    estimate = api.post("/v1/jobs/validate", spec).json()["estimate"]
    assert estimate["train_rows"] == 20 and estimate["test_rows"] == 6 and estimate["steps"] == 10
    refusal = api.post("/v1/jobs", {**spec, "data": {"train": dataset["id"], "test": "digits"}})
    api.refused(refusal, 422, "does_not_fit", "data.test")


def test_a_table_has_one_split(api: Api) -> None:
    rows = "a,b,label\n" + "".join(f"{i},{i * 2},{'x' if i % 2 else 'y'}\n" for i in range(20))
    dataset = api.http.post("/v1/datasets", files={"file": ("rows.csv", rows)}).json()
    spec: dict[str, Any] = {
        "kind": "train",
        "task": "tabular-classification",
        "data": {"train": dataset["id"]},
        "student": {"arch": "logistic"},
    }
    body = api.refused(api.post("/v1/jobs", spec), 422, "invalid_spec", "data.test")
    assert "nothing to measure on" in body["detail"] and "data.validation" in body["hint"]
    spec["data"] = {"train": dataset["id"], "test": dataset["id"]}
    body = api.refused(api.post("/v1/jobs", spec), 422, "does_not_fit", "data.test")
    assert "it has train" in body["detail"]
    spec["data"] = {"train": {"dataset": dataset["id"], "split": "dev"}, "validation": 0.5}
    api.refused(api.post("/v1/jobs", spec), 422, "does_not_fit", "data.train.split")
    spec["data"] = {"train": dataset["id"], "validation": 0.25}
    assert api.submit(spec)["status"] == "queued"
    assert api.post("/v1/jobs/validate", spec).json()["estimate"]["train_rows"] == 15
    spec["data"] = {"train": dataset["id"], "validation": 0.9, "max_train_samples": 1}
    api.refused(api.post("/v1/jobs", spec), 422, "invalid_spec", "data.validation")
    for columns, param in [({"label": "c"}, "data.train.columns.label"), ({"features": ["a", "zz"]}, "data.train.columns.features.1")]:
        spec["data"] = {"train": {"dataset": dataset["id"], "columns": columns}, "validation": 0.25}
        api.refused(api.post("/v1/jobs", spec), 422, "does_not_fit", param)


def test_warnings_are_told_and_kept(api: Api, train: dict[str, Any]) -> None:
    train["data"] = {"train": "digits", "test": {"dataset": "digits", "split": "train"}, "max_train_samples": 5000}
    job = api.submit(train)
    assert [warning.split(":")[0] for warning in job["warnings"]] == ["data.test", "data.max_train_samples"]
    teacher = api.submit({**train, "data": {"train": "digits"}})
    told = api.post(
        "/v1/jobs/validate", {**train, "kind": "distill", "data": {"train": "digits"}, "teacher": {"job": teacher["id"]}}
    ).json()
    assert told["warnings"][0].startswith("student: with 2,410 parameters it is no smaller")


def test_a_trace_is_carried_along(api: Api, train: dict[str, Any]) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    job = api.submit(train, headers={"traceparent": trace})
    assert api.hand.claim(job["id"]).traceparent == trace
    named = api.submit(train, headers={"X-Request-Id": "order-4711"})
    assert api.hand.claim(named["id"]).request_id == "order-4711"
    odd = api.submit(train, headers={"traceparent": "nonsense"})
    assert api.hand.claim(odd["id"]).traceparent is None


def test_validate_says_what_submitting_would(api: Api, train: dict[str, Any]) -> None:
    before = api.state()
    good = api.post("/v1/jobs/validate", {**train, "data": {"train": "digits", "validation": 0.1, "max_train_samples": 800}}).json()
    assert good["valid"] is True and good["errors"] == [] and good["resolved_spec"]["training"]["epochs"] == 10
    told = {"parameters": {"student": 2410}, "train_rows": 720, "validation_rows": 80, "test_rows": 360, "steps": 120, "runs": 1}
    assert told.items() <= good["estimate"].items()
    for wrong, pointer in [
        ({**train, "epohcs": 3}, "/epohcs"),
        ({**train, "data": {"train": "nothing"}}, "/data/train"),
        ({**train, "kind": "distill", "teacher": {"job": "job_" + "0" * 32}}, "/teacher/job"),
        ({**train, "data": {"train": "digits", "validation": 0.9999}}, "/data/validation"),
        ([train], ""),
    ]:
        response = api.post("/v1/jobs/validate", wrong)
        assert response.status_code == 200, response.text
        verdict = response.json()
        assert verdict["valid"] is False and verdict["errors"][0]["pointer"] == pointer, verdict
        assert verdict["resolved_spec"] is verdict["estimate"] is None
    two = api.post("/v1/jobs/validate", {**train, "priority": "high", "training": {"epochs": -1}}).json()
    assert {error["pointer"] for error in two["errors"]} == {"/priority", "/training/epochs"}
    api.refused(api.http.post("/v1/jobs/validate", content=b"{", headers={"Content-Type": "application/json"}), 400, "malformed_body")
    assert api.state() == before


def test_changes_of_a_job(api: Api, train: dict[str, Any]) -> None:
    path = f"/v1/jobs/{api.submit({**train, 'metadata': {'a': '1'}})['id']}"
    changed = api.http.patch(path, json={"name": "new", "priority": 7}).json()
    assert (changed["name"], changed["priority"], changed["metadata"]) == ("new", 7, {"a": "1"})
    assert api.http.patch(path, json={"metadata": {"b": "2"}}).json()["metadata"] == {"b": "2"}
    assert api.http.patch(path, json={}).json()["name"] == "new"
    for wrong, code, param in [
        ({"status": "succeeded"}, "unknown_field", "status"),
        ({"prioriti": 1}, "unknown_field", "prioriti"),
        ({"name": None}, "invalid_spec", "name"),
        ({"name": "two\nlines"}, "invalid_spec", "name"),
        ({"priority": 10_000}, "invalid_spec", "priority"),
        ({"priority": "1"}, "invalid_spec", "priority"),
        ({"metadata": {"a": 1}}, "invalid_spec", "metadata.a"),
        ({"metadata": {str(i): "" for i in range(17)}}, "invalid_spec", "metadata"),
    ]:
        api.refused(api.http.patch(path, json=wrong), 422, code, param)
    api.post(f"{path}/cancel")
    assert api.http.patch(path, json={"name": "ended", "metadata": {}}).json()["name"] == "ended"
    api.refused(api.http.patch(path, json={"priority": 1}), 409, "invalid_transition", "priority")


def test_several_teachers_are_waited_for_and_kept(api: Api, train: dict[str, Any], distill: dict[str, Any]) -> None:
    first, second = (api.submit({**train, "name": name}) for name in ("first", "second"))
    job = api.submit({**distill, "teacher": {"ensemble": [{"job": first["id"]}, {"job": second["id"]}], "weights": "entropy"}})
    assert sorted(job["depends_on"]) == sorted([first["id"], second["id"]]) and job["status"] == "waiting"
    api.hand.done(first["id"])
    assert api.get(f"/v1/jobs/{job['id']}").json()["status"] == "waiting"
    api.hand.done(second["id"])
    assert api.get(f"/v1/jobs/{job['id']}").json()["status"] == "queued"
    wrong = api.post("/v1/jobs", {**distill, "teacher": {"ensemble": [{"job": first["id"]}, {"job": "job_" + "0" * 32}]}})
    assert wrong.status_code == 422 and wrong.json()["param"] == "teacher.ensemble.1.job", wrong.text


def test_the_longest_names_of_runs_fit(api: Api, train: dict[str, Any], distill: dict[str, Any]) -> None:
    teacher = api.submit(train)
    evaluation = {"control": True, "compare": ["attention_transfer", "attention_transfer"], "seeds": 2}
    training = {**distill.get("training", {}), "seed": 2_000_000_000}
    student = {"arch": "cnn", "channels": [4], "hidden": 8}
    sent = {
        **distill,
        "name": "n" * 100,
        "teacher": {"job": teacher["id"]},
        "student": student,
        "evaluation": evaluation,
        "training": training,
    }
    job = api.submit(sent)
    names = [run["name"] for run in api.get("/v1/jobs", params={"parent": job["id"]}).json()["data"]]
    assert len(names) == 8 and max(map(len, names)) <= 100


def test_a_tracker_that_no_worker_has_is_refused_where_that_is_known(api: Api, train: dict[str, Any]) -> None:
    spec = {**train, "report_to": ["tensorboard", "mlflow"]}
    api.submit(spec)  # no worker has said anything
    api.hand.report_in("wrk_one")
    with api.running.database.write() as session:
        session.get_one(Worker, "wrk_one").trackers = ["tensorboard"]
    problem = api.refused(api.post("/v1/jobs", spec), 422, "invalid_spec", "report_to.1")
    assert "no worker here can mirror to mlflow" in problem["detail"] and "POTSTILL_MLFLOW_TRACKING_URI" in problem["hint"]
    api.submit({**train, "report_to": ["tensorboard"]})
    api.hand.report_in("wrk_two")
    with api.running.database.write() as session:
        session.get_one(Worker, "wrk_two").trackers = ["mlflow"]
    api.submit(spec)
