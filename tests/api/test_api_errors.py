"""Every error is problem+json with a code, an id and, where it helps, a hint."""

import re
from typing import Any

import pytest
from real_service import Api, Running, problem
from sqlalchemy import text

from contract.scope import Scope


def test_an_unknown_path_names_the_nearest(api: Api) -> None:
    assert api.refused(api.get("/v1/jobz"), 404, "not_found")["hint"] == "Did you mean /v1/jobs?"
    api.refused(api.get("/v1/jobs/"), 404, "not_found")


@pytest.mark.parametrize("path", ["/elsewhere", "/v2/jobs", "/job"])
def test_unknown_paths_outside_v1_are_404(api: Api, path: str) -> None:
    api.refused(api.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/jobs", "GET, POST"),
        ("POST", "/v1/jobs/job_1", "DELETE, GET, PATCH"),
        ("DELETE", "/v1/recipes", "GET"),
        ("POST", "/v1/artifacts/art_1", "GET, HEAD"),
        ("POST", "/livez", "GET"),
    ],
)
def test_a_wrong_method_names_all_right_ones(api: Api, method: str, path: str, allowed: str) -> None:
    response = api.http.request(method, path)
    api.refused(response, 405, "method_not_allowed")
    assert response.headers["allow"] == allowed


def test_a_request_id_is_echoed_or_made(api: Api) -> None:
    assert api.get("/v1/jobs", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
    for insane in ("two words", "x" * 200, ""):
        made = api.get("/v1/nothing", headers={"X-Request-Id": insane})
        assert re.fullmatch(r"req_[0-9a-f]{32}", made.headers["x-request-id"])
        assert made.json()["request_id"] == made.headers["x-request-id"]


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/v1/jobs?limit=0", "limit"),
        ("/v1/jobs?limit=101", "limit"),
        ("/v1/jobs?limit=many", "limit"),
        ("/v1/jobs?status=done", "status"),
        ("/v1/jobs?kind=learn", "kind"),
        ("/v1/jobs?created_after=yesterday", "created_after"),
        ("/v1/jobs?after=job_0", "after"),
        ("/v1/jobs?before=%00", "before"),
        ("/v1/jobs?name=%00", "name"),
        ("/v1/datasets?after=ds_0", "after"),
        ("/v1/models?limit=-1", "limit"),
        ("/v1/keys?after=nobody", "after"),
        ("/v1/workers?after=nobody", "after"),
    ],
)
def test_query_fields_that_cannot_be_read_are_named(api: Api, path: str, param: str) -> None:
    api.refused(api.get(path), 422, "invalid_parameter", param)


def test_an_unknown_status_lists_the_known(api: Api) -> None:
    detail = api.refused(api.get("/v1/jobs?status=queued&status=done"), 422, "invalid_parameter", "status")["detail"]
    assert "'done'" in detail and "cancelling" in detail


def test_an_unknown_query_field_is_refused_with_the_nearest(api: Api) -> None:
    assert api.refused(api.get("/v1/jobs?statsu=queued"), 422, "unknown_field", "statsu")["hint"] == "Did you mean `status`?"
    api.refused(api.get("/v1/recipes?verbose=1"), 422, "unknown_field", "verbose")


@pytest.mark.parametrize("id_", ["job_0", "nothing", "job_" + "0" * 32, "job_%00", "job_" + "g" * 32, "../../etc/passwd", "%F0%9F%92%A5"])
def test_ids_that_are_none_are_404(api: Api, id_: str) -> None:
    assert api.get(f"/v1/jobs/{id_}").status_code == 404
    assert api.http.delete(f"/v1/datasets/{id_}").status_code == 404
    assert api.get(f"/v1/artifacts/{id_}").status_code == 404


def test_our_own_mistakes_are_500_without_their_story(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("secret inner workings")

    monkeypatch.setattr("api.lookup.job", broken)
    response = api.get("/v1/jobs/job_" + "0" * 32)
    body = api.refused(response, 500, "internal_error")
    assert "secret" not in response.text and body["request_id"] in body["hint"]


def test_a_lost_database_is_503_and_says_when_to_ask_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections die under the pool: on Postgres really, by killing them; then the pool heals."""
    if api.running.database.dialect != "postgresql":
        pytest.skip("a file does not go away")
    from contract.errors import Unavailable

    before = api.running.database.engine.url
    with api.running.database.engine.connect() as connection:
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        )
    assert api.get("/v1/jobs").status_code == 200  # pre-ping found the dead ones

    def away(*_: Any, **__: Any) -> None:
        raise Unavailable("The database did not answer: gone", headers={"Retry-After": "2"})

    monkeypatch.setattr("api.auth.authenticate", away)
    response = api.get("/v1/jobs")
    api.refused(response, 503, "unavailable")
    assert response.headers["retry-after"] == "2" and before is not None


def test_the_openapi_document_is_whole(running: Running, api: Api) -> None:
    document = api.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    assert set(re.findall(r'"#/components/schemas/([^"]+)"', api.get("/openapi.json").text)) <= set(schemas)
    assert "HTTPValidationError" not in schemas
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["description"] and operation["tags"], (method, path)
            success = [status for status in operation["responses"] if status.startswith("2")]
            assert success, (method, path)
            if path.startswith("/v1"):
                assert operation["security"] in [[{"key": [scope]}] for scope in Scope]
                for status, response in operation["responses"].items():
                    if status.startswith(("4", "5")):
                        assert list(response["content"]) == ["application/problem+json"], (method, path, status)
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "application/yaml"}
    assert schemas["JobSpec"]["properties"]["training"]


def test_head_of_an_error_has_no_body(api: Api) -> None:
    response = api.http.head("/v1/artifacts/art_" + "0" * 32)
    assert response.status_code == 404 and response.content == b""
    assert response.headers["content-type"] == "application/problem+json"


def test_problem_is_what_the_contract_says(api: Api) -> None:
    from contract.errors import NotFound, PotstillError, Problem

    response = api.get("/v1/jobs/job_1")
    body = problem(response, "job_not_found")
    Problem.model_validate(body)
    again = PotstillError.from_problem(body)
    assert isinstance(again, NotFound) and again.code == "job_not_found"
