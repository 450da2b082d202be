"""Jobs of several runs, seen from outside: a parent that answers for its children."""

from typing import Any

import pytest
from real_service import Api


@pytest.fixture
def parent(api: Api, train: dict[str, Any], distill: dict[str, Any]) -> dict[str, Any]:
    """student and control, two seeds each, behind a teacher that has succeeded."""
    teacher = api.submit(train)["id"]
    api.hand.done(teacher)
    return api.submit(
        {**distill, "name": "study", "teacher": {"job": teacher}, "evaluation": {"control": True, "seeds": 2}, "metadata": {"a": "b"}}
    )


def runs(api: Api, parent: dict[str, Any]) -> list[dict[str, Any]]:
    """Oldest first: student and control of the first seed, then of the second."""
    return list(reversed(api.get(f"/v1/jobs?parent={parent['id']}").json()["data"]))


def test_a_parent_waits_for_its_runs(api: Api, parent: dict[str, Any]) -> None:
    assert parent["status"] == "waiting" and len(parent["depends_on"]) == 1
    children = runs(api, parent)
    assert [(run["kind"], run["status"], run["parent"]) for run in children] == [
        (kind, "queued", parent["id"]) for kind in ("distill", "train") * 2
    ]
    assert [run["resolved_spec"]["training"]["seed"] for run in children] == [42, 42, 43, 43]
    assert all(run["metadata"] == {"a": "b"} for run in children)
    listed = api.get("/v1/jobs").json()["data"]
    assert [job["name"] for job in listed] == ["study", "teacher"]


def test_the_estimate_counts_all_runs(api: Api, train: dict[str, Any]) -> None:
    one, five = (api.post("/v1/jobs/validate", {**train, "evaluation": {"seeds": n}}).json()["estimate"]["steps"] for n in (1, 5))
    assert five == 5 * one


def test_a_parent_shows_what_its_runs_say(api: Api, parent: dict[str, Any]) -> None:
    for run, arm in zip(runs(api, parent), ("student", "control") * 2, strict=True):
        claim = api.hand.claim(run["id"])
        assert (claim.arm, claim.seed) == (arm, run["resolved_spec"]["training"]["seed"])
        api.hand.points(claim, "train/loss", [2.0, 1.0], arm=claim.arm, seed=claim.seed)
        api.hand.checkpoint(claim, 5)
    series = api.get(f"/v1/jobs/{parent['id']}/metrics").json()["data"]
    assert [(one["arm"], one["seed"], one["total_points"]) for one in series] == [
        ("control", 42, 2), ("control", 43, 2), ("student", 42, 2), ("student", 43, 2)
    ]  # fmt: skip
    assert len(api.get(f"/v1/jobs/{parent['id']}/metrics?arm=student&seed=43").json()["data"]) == 1
    checkpoints = api.get(f"/v1/jobs/{parent['id']}/checkpoints").json()["data"]
    assert len(checkpoints) == 4 and all(len(one["artifacts"]) == 2 for one in checkpoints)
    assert api.get(f"/v1/jobs/{runs(api, parent)[0]['id']}/metrics").json()["data"][0]["arm"] == "student"


def test_cancel_pause_and_priority_reach_the_runs(api: Api, parent: dict[str, Any]) -> None:
    path = f"/v1/jobs/{parent['id']}"
    for verb, mine, theirs in [("pause", "paused", "paused"), ("resume", "waiting", "queued")]:
        assert api.post(f"{path}/{verb}").json()["status"] == mine
        assert {run["status"] for run in runs(api, parent)} == {theirs}
    assert api.http.patch(path, json={"priority": 5}).json()["priority"] == 5
    assert {run["priority"] for run in runs(api, parent)} == {5}
    api.post(f"{path}/cancel")
    assert {run["status"] for run in runs(api, parent)} == {"cancelled"}


def test_each_run_that_can_start_is_rung_for(api: Api, parent: dict[str, Any]) -> None:
    from api import lookup
    from models.job import Job

    with api.running.database.read() as session:
        due = lookup.due(session, session.get_one(Job, parent["id"]))
    assert sorted(due) == sorted(run["id"] for run in runs(api, parent))


def test_a_family_is_deleted_together(api: Api, parent: dict[str, Any]) -> None:
    before = api.running.files()
    children = runs(api, parent)
    api.hand.done(children[0]["id"], b"weights of the first")
    api.refused(api.http.delete(f"/v1/jobs/{children[0]['id']}"), 409, "in_use")
    api.refused(api.http.delete(f"/v1/jobs/{parent['id']}"), 409, "invalid_transition")
    api.post(f"/v1/jobs/{parent['id']}/cancel")
    with api.running.database.write() as session:
        from models.job import Job
        from models.lifecycle import S, switch

        row = session.get_one(Job, parent["id"])
        if row.status == S.CANCELLING:  # a worker would put the report together now
            switch(session, row, S.CANCELLED)
    freed = api.http.delete(f"/v1/jobs/{parent['id']}?dry_run=true").json()
    gone = api.running.files() - before
    assert freed == {"freed_bytes": sum(path.stat().st_size for path in gone), "files": len(gone)}
    assert api.http.delete(f"/v1/jobs/{parent['id']}").status_code == 204
    assert api.running.files() == before
    for child in children:
        api.refused(api.get(f"/v1/jobs/{child['id']}"), 404, "job_not_found")
