"""Sweeps over HTTP: stored whole or not at all, what is wrong named where it stands, nobody else's seen."""

from typing import Any

import pytest
from real_service import Api

HIGH = {"low": 0, "high": 2}


@pytest.fixture
def teacher(api: Api, train: dict[str, Any]) -> str:
    return str(api.post("/v1/jobs", train).json()["id"])


@pytest.fixture
def sweep(distill: dict[str, Any], teacher: str) -> dict[str, Any]:
    job = {**distill, "data": {"train": "digits", "validation": 0.1}, "teacher": {"job": teacher}}
    return {
        "name": "temperatures",
        "job": job,
        "space": {"recipe.temperature": [1, 4], "student": [{"arch": "mlp", "hidden": [n]} for n in (4, 8)]},
    }


def submitted(api: Api, sweep: dict[str, Any]) -> dict[str, Any]:
    answer = api.post("/v1/sweeps", sweep)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_its_trials_are_ordinary_jobs(api: Api, sweep: dict[str, Any], teacher: str) -> None:
    answer = api.post("/v1/sweeps", sweep)
    found = answer.json()
    assert answer.headers["Location"] == f"/v1/sweeps/{found['id']}" and found["id"].startswith("swp_")
    assert (found["object"], found["status"], found["planned"], found["metric"]) == ("sweep", "running", 4, "accuracy")
    assert [trial["values"]["recipe.temperature"] for trial in found["trials"]] == [1, 1, 4, 4]
    jobs = api.get("/v1/jobs", params={"sweep": found["id"]}).json()["data"][::-1]
    assert [job["id"] for job in jobs] == [trial["job"] for trial in found["trials"]]
    assert all(job["sweep"] == found["id"] and job["depends_on"] == [teacher] and job["status"] == "waiting" for job in jobs)
    assert jobs[2]["spec"]["recipe"] == {"name": "hinton", "temperature": 4, "alpha": 0.7}
    assert jobs[2]["resolved_spec"]["student"]["hidden"] == [4] and jobs[2]["name"] == "temperatures · 3: temperature=4, student=mlp [4]"
    api.hand.done(teacher)
    assert {job["status"] for job in api.get("/v1/jobs", params={"sweep": found["id"]}).json()["data"]} == {"queued"}
    assert api.get(f"/v1/jobs/{teacher}").json()["sweep"] is None
    assert [job["id"] for job in api.get("/v1/jobs").json()["data"]] == [teacher], "a list of jobs is not flooded by trials"


def test_sent_twice_it_is_there_once(api: Api, sweep: dict[str, Any]) -> None:
    first, again = (api.post("/v1/sweeps", sweep, headers={"Idempotency-Key": "once"}) for _ in range(2))
    assert first.json() == again.json() and again.headers["Idempotent-Replayed"] == "true"
    assert (
        len(api.get("/v1/sweeps").json()["data"]) == 1
        and len(api.get("/v1/jobs", params={"sweep": first.json()["id"]}).json()["data"]) == 4
    )


