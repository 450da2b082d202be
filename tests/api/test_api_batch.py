"""Several jobs at once: all or none, in any order, referring to each other by name."""

from typing import Any

import pytest
from real_service import Api


@pytest.fixture
def chain(train: dict[str, Any], distill: dict[str, Any]) -> list[dict[str, Any]]:
    """student ← assistant ← teacher, the last first."""
    return [
        {**distill, "name": "student", "teacher": {"job": "@assistant"}},
        {**distill, "name": "assistant", "student": {"arch": "mlp", "hidden": [16]}, "teacher": {"job": "@teacher"}},
        {**train, "name": "teacher"},
    ]


def test_members_find_each_other(api: Api, chain: list[dict[str, Any]]) -> None:
    answer = api.post("/v1/jobs/batch", {"jobs": chain})
    assert answer.status_code == 202, answer.text
    page = answer.json()
    assert page["object"] == "list" and page["has_more"] is False
    student, assistant, teacher = page["data"]
    assert [job["name"] for job in page["data"]] == ["student", "assistant", "teacher"]
    assert [job["status"] for job in page["data"]] == ["waiting", "waiting", "queued"]
    assert student["depends_on"] == [assistant["id"]] and assistant["depends_on"] == [teacher["id"]]
    assert student["spec"]["teacher"] == {"job": "@assistant"}
    assert student["resolved_spec"]["teacher"]["job"] == assistant["id"]
    assert page["first_id"] == student["id"] < assistant["id"] < teacher["id"] == page["last_id"]
    api.hand.done(teacher["id"])
    api.hand.done(assistant["id"])
    assert api.get(f"/v1/jobs/{student['id']}").json()["status"] == "queued"


def test_yaml_batches(api: Api, chain: list[dict[str, Any]]) -> None:
    import yaml

    content = yaml.safe_dump({"jobs": chain})
    assert api.http.post("/v1/jobs/batch", content=content, headers={"Content-Type": "application/yaml"}).status_code == 202


def test_one_wrong_member_and_nothing_is_stored(api: Api, chain: list[dict[str, Any]], train: dict[str, Any]) -> None:
    student, assistant, teacher = chain
    wrong: list[tuple[Any, str, str | None]] = [
        ([teacher, {**train, "epohcs": 1}], "unknown_field", "jobs.1.epohcs"),
        ([teacher, {**train, "training": {"epochs": 0}}], "invalid_spec", "jobs.1.training.epochs"),
        ([teacher, {**train, "name": "other", "data": {"train": "digit"}}], "dataset_not_found", "jobs.1.data.train"),
        ([teacher, {**train, "name": "teacher"}], "invalid_spec", "jobs.1.name"),
        ([teacher, {**student, "teacher": {"job": "@teachr"}}], "job_not_found", "jobs.1.teacher.job"),
        ([teacher, {**student, "teacher": {"job": "job_" + "0" * 32}}], "job_not_found", "jobs.1.teacher.job"),
        ([teacher, {**train, "name": "x", "student": {"job": "@nobody"}}], "job_not_found", "jobs.1.student.job"),
        ([{**student, "teacher": {"job": "@student"}}], "invalid_spec", "jobs.0.teacher.job"),
        ([student, {**assistant, "teacher": {"job": "@student"}}], "invalid_spec", None),
        ([teacher, {**assistant, "task": "tabular-classification"}], "does_not_fit", "jobs.1.teacher"),
        ([teacher, "train"], "invalid_spec", "jobs.1"),
        ([], "invalid_spec", "jobs"),
        ([train] * 101, "invalid_spec", "jobs"),
        ({"0": train}, "invalid_spec", "jobs"),
    ]
    before = api.state()
    for jobs, code, param in wrong:
        body = api.refused(api.post("/v1/jobs/batch", {"jobs": jobs}), 422, code, param)
        assert body["errors"][0]["pointer"].startswith("/jobs")
    assert api.state() == before
    assert "Did you mean @teacher?" in api.post("/v1/jobs/batch", {"jobs": wrong[4][0]}).text
    assert "→" in api.post("/v1/jobs/batch", {"jobs": wrong[8][0]}).json()["detail"]
    api.refused(api.post("/v1/jobs/batch", {"job": [train]}), 422, "unknown_field", "job")
    api.refused(api.post("/v1/jobs/batch", train), 422, "unknown_field")


