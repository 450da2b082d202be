"""Cancel, pause, resume, retry, delete: what each does in each state."""

from typing import Any

import pytest
from real_service import Api


@pytest.fixture
def job(api: Api, train: dict[str, Any]) -> str:
    return str(api.submit(train)["id"])


def status(api: Api, job: str) -> str:
    return str(api.get(f"/v1/jobs/{job}").json()["status"])


def test_a_queued_job_is_paused_resumed_and_cancelled(api: Api, job: str) -> None:
    for verb, then in [("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")]:
        for _ in range(2):  # repeating is fine
            answer = api.post(f"/v1/jobs/{job}/{verb}")
            assert answer.status_code == 200 and answer.json()["status"] == then
    for verb in ("pause", "resume"):
        body = api.refused(api.post(f"/v1/jobs/{job}/{verb}"), 409, "invalid_transition")
        assert "cancelled" in body["detail"]


def test_a_running_job_is_asked_to_stop(api: Api, job: str) -> None:
    claim = api.hand.claim(job)
    assert api.post(f"/v1/jobs/{job}/resume").json()["status"] == "running"
    assert api.post(f"/v1/jobs/{job}/pause").json()["status"] == "pausing"
    api.refused(api.post(f"/v1/jobs/{job}/resume"), 409, "invalid_transition")
    assert api.post(f"/v1/jobs/{job}/cancel").json()["status"] == "cancelling"
    assert api.post(f"/v1/jobs/{job}/cancel").json()["status"] == "cancelling"
    api.refused(api.post(f"/v1/jobs/{job}/pause"), 409, "invalid_transition")
    api.refused(api.http.delete(f"/v1/jobs/{job}"), 409, "invalid_transition")
    api.hand.finish(claim)  # it came to its end first: that counts
    assert status(api, job) == "succeeded"
    body = api.refused(api.post(f"/v1/jobs/{job}/cancel"), 409, "invalid_transition")
    assert "succeeded" in body["detail"]


def test_a_cancelled_teacher_takes_its_students_along(api: Api, job: str, distill: dict[str, Any]) -> None:
    student = api.submit({**distill, "teacher": {"job": job}})["id"]
    api.post(f"/v1/jobs/{job}/cancel")
    ended = api.get(f"/v1/jobs/{student}").json()
    assert ended["status"] == "failed" and ended["error"]["code"] == "dependency_failed" and job in ended["error"]["message"]


def test_retry_makes_a_new_job(api: Api, job: str) -> None:
    api.refused(api.post(f"/v1/jobs/{job}/retry"), 409, "invalid_transition")
    api.hand.fail(job)
    answer = api.post(f"/v1/jobs/{job}/retry")
    again = answer.json()
    assert answer.status_code == 202 and answer.headers["location"] == f"/v1/jobs/{again['id']}"
    assert again["retry_of"] == job and again["status"] == "queued" and again["id"] != job
    assert api.hand.claim(again["id"]).retry_of == job
    fresh = api.post(f"/v1/jobs/{job}/retry?fresh=true").json()
    assert api.hand.claim(fresh["id"]).retry_of is None
    api.refused(api.post(f"/v1/jobs/{job}/retry?fresh=perhaps"), 422, "invalid_parameter", "fresh")


def test_a_retry_keeps_what_it_goes_on_from(api: Api, job: str) -> None:
    api.hand.fail(job)
    again = api.post(f"/v1/jobs/{job}/retry").json()["id"]
    api.refused(api.http.delete(f"/v1/jobs/{job}"), 409, "in_use")
    api.hand.done(again)
    assert api.http.delete(f"/v1/jobs/{job}").status_code == 204


def test_a_retry_needs_its_data(api: Api) -> None:
    rows = "a,label\n" + "".join(f"{i},{i % 2}\n" for i in range(10))
    dataset = api.http.post("/v1/datasets", files={"file": ("rows.csv", rows)}).json()["id"]
    spec = {
        "kind": "train",
        "task": "tabular-classification",
        "data": {"train": dataset, "validation": 0.2},
        "student": {"arch": "logistic"},
    }
    job = api.submit({**spec, "metadata": {"data": dataset}})["id"]
    api.refused(api.http.delete(f"/v1/datasets/{dataset}"), 409, "in_use")
    api.post(f"/v1/jobs/{job}/cancel")
    assert api.http.delete(f"/v1/datasets/{dataset}").status_code == 204
    api.refused(api.post(f"/v1/jobs/{job}/retry"), 409, "dataset_not_found")
    api.refused(api.post("/v1/jobs", spec), 422, "dataset_not_found", "data.train")


