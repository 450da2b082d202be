"""The door: no key, no answer, not even about what there is."""

from typing import Any

import httpx2
import pytest
from real_service import Api, Running, problem


def call(running: Running, method: str, path: str, header: str | None = None) -> httpx2.Response:
    headers = {"Authorization": header} if header is not None else {}
    return httpx2.request(method, running.url + path, headers=headers, trust_env=False, verify=False)


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/job_1", "/v1/nothing/here", "/v1", "/v1/", "/v1/artifacts/art_1"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_without_a_key_every_path_of_v1_is_401(running: Running, method: str, path: str) -> None:
    response = call(running, method, path)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert "potstill keys create" in problem(response, "missing_key")["hint"]


@pytest.mark.parametrize(
    "header", ["Bearer", "Basic dXNlcjpwYXNz", "psk_abc", "Bearer abc", "Bearer psk_unknown", "Bearer psk_" + "a" * 500, ""]
)
def test_a_malformed_or_unknown_key_is_401(running: Running, header: str) -> None:
    response = call(running, "GET", "/v1/jobs", header)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    problem(response, "invalid_key")


def test_the_scheme_is_read_in_any_case(api: Api) -> None:
    assert call(api.running, "GET", "/v1/jobs", f"bearer  {api.secret}").status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/docs", "/openapi.json", "/metrics"])
def test_some_paths_are_open(running: Running, path: str) -> None:
    assert call(running, "GET", path).status_code == 200


def test_a_key_lives_from_creation_to_revocation(api: Api) -> None:
    created = api.post("/v1/keys", {"name": "ci", "metadata": {"team": "a"}})
    assert created.status_code == 201
    key: dict[str, Any] = created.json()
    assert created.headers["location"] == f"/v1/keys/{key['id']}"
    assert key["object"] == "key" and key["secret"].startswith("psk_") and key["prefix"] == key["secret"][:8]
    assert key["metadata"] == {"team": "a"} and key["revoked_at"] is None
    theirs = f"Bearer {key['secret']}"
    assert call(api.running, "GET", "/v1/jobs", theirs).status_code == 200

    listed = api.get("/v1/keys").json()
    assert [one["id"] for one in listed["data"]] == [key["id"], api.key_id]
    assert all(one["secret"] is None for one in listed["data"])

    assert api.http.delete(f"/v1/keys/{key['id']}").status_code == 204
    refusal = call(api.running, "GET", "/v1/jobs", theirs)
    assert refusal.status_code == 401 and refusal.headers["www-authenticate"] == "Bearer"
    problem(refusal, "revoked_key")
    assert api.http.delete(f"/v1/keys/{key['id']}").status_code == 204
    assert api.get("/v1/keys").json()["data"][0]["revoked_at"].endswith("Z")


def test_keys_of_others_are_out_of_reach(api: Api, other: Api) -> None:
    api.refused(api.http.delete(f"/v1/keys/{other.key_id}"), 404, "key_not_found")
    assert other.get("/v1/jobs").status_code == 200


def test_what_a_key_created_is_seen_with_keys_of_its_project_alone(api: Api, other: Api, train: dict[str, Any]) -> None:
    job = api.submit(train)
    api.hand.done(job["id"])
    artifact = api.get(f"/v1/jobs/{job['id']}/artifacts").json()["data"][0]["id"]
    model = api.get(f"/v1/jobs/{job['id']}").json()["model"]
    for path, code in [
        (f"/v1/jobs/{job['id']}", "job_not_found"),
        (f"/v1/jobs/{job['id']}/events", "job_not_found"),
        (f"/v1/jobs/{job['id']}/events/stream", "job_not_found"),
        (f"/v1/jobs/{job['id']}/metrics", "job_not_found"),
        (f"/v1/jobs/{job['id']}/artifacts", "job_not_found"),
        (f"/v1/jobs/{job['id']}/checkpoints", "job_not_found"),
        (f"/v1/jobs/{job['id']}/student", "job_not_found"),
        (f"/v1/artifacts/{artifact}", "artifact_not_found"),
        (f"/v1/models/{model}", "model_not_found"),
    ]:
        other.refused(other.get(path), 404, code)
    for verb in ("cancel", "pause", "resume", "retry"):
        other.refused(other.post(f"/v1/jobs/{job['id']}/{verb}"), 404, "job_not_found")
    other.refused(other.http.delete(f"/v1/jobs/{job['id']}"), 404, "job_not_found")
    other.refused(other.http.patch(f"/v1/jobs/{job['id']}", json={"name": "mine"}), 404, "job_not_found")
    assert other.get("/v1/jobs").json()["data"] == [] and other.get("/v1/models").json()["data"] == []
    refusal = other.post("/v1/jobs", {**train, "kind": "distill", "teacher": {"job": job["id"]}})
    other.refused(refusal, 422, "job_not_found", "teacher.job")
    refusal = other.post("/v1/jobs", {**train, "kind": "distill", "teacher": {"model": model}})
    other.refused(refusal, 422, "model_not_found", "teacher.model")