def test_an_evaluate_member_makes_no_model(api: Api, chain: list[dict[str, Any]], train: dict[str, Any]) -> None:
    measure = {"kind": "evaluate", "name": "measure", "task": train["task"], "data": train["data"], "student": {"job": "@teacher"}}
    taught = {**chain[0], "teacher": {"job": "@measure"}}
    body = api.refused(api.post("/v1/jobs/batch", {"jobs": [chain[2], measure, taught]}), 422, "does_not_fit", "jobs.2.teacher.job")
    assert "@measure" in body["detail"]
    assert api.post("/v1/jobs/batch", {"jobs": [chain[2], measure]}).status_code == 202


def test_a_hundred_members(api: Api, train: dict[str, Any], distill: dict[str, Any]) -> None:
    students = [{**distill, "name": f"student {i}", "teacher": {"job": "@teacher"}} for i in range(99)]
    answer = api.post("/v1/jobs/batch", {"jobs": [train, *students]})
    assert answer.status_code == 202 and len(answer.json()["data"]) == 100


ASSISTED = {"name": "takd", "assistants": [{"arch": "mlp", "hidden": [16]}, {"arch": "mlp", "hidden": [8]}]}


def test_a_recipe_of_several_jobs_puts_them_before_the_one_sent(api: Api, train: dict[str, Any], distill: dict[str, Any]) -> None:
    teacher = api.submit(train)
    sent = {**distill, "name": "small", "teacher": {"job": teacher["id"]}, "recipe": ASSISTED}
    told = api.post("/v1/jobs/validate", sent).json()
    assert told["valid"], told
    assert [spec["name"] for spec in told["jobs_before"]] == ["small-assistant-1", "small-assistant-2"]
    last = api.submit(sent)
    assert last["spec"]["recipe"] == ASSISTED and last["name"] == "small"
    second = api.get(f"/v1/jobs/{last['depends_on'][0]}").json()
    first = api.get(f"/v1/jobs/{second['depends_on'][0]}").json()
    assert [job["name"] for job in (first, second)] == ["small-assistant-1", "small-assistant-2"]
    assert first["depends_on"] == [teacher["id"]] and first["resolved_spec"]["student"]["hidden"] == [16]
    assert second["resolved_spec"]["teacher"]["job"] == first["id"] and last["resolved_spec"]["recipe"] is None
    assert [job["status"] for job in (first, second, last)] == ["waiting"] * 3
    for job in (teacher, first, second):
        api.hand.done(job["id"])
    assert api.get(f"/v1/jobs/{last['id']}").json()["status"] == "queued"


def test_a_student_that_is_its_own_teacher_names_none(api: Api, distill: dict[str, Any]) -> None:
    sent = {**{field: value for field, value in distill.items() if field != "teacher"}, "name": "small", "recipe": "self_kd"}
    told = api.post("/v1/jobs/validate", sent).json()
    assert told["valid"], told
    assert [spec["name"] for spec in told["jobs_before"]] == ["small-alone"]
    assert told["resolved_spec"]["teacher"]["job"] == "@small-alone"
    last = api.submit(sent)
    alone = api.get(f"/v1/jobs/{last['depends_on'][0]}").json()
    assert (alone["name"], alone["kind"], alone["status"], last["status"]) == ("small-alone", "train", "queued", "waiting")
    assert last["resolved_spec"]["teacher"]["job"] == alone["id"]
    api.hand.done(alone["id"])
    assert api.get(f"/v1/jobs/{last['id']}").json()["status"] == "queued"


def test_chains_in_a_batch_and_what_is_wrong_with_them(api: Api, train: dict[str, Any], distill: dict[str, Any]) -> None:
    teacher = {**train, "name": "teacher"}
    chained = {**distill, "name": "small", "teacher": {"job": "@teacher"}, "recipe": ASSISTED}
    answer = api.post("/v1/jobs/batch", {"jobs": [chained, teacher]})
    assert answer.status_code == 202, answer.text
    assert [job["name"] for job in answer.json()["data"]] == ["small", "teacher"]
    assert len(api.get("/v1/jobs").json()["data"]) == 4
    wrong = {**chained, "recipe": {**ASSISTED, "assistants": [{"arch": "bilstm"}]}}
    for path, body, param in (
        ("/v1/jobs/batch", {"jobs": [teacher, wrong]}, "jobs.1.recipe.assistants.0.arch"),
        ("/v1/jobs", {**wrong, "teacher": {"job": "job_" + "0" * 32}}, "recipe.assistants.0.arch"),
        ("/v1/jobs", chained, "teacher.job"),
    ):
        refused = api.post(path, body)
        assert refused.status_code == 422 and refused.json()["param"] == param, refused.text
    clash = api.post("/v1/jobs/batch", {"jobs": [chained, teacher, {**train, "name": "small-assistant-1"}]})
    assert clash.status_code == 422 and clash.json()["param"] == "jobs.2.name"