def test_a_name_in_metadata_is_no_use(api: Api, train: dict[str, Any]) -> None:
    rows = "a,label\n" + "".join(f"{i},{i % 2}\n" for i in range(10))
    dataset = api.http.post("/v1/datasets", files={"file": ("rows.csv", rows)}).json()["id"]
    api.submit({**train, "metadata": {"about": dataset}})
    assert api.http.delete(f"/v1/datasets/{dataset}").status_code == 204


def test_deleting_frees_the_bytes(api: Api, job: str) -> None:
    before = api.state()
    claim = api.hand.claim(job)
    api.hand.checkpoint(claim, 10)
    api.hand.points(claim, "train/loss", [1.0, 0.5])
    api.hand.finish(claim, b"weights of this job alone")
    api.refused(api.http.delete(f"/v1/jobs/{job}?dry_run=perhaps"), 422, "invalid_parameter", "dry_run")
    forecast = api.http.delete(f"/v1/jobs/{job}?dry_run=true")
    files = api.running.files() - before[1]
    assert forecast.status_code == 200
    assert forecast.json() == {"freed_bytes": sum(path.stat().st_size for path in files), "files": len(files)}
    assert status(api, job) == "succeeded" and api.running.files() - before[1] == files
    assert api.http.delete(f"/v1/jobs/{job}").status_code == 204
    api.refused(api.get(f"/v1/jobs/{job}"), 404, "job_not_found")
    api.refused(api.http.delete(f"/v1/jobs/{job}"), 404, "job_not_found")
    rows, left = api.state()
    assert left == before[1]
    assert {name: rows[name] for name in ("jobs", "events", "artifacts", "models", "checkpoints", "metric_points")} == dict.fromkeys(
        ("jobs", "events", "artifacts", "models", "checkpoints", "metric_points"), 0
    )


def test_bytes_that_others_hold_stay(api: Api, job: str, train: dict[str, Any]) -> None:
    twin = api.submit(train)["id"]
    api.hand.done(job, b"the same weights")
    api.hand.done(twin, b"the same weights")
    assert api.http.delete(f"/v1/jobs/{job}?dry_run=1").json() == {"freed_bytes": 0, "files": 0}
    api.http.delete(f"/v1/jobs/{job}")
    artifacts = api.get(f"/v1/jobs/{twin}/artifacts").json()["data"]
    weights = next(one for one in artifacts if one["path"] == "student/model.safetensors")
    assert api.get(f"/v1/artifacts/{weights['id']}").content == b"the same weights"


def test_a_needed_job_stays(api: Api, job: str, distill: dict[str, Any]) -> None:
    student = api.submit({**distill, "teacher": {"job": job}})["id"]
    api.refused(api.http.delete(f"/v1/jobs/{job}"), 409, "invalid_transition")
    api.hand.done(job)
    api.refused(api.http.delete(f"/v1/jobs/{job}"), 409, "in_use")
    api.refused(api.http.delete(f"/v1/jobs/{job}?dry_run=true"), 409, "in_use")
    model = api.get(f"/v1/jobs/{job}").json()["model"]
    api.refused(api.http.delete(f"/v1/models/{model}"), 409, "in_use")
    api.post(f"/v1/jobs/{student}/cancel")
    assert api.http.delete(f"/v1/jobs/{job}").status_code == 204
    assert status(api, student) == "cancelled"


def test_children_go_with_their_parent(api: Api, job: str, train: dict[str, Any]) -> None:
    from models.job import Job

    child = api.submit(train)["id"]
    with api.running.database.write() as session:
        session.get_one(Job, child).parent_id = job
    api.post(f"/v1/jobs/{job}/cancel")
    api.refused(api.http.delete(f"/v1/jobs/{job}"), 409, "invalid_transition")  # the child has not ended
    api.hand.done(child)
    assert api.http.delete(f"/v1/jobs/{job}?dry_run=true").json()["files"] == 4
    assert api.http.delete(f"/v1/jobs/{job}").status_code == 204
    api.refused(api.get(f"/v1/jobs/{child}"), 404, "job_not_found")
    assert api.running.files() == set()