@pytest.mark.parametrize(
    ("changes", "code", "param", "said"),
    [
        ({"space": {"recipe.temperature": [1, -1]}}, "invalid_spec", "space.recipe.temperature", "trial with temperature=-1"),
        ({"space": {"recipe.temprature": [1]}}, "unknown_field", "space.recipe.temprature", "not known"),
        ({"space": {"student": [{"arch": "mlp", "hidden": [4]}, {"arch": "mlpp"}]}}, "invalid_spec", "space.student", "mlpp"),
        ({"space": {"student.hidden.1": [3]}}, "invalid_spec", "space.student.hidden.1", "no such place"),
        ({"space": {"data.train": ["digits", "digts"]}}, "dataset_not_found", "space.data.train", "digts"),
        ({"space": {"teacher.job": ["job_" + "0" * 32]}}, "job_not_found", "space.teacher.job", "there is no job"),
        ({"space": {}}, "invalid_spec", "space", "at least 1"),
        ({"space": {"training.seed": list(range(1000)), "recipe.alpha": [0, 1]}}, "invalid_spec", "space", "2,000 combinations"),
        ({"search": {"name": "tpe", "trials": 3}, "space": {"recipe.alpha": HIGH}}, "invalid_spec", "space.recipe.alpha", "equal to 1"),
        ({"job": {"kind": "distill"}}, "invalid_spec", "job.task", "required"),
        ({"job.data": {"train": "digits"}}, "invalid_spec", "job.data.validation", "rows that are held out"),
        ({"job.kind": "evaluate"}, "invalid_spec", "job.kind", "trains nothing"),
        ({"job.recipe": {"name": "born_again"}}, "invalid_spec", "job.recipe", "several jobs"),
        ({"job.evaluation": {"seeds": 3}, "halving": {}}, "invalid_spec", "job.evaluation", "one run"),
        ({"job.teacher": {"job": "@teacher"}}, "invalid_spec", "job.teacher.job", "the same batch"),
        ({"metric": "perplexity"}, "invalid_spec", "metric", "has no perplexity"),
        ({"searching": "grid"}, "unknown_field", "searching", "not known"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_nothing_is_stored(
    api: Api, sweep: dict[str, Any], changes: dict[str, Any], code: str, param: str, said: str
) -> None:
    for place, value in changes.items():
        if place.startswith("job."):
            if place == "job.kind":
                rest = {"task": "image-classification", "data": {"train": "digits", "validation": 0.1}}
                sweep["job"] = {"kind": "evaluate", **rest}
                sweep["job"]["student"] = {"job": sweep.get("teacher") or "job_" + "0" * 32}
                sweep["space"] = {"training.batch_size": [1]}
            sweep["job"] = {**sweep["job"], place[4:]: value}
            sweep["space"] = {"training.batch_size": [32]}
        else:
            sweep[place] = value
    answer = api.post("/v1/sweeps", sweep)
    problem = answer.json()
    assert answer.status_code == 422, answer.text
    assert (problem["code"], problem["param"]) == (code, param), problem
    assert said in problem["detail"], problem
    assert api.get("/v1/sweeps").json()["data"] == []
    assert [job["kind"] for job in api.get("/v1/jobs").json()["data"]] == ["train"], "the teacher alone"
    verdict = api.post("/v1/sweeps/validate", sweep)
    assert verdict.status_code == 200 and verdict.json()["valid"] is False and verdict.json()["errors"]


def test_validate_counts_and_queues_nothing(api: Api, sweep: dict[str, Any]) -> None:
    found = api.post("/v1/sweeps/validate", sweep).json()
    assert found["valid"] and found["estimate"]["trials"] == 4
    assert found["estimate"]["parameters"] == {"smallest": 64 * 4 + 4 + 4 * 10 + 10, "largest": 64 * 8 + 8 + 8 * 10 + 10}
    assert found["estimate"]["steps"] == 4 * 10 * -(-1293 // 64)
    assert api.get("/v1/sweeps").json()["data"] == []


def test_it_is_found_listed_cancelled_and_deleted(api: Api, sweep: dict[str, Any], teacher: str) -> None:
    api.hand.done(teacher)
    first, second = submitted(api, sweep), submitted(api, {**sweep, "name": "again"})
    listed = api.get("/v1/sweeps").json()["data"]
    assert [one["name"] for one in listed] == ["again", "temperatures"] and listed[0]["trials"] is None
    assert listed[0]["counts"] == {"queued": 4}
    place = f"/v1/sweeps/{first['id']}"
    assert api.http.delete(place).status_code == 409
    api.hand.done(first["trials"][0]["job"], b"weights of its own")
    cancelled = api.http.post(f"{place}/cancel")
    assert cancelled.status_code == 200 and cancelled.json()["status"] == "cancelled"
    assert cancelled.json()["counts"] == {"succeeded": 1, "cancelled": 3}
    assert api.http.post(f"{place}/cancel").json() == cancelled.json(), "again is the same"
    assert api.http.delete(place, params={"dry_run": "true"}).json()["files"] > 0
    assert api.http.delete(place).status_code == 204
    assert api.get(place).status_code == 404
    assert api.get(f"/v1/jobs/{first['trials'][0]['job']}").status_code == 404
    assert api.get(f"/v1/sweeps/{second['id']}").json()["counts"] == {"queued": 4}


def test_what_later_trials_need_stays(api: Api, sweep: dict[str, Any], teacher: str, train: dict[str, Any]) -> None:
    """The second teacher is none of the hundred first trials'; it is kept for those that follow."""
    api.hand.done(teacher)
    models = []
    for weights in (b"one", b"another"):
        job = api.post("/v1/jobs", train).json()["id"]
        api.hand.done(job, weights)
        models.append(api.get(f"/v1/jobs/{job}").json()["model"])
    first, second = models
    sweep["job"] = {key: value for key, value in sweep["job"].items() if key != "teacher"}
    sweep["space"] = {"teacher.model": [first, second], "training.seed": list(range(150))}
    found = submitted(api, sweep)
    answer = api.http.delete(f"/v1/models/{second}")
    assert answer.status_code == 409 and found["id"] in answer.json()["detail"], answer.text
    assert api.http.delete(f"/v1/jobs/{teacher}").status_code == 204, "no trial names it"
    api.post(f"/v1/sweeps/{found['id']}/cancel")
    assert api.http.delete(f"/v1/models/{second}").status_code == 204


def test_nobody_elses_is_seen(api: Api, other: Api, sweep: dict[str, Any]) -> None:
    place = f"/v1/sweeps/{submitted(api, sweep)['id']}"
    sweep_id = place.rsplit("/", 1)[1]
    absent = other.get(place)
    assert absent.status_code == 404 and absent.json()["code"] == "sweep_not_found"
    assert other.http.post(f"{place}/cancel").status_code == other.http.delete(place).status_code == 404
    assert other.get("/v1/sweeps").json()["data"] == [] == other.get("/v1/jobs", params={"sweep": sweep_id}).json()["data"]
    assert other.get("/v1/sweeps", params={"after": sweep_id}).status_code == 422


def test_of_a_thousand_trials_a_hundred_are_queued(api: Api, sweep: dict[str, Any]) -> None:
    sweep["space"] = {"training.seed": list(range(1000))}
    found = submitted(api, sweep)
    assert found["planned"] == 1000 and len(found["trials"]) == 100
    assert api.http.post(f"/v1/sweeps/{found['id']}/cancel").json()["counts"] == {"cancelled": 100}
    sweep["space"] = {"training.seed": [*range(999), -1]}
    assert api.post("/v1/sweeps", sweep).json()["param"] == "space.training.seed", "the last of them, too, is looked at"
