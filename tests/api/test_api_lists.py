"""Lists: the envelope, pages in both directions, filters."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from real_service import Api


@pytest.fixture
def seven(api: Api, train: dict[str, Any]) -> list[str]:
    """Ids of seven jobs, newest first."""
    return [api.submit({**train, "name": f"job {i}", "metadata": {"i": str(i)}})["id"] for i in range(7)][::-1]


def ids(page: dict[str, Any]) -> list[str]:
    return [one["id"] for one in page["data"]]


def test_an_empty_list_has_its_envelope(api: Api) -> None:
    assert api.get("/v1/jobs").json() == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


def test_pages_in_both_directions(api: Api, seven: list[str]) -> None:
    first = api.get("/v1/jobs?limit=3").json()
    assert ids(first) == seven[:3] and first["has_more"] is True
    assert (first["first_id"], first["last_id"]) == (seven[0], seven[2])
    second = api.get(f"/v1/jobs?limit=3&after={first['last_id']}").json()
    assert ids(second) == seven[3:6] and second["has_more"] is True
    third = api.get(f"/v1/jobs?limit=3&after={second['last_id']}").json()
    assert ids(third) == seven[6:] and third["has_more"] is False
    back = api.get(f"/v1/jobs?limit=3&before={third['first_id']}").json()
    assert ids(back) == seven[3:6] and back["has_more"] is True
    back = api.get(f"/v1/jobs?limit=3&before={back['first_id']}").json()
    assert ids(back) == seven[:3] and back["has_more"] is False
    assert ids(api.get("/v1/jobs").json()) == seven


def test_both_cursors_at_once_are_refused(api: Api, seven: list[str]) -> None:
    api.refused(api.get(f"/v1/jobs?after={seven[0]}&before={seven[1]}"), 422, "conflicting_fields", "before")


def test_a_cursor_of_somebody_else_is_none(api: Api, other: Api, seven: list[str]) -> None:
    other.refused(other.get(f"/v1/jobs?after={seven[0]}"), 422, "invalid_parameter", "after")


def test_filters(api: Api, seven: list[str], train: dict[str, Any]) -> None:
    api.post(f"/v1/jobs/{seven[1]}/cancel")
    api.post(f"/v1/jobs/{seven[2]}/pause")
    evaluate = api.submit({"kind": "evaluate", "task": train["task"], "data": train["data"], "student": {"job": seven[0]}})["id"]

    def found(query: str) -> list[str]:
        response = api.get(f"/v1/jobs?{query}")
        assert response.status_code == 200, response.text
        return ids(response.json())

    assert found("status=cancelled") == [seven[1]]
    assert found("status=cancelled&status=paused") == seven[1:3]
    assert found("kind=evaluate") == [evaluate] and found("kind=train") == seven
    assert found("name=job%203") == [seven[3]] and found("name=job") == []
    assert found("metadata[i]=3") == [seven[3]] and found("metadata[i]=3&metadata[j]=3") == [] and found("metadata[x]=3") == []
    assert found("metadata%5Bi%5D=3&status=queued") == [seven[3]]
    assert found("created_after=2000-01-01T00:00:00Z") == [evaluate, *seven]
    later = (datetime.now(UTC) + timedelta(minutes=1)).isoformat().replace("+00:00", "Z")
    assert found(f"created_after={later}") == [] and len(found(f"created_before={later}")) == 8
    moment = api.get(f"/v1/jobs/{seven[3]}").json()["created_at"]
    assert found(f"created_before={moment}&kind=train") == seven[4:]
    assert found("status=cancelled&limit=1&after=" + seven[0]) == [seven[1]]


@pytest.mark.parametrize("key", ["it's", 'a"b', "a.b", "$", "a[0]", "ключ", "%", "'; DROP TABLE jobs; --"])
def test_metadata_of_any_name_is_found(api: Api, train: dict[str, Any], key: str) -> None:
    job = api.submit({**train, "metadata": {key: "va'l\"ue"}})
    api.submit(train)
    found = api.http.get("/v1/jobs", params={f"metadata[{key}]": "va'l\"ue"})
    assert ids(found.json()) == [job["id"]]
    assert ids(api.http.get("/v1/jobs", params={f"metadata[{key}]": "other"}).json()) == []


def test_a_time_without_a_place_in_utc_and_too_many_fields_are_refused(api: Api) -> None:
    for moment in ("9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00%2B01:00"):
        api.refused(api.get(f"/v1/jobs?created_after={moment}"), 422, "invalid_parameter", "created_after")
    many = "&".join(f"metadata[k{i}]=x" for i in range(1200))
    api.refused(api.get(f"/v1/jobs?{many}"), 422, "invalid_parameter", "metadata")
    assert api.get("/v1/jobs?" + "&".join(f"metadata[k{i}]=x" for i in range(16))).status_code == 200


def test_children_are_listed_with_their_parent_alone(api: Api, train: dict[str, Any]) -> None:
    from models.job import Job

    parent, child = api.submit(train)["id"], api.submit(train)["id"]
    with api.running.database.write() as session:
        session.get_one(Job, child).parent_id = parent
    assert ids(api.get("/v1/jobs").json()) == [parent]
    assert ids(api.get(f"/v1/jobs?parent={parent}").json()) == [child]
    assert api.get(f"/v1/jobs/{child}").json()["parent"] == parent


def test_a_deep_page_uses_the_index(api: Api) -> None:
    """Page 10,000 costs what page 1 costs: both are one search in the index, no counting."""
    from sqlalchemy import select, text
    from sqlalchemy.dialects import postgresql, sqlite

    from models.job import Job

    name = api.running.database.dialect
    query = select(Job.id).where(Job.project_id == "p", Job.parent_id.is_(None), Job.id < "job_5").order_by(Job.id.desc()).limit(21)
    sql = str(query.compile(dialect=sqlite.dialect() if name == "sqlite" else postgresql.dialect(), compile_kwargs={"literal_binds": True}))
    with api.running.database.write() as session:  # a reader has no transaction that settings could be local to
        if name == "postgresql":
            for other in ("seqscan", "bitmapscan", "sort"):  # an empty table is cheap to read in any way: only what can be done counts
                session.execute(text(f"SET LOCAL enable_{other} = off"))
        plan = " ".join(str(row) for row in session.execute(text(("EXPLAIN QUERY PLAN " if name == "sqlite" else "EXPLAIN ") + sql)))
    assert "ix_jobs_project" in plan or "pk_jobs" in plan, plan
    assert "TEMP B-TREE" not in plan


def test_the_registry_lists_what_can_be_asked_for(api: Api) -> None:
    recipes = api.get("/v1/recipes").json()
    hinton = next(one for one in recipes["data"] if one["name"] == "hinton")
    assert recipes["object"] == "list" and hinton["meaning"] and hinton["formula"] and hinton["paper"]
    temperature = next(one for one in hinton["parameters"] if one["name"] == "temperature")
    assert temperature["default"] == 4.0 and temperature["required"] is False and temperature["meaning"]
    assert temperature["schema"]["maximum"] == 1000
    assert [term["loss"] for term in hinton["expands_to"]] == ["kl", "cross_entropy"]
    assert {"kl", "cross_entropy"} <= {one["name"] for one in api.get("/v1/losses").json()["data"]}
    mlp = next(one for one in api.get("/v1/architectures").json()["data"] if one["name"] == "mlp")
    assert next(one for one in mlp["parameters"] if one["name"] == "hidden")["required"] is True
    task = next(one for one in api.get("/v1/tasks").json()["data"] if one["name"] == "image-classification")
    assert task["metric"] == "accuracy" and task["datasets"] == ["digits"]


def test_workers_and_what_they_run(api: Api, other: Api, train: dict[str, Any]) -> None:
    from sqlalchemy import update

    from models.base import now
    from models.service import Worker

    api.hand.report_in()
    api.hand.report_in("wrk_old")
    with api.running.database.write() as session:
        session.execute(update(Worker).where(Worker.id == "wrk_old").values(last_heartbeat_at=now(-3600)))
    job = api.submit(train)["id"]
    api.hand.claim(job)
    workers = {one["id"]: one for one in api.get("/v1/workers").json()["data"]}
    assert workers["wrk_test"]["running"] == [{"job": job, "attempt": 1}]
    assert workers["wrk_test"]["alive"] is True and workers["wrk_old"]["alive"] is False
    assert workers["wrk_test"]["devices"] == ["cpu"] and workers["wrk_test"]["last_heartbeat_at"].endswith("Z")
    assert all(one["running"] == [] for one in other.get("/v1/workers").json()["data"])
