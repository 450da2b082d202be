"""The audit: each deed with who, what, when and from where, there exactly when the deed is."""

from collections.abc import Callable
from typing import Any

import httpx2
import sqlalchemy as sa
from real_service import Api

from models.ids import new_id


def events(api: Api, **asked: Any) -> list[dict[str, Any]]:
    answer = api.get("/v1/audit", params=asked)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def test_each_deed_is_written_down(api: Api, make_browser: Callable[[str], httpx2.Client], train: dict[str, Any]) -> None:
    job = api.submit(train)["id"]
    api.hand.done(job)
    model = api.get(f"/v1/jobs/{job}").json()["model"]
    dataset = api.http.post("/v1/datasets", files={"file": ("rows.csv", b"x,label\n1,a\n2,b\n")}).json()["id"]
    key = api.post("/v1/keys", {"name": "ci"}).json()["id"]
    api.post(f"/v1/keys/{key}/rotate", {"grace_seconds": 60})
    for _ in range(2):
        api.http.delete(f"/v1/keys/{key}")
    make_browser(api.secret)
    for path in (f"/v1/models/{model}", f"/v1/jobs/{job}?dry_run=true", f"/v1/jobs/{job}", f"/v1/datasets/{dataset}"):
        assert api.http.delete(path, headers={"X-Request-Id": "me:1"}).is_success
    found = events(api)
    assert [(one["action"], one["subject"]) for one in found] == [
        ("dataset.deleted", dataset), ("job.deleted", job), ("model.deleted", model), ("login.used", api.key_id),
        ("key.revoked", key), ("key.rotated", key), ("key.created", key),
    ]  # fmt: skip
    assert all(one["key"] == api.key_id and one["address"] == "127.0.0.1" and one["created_at"].endswith("Z") for one in found)
    assert found[0]["request_id"] == "me:1" and found[0]["object"] == "audit_event" and found[0]["id"].startswith("aud_")
    assert found[1]["data"] == {"name": "teacher"} and found[5]["data"] == {"name": "ci", "grace_seconds": 60}
    assert found[6]["data"] == {"name": "ci", "scopes": ["read", "submit"]}
    assert [one["action"] for one in events(api, action=["key.created", "login.used"])] == ["login.used", "key.created"]
    assert events(api, limit=2, after=found[1]["id"]) == found[2:4]


def test_what_pages_do_is_written_down_as_well(api: Api, make_browser: Callable[[str], httpx2.Client], train: dict[str, Any]) -> None:
    job = api.submit(train)["id"]
    api.hand.done(job)
    browser = make_browser(api.secret)
    browser.post("/keys", data={"name": "laptop"})
    key = api.get("/v1/keys").json()["data"][0]["id"]
    browser.post(f"/keys/{key}/revoke")
    browser.post(f"/jobs/{job}/delete")
    assert [(one["action"], one["subject"]) for one in events(api)] == [
        ("job.deleted", job), ("key.revoked", key), ("key.created", key), ("login.used", api.key_id),
    ]  # fmt: skip


def test_a_deed_that_cannot_be_written_down_is_not_done(api: Api, train: dict[str, Any]) -> None:
    """As where its table is damaged: neither is there without the other."""
    job = api.submit(train)["id"]
    api.hand.done(job)
    engine = api.running.database.engine

    @sa.event.listens_for(engine, "before_cursor_execute")
    def refuse(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO audit_events"):
            raise RuntimeError("the plug was pulled")

    try:
        assert api.http.delete(f"/v1/jobs/{job}").status_code == 500
    finally:
        sa.event.remove(engine, "before_cursor_execute", refuse)
    assert api.get(f"/v1/jobs/{job}").status_code == 200 and events(api) == []
    assert api.http.delete(f"/v1/jobs/{job}").status_code == 204 and len(events(api)) == 1


def test_it_is_for_admins_and_of_ones_own_project(api: Api, other: Api) -> None:
    other.post("/v1/keys", {"name": "theirs"})
    assert events(api) == [] and len(events(other)) == 1
    secret = api.post("/v1/keys", {"name": "ci", "scopes": ["submit"]}).json()["secret"]
    refused = api.http.get("/v1/audit", headers={"Authorization": f"Bearer {secret}"})
    assert refused.status_code == 403 and refused.json()["code"] == "insufficient_scope"
    api.refused(api.get("/v1/audit", params={"action": "key.lost"}), 422, "invalid_parameter", "action")
    api.refused(api.get("/v1/audit", params={"after": events(other)[0]["id"]}), 422, "invalid_parameter", "after")
    api.refused(api.get("/v1/audit", params={"after": new_id("aud")}), 422, "invalid_parameter", "after")
