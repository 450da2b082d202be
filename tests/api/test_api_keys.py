"""Keys: how far each reaches, how long, how it is changed for another, and what is known of it without asking anybody."""

import os
import re
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from real_service import Api, Running, problem, until
from servers import CLI

from api import scopes
from contract.scope import Scope
from models.base import now
from models.browser import BrowserSession
from models.project import Key, RetiredSecret
from models.secret import LENGTH, PREFIX, mistyped, new_secret, secret_hash, weak

NOBODY = "0" * 32


def call(running: Running, method: str, path: str, secret: str, **kw: Any) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx2.request(method, running.url + path, headers=headers, trust_env=False, verify=False, **kw)


def made(api: Api, **asked: Any) -> dict[str, Any]:
    response = api.post("/v1/keys", {"name": "one", **asked})
    assert response.status_code == 201, response.text
    key: dict[str, Any] = response.json()
    return key


def change(api: Api, key_id: str, **values: Any) -> None:
    with api.running.database.write() as session:
        session.execute(sa.update(Key).where(Key.id == key_id).values(**values))


# ---- secrets


def test_a_secret_can_be_recognised_and_no_slip_of_one_character_passes() -> None:
    secret = new_secret()
    assert re.fullmatch(r"psk_[0-9A-Za-z]{49}", secret) and len(secret) == LENGTH and not mistyped(secret)
    for i in range(len(PREFIX), LENGTH):
        assert mistyped(secret[:i] + ("0" if secret[i] != "0" else "1") + secret[i + 1 :]), i
    for i in range(len(PREFIX), LENGTH - 1):
        if secret[i] != secret[i + 1]:
            assert mistyped(secret[:i] + secret[i + 1] + secret[i] + secret[i + 2 :]), i


@pytest.mark.parametrize("length", [20, 32, 36, 40, 43, 44, 48, 64])
def test_keys_of_before_and_keys_that_operators_make_have_other_lengths(length: int) -> None:
    """hex and base64 of 16, 24 and 32 bytes, a UUID, what versions before made."""
    assert not mistyped(PREFIX + "x" * length)


@pytest.mark.parametrize(
    ("secret", "guessable"),
    [
        ("psk_" + "k" * 48, True),
        ("psk_changeme-changeme-1f2e3d", True),
        ("psk_0123456789012345678901234567890123456789", True),
        ("psk_abcd1234abcd1234abcd1234abcd1234", True),
        ("psk_short1f2e3d", True),
        ("psk_9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c", False),
        ("psk_" + "3q2-7wAbX9_zLmPoIuYtReWqAsDfGhJkZxCvBnM1234", False),
    ],
)
def test_guessable_keys_are_known(secret: str, guessable: bool) -> None:
    assert weak(secret) is guessable
    assert not weak(new_secret())


def test_a_mistyped_key_is_refused_without_a_question_to_the_database(api: Api) -> None:
    secret = made(api)["secret"]
    slip = secret[:10] + ("x" if secret[10] != "x" else "y") + secret[11:]
    asked: list[str] = []
    engine = api.running.database.engine
    listening = sa.event.listens_for(engine, "before_cursor_execute")

    @listening
    def seen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    try:
        refused = call(api.running, "GET", "/v1/jobs", slip)
        assert problem(refused, "invalid_key")["detail"] == "This API key is mistyped: its checksum is wrong."
        assert not any("keys" in statement and "SELECT" in statement for statement in asked)
        assert call(api.running, "GET", "/v1/jobs", secret).status_code == 200
        assert any("keys" in statement and "SELECT" in statement for statement in asked), "the listener hears nothing"
    finally:
        sa.event.remove(engine, "before_cursor_execute", seen)


def test_a_key_of_before_goes_on_working_and_may_do_everything(api: Api) -> None:
    """As the version before writes its row: without any of the columns that are new."""
    secret = "psk_" + "Zm9vYmFy-_" * 4 + "abc"
    with api.running.database.write() as session:
        session.execute(
            sa.text(
                "INSERT INTO keys (id, project_id, name, prefix, secret_sha256, created_at, metadata)"
                " SELECT :id, project_id, 'old', 'psk_Zm9v', :hash, created_at, metadata FROM keys WHERE id = :mine"
            ),
            {"id": f"key_{NOBODY}", "hash": secret_hash(secret), "mine": api.key_id},
        )
    listed = call(api.running, "GET", "/v1/keys", secret).json()["data"]
    assert next(key for key in listed if key["name"] == "old")["scopes"] == ["read", "submit", "admin"]


# ---- scopes

READS = [("GET", "/v1/jobs"), ("HEAD", f"/v1/artifacts/art_{NOBODY}"), ("POST", "/v1/jobs/validate"), ("POST", "/v1/sweeps/validate")]
SUBMITS = [
    ("POST", "/v1/jobs"), ("POST", "/v1/jobs/batch"), ("PATCH", f"/v1/jobs/job_{NOBODY}"), ("DELETE", f"/v1/jobs/job_{NOBODY}"),
    *(("POST", f"/v1/jobs/job_{NOBODY}/{verb}") for verb in ("cancel", "pause", "resume", "retry")),
    ("POST", "/v1/sweeps"), ("POST", f"/v1/sweeps/swp_{NOBODY}/cancel"), ("DELETE", f"/v1/sweeps/swp_{NOBODY}"),
    ("POST", "/v1/datasets"), ("DELETE", f"/v1/datasets/ds_{NOBODY}"), ("POST", "/v1/models"), ("DELETE", f"/v1/models/mdl_{NOBODY}"),
    ("POST", "/v1/login-links"), ("POST", "/v1/nothing/of/the/kind"),
]  # fmt: skip
ADMINISTERS = [
    ("GET", "/v1/keys"), ("POST", "/v1/keys"), ("DELETE", f"/v1/keys/key_{NOBODY}"), ("POST", f"/v1/keys/key_{NOBODY}/rotate"),
]  # fmt: skip


@pytest.mark.parametrize("scope", list(Scope))
def test_a_key_does_what_its_scope_says_and_no_more(api: Api, scope: Scope) -> None:
    key = made(api, scopes=[scope])
    assert key["scopes"] == [one.value for one in scope.held()]
    for needed, requests in ((Scope.READ, READS), (Scope.SUBMIT, SUBMITS), (Scope.ADMIN, ADMINISTERS)):
        for method, path in requests:
            answer = call(api.running, method, path, key["secret"], json={"name": "x"} if method == "POST" else None)
            if needed in scope.held():
                assert answer.status_code != 403, (method, path)
            else:
                said = problem(answer, "insufficient_scope")
                assert answer.status_code == 403 and f"`{needed}`" in said["detail"], (method, path)
                assert answer.headers["www-authenticate"] == f'Bearer error="insufficient_scope", scope="{needed}"'
    assert len(api.get("/v1/jobs").json()["data"]) == 0


@pytest.mark.parametrize("unseen", ["%0A", "%0D", "%00", "%E2%80%A8"])
def test_a_path_with_what_cannot_be_seen_leads_nowhere(api: Api, unseen: str) -> None:
    """A router takes `/v1/keys` with a line feed behind it for `/v1/keys`, and a table of paths may not."""
    submits = made(api, scopes=["submit"])["secret"]
    before = api.rows()
    for method, path in (("POST", "/v1/keys"), ("GET", "/v1/keys"), ("GET", "/v1/audit"), ("GET", "/v1/jobs"), ("GET", "/metrics")):
        answer = call(api.running, method, path + unseen, submits, json={"name": "mine", "scopes": ["admin"]} if method == "POST" else None)
        assert answer.status_code == 404, (method, path, answer.text)
        problem(answer, "not_found")
    assert api.rows() == before
    assert scopes.needed("POST", "/v1/keys\n") is scopes.needed("GET", "/v1/audit\n") is Scope.ADMIN


def test_the_api_says_of_each_route_which_scope_it_takes(api: Api) -> None:
    found = {
        f"{method.upper()} {path}": operation["security"][0]["key"][0]
        for path, methods in api.get("/openapi.json").json()["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/v1/")
    }
    assert {call for call, scope in found.items() if scope == "admin"} == {
        "GET /v1/keys", "POST /v1/keys", "DELETE /v1/keys/{key_id}", "POST /v1/keys/{key_id}/rotate", "GET /v1/audit",
    }  # fmt: skip
    reads = {call for call, scope in found.items() if scope == "read"}
    assert {call for call in reads if not call.startswith("GET ")} == {"POST /v1/jobs/validate", "POST /v1/sweeps/validate"}
    assert {call for call, scope in found.items() if scope == "submit" and call.startswith("GET ")} == set()


def test_a_new_key_reads_and_submits_and_makes_no_keys(api: Api, train: dict[str, Any]) -> None:
    key = made(api)
    assert key["scopes"] == ["read", "submit"] and key["expires_at"] is None
    assert call(api.running, "POST", "/v1/jobs", key["secret"], json=train).status_code == 202
    problem(call(api.running, "POST", "/v1/keys", key["secret"], json={"name": "mine", "scopes": ["admin"]}), "insufficient_scope")
    assert len(api.get("/v1/keys").json()["data"]) == 2


def test_a_session_of_a_browser_reaches_as_far_as_its_key(api: Api, make_browser: Callable[[str], httpx2.Client], train: Any) -> None:
    job_id = api.submit(train)["id"]
    reader = make_browser(made(api, scopes=["read"])["secret"])
    page = reader.get("/").text
    assert 'href="/datasets"' in page and 'href="/keys"' not in page
    assert 'action="/jobs/' not in reader.get(f"/jobs/{job_id}").text and "<button" in reader.get(f"/jobs/{job_id}").text
    assert 'class="primary">Submit' not in reader.get("/new").text
    assert reader.post("/new/check", data={"spec": "kind: train"}).status_code == 200
    for method, path in [
        ("GET", "/keys"), ("POST", "/keys"), ("POST", f"/keys/{api.key_id}/revoke"), ("POST", "/new"), ("POST", f"/jobs/{job_id}/cancel"),
    ]:  # fmt: skip
        refused = reader.request(method, path, data={"name": "x", "spec": "kind: train"} if method == "POST" else None)
        assert refused.status_code == 403 and "This needs the scope" in refused.text, path
    assert reader.get("/v1/keys").status_code == 403
    assert api.get(f"/v1/jobs/{job_id}").json()["status"] == "queued"
    writer = make_browser(made(api)["secret"])
    assert f'action="/jobs/{job_id}/cancel"' in writer.get(f"/jobs/{job_id}").text
    assert writer.post(f"/jobs/{job_id}/cancel").status_code == 303 and writer.get("/keys").status_code == 403
    assert 'href="/keys"' in make_browser(api.secret).get("/keys").text


@pytest.mark.parametrize(
    ("asked", "param", "said"),
    [
        ({"scopes": []}, "scopes", "at least 1"),
        ({"scopes": ["write"]}, "scopes.0", "'write' is not one of"),
        ({"scopes": "read"}, "scopes", "valid list"),
        ({"scope": "read"}, "scope", "not known"),
        ({"expires_in_seconds": 0}, "expires_in_seconds", "greater than or equal to 1"),
        ({"expires_in_seconds": "1d"}, "expires_in_seconds", "valid integer"),
        ({"expires_in_seconds": 10**12}, "expires_in_seconds", "less than or equal"),
        ({"name": "x" * 10_000}, "name", "at most 100"),
        ({"name": "a\x1b[31mb"}, "name", "that can be shown"),
    ],
)
def test_what_a_key_cannot_be(api: Api, asked: dict[str, Any], param: str, said: str) -> None:
    refused = api.refused(api.post("/v1/keys", {"name": "x", **asked}), 422, refusal_code(param), param)
    assert said in refused["detail"]
    assert len(api.get("/v1/keys").json()["data"]) == 1


def refusal_code(param: str) -> str:
    return "unknown_field" if param == "scope" else "invalid_spec"


EVIL = "<script>alert('x')</script> [red]x[/red]"


def test_names_of_keys_command_neither_page_nor_terminal(api: Api, make_browser: Callable[[str], httpx2.Client]) -> None:
    made(api, name=EVIL)
    page = make_browser(api.secret).get("/keys").text
    assert "<script>alert" not in page and "&lt;script&gt;" in page
    environment = {**os.environ, "POTSTILL_URL": api.running.url, "POTSTILL_KEY": api.secret, "PYTHONIOENCODING": "utf-8"}
    for words in (["keys", "ls"], ["audit"]):
        assert EVIL in subprocess.run([*CLI, *words], env=environment, capture_output=True, text=True, timeout=60, check=True).stdout, words
    for mark in "\u202e\u009b\u2028\x07":
        refused = api.post("/v1/keys", {"name": f"a{mark}b"})
        assert refused.status_code == 422 and refused.json()["param"] == "name" and "that can be shown" in refused.json()["detail"]
    assert make_browser(api.secret).post("/keys", data={"name": "x" * 10_000}).status_code == 422


# ---- time


def test_a_key_expires(api: Api, make_browser: Callable[[str], httpx2.Client]) -> None:
    key = made(api, expires_in_seconds=3600)
    left = datetime.fromisoformat(key["expires_at"]) - datetime.fromisoformat(key["created_at"])
    assert abs(left - timedelta(hours=1)) < timedelta(seconds=5)
    browser = make_browser(key["secret"])
    assert call(api.running, "GET", "/v1/jobs", key["secret"]).status_code == 200 == browser.get("/").status_code
    change(api, key["id"], expires_at=now(-1))
    assert key["id"] in problem(call(api.running, "GET", "/v1/jobs", key["secret"]), "expired_key")["detail"]
    assert browser.get("/").headers["location"] == "/login"


def test_the_last_use_is_written_once_a_minute(api: Api) -> None:
    key = made(api)

    def used() -> str | None:
        found = next(one for one in api.get("/v1/keys").json()["data"] if one["id"] == key["id"])
        last: str | None = found["last_used_at"]
        return last

    assert used() is None
    call(api.running, "GET", "/v1/jobs", key["secret"])
    until(used)
    first = used()
    for _ in range(3):
        call(api.running, "GET", "/v1/jobs", key["secret"])
    api.running.services.last_use._write(key["id"])  # as another process would
    assert used() == first
    change(api, key["id"], last_used_at=now(-61))
    api.running.services.last_use._write(key["id"])
    assert used() != first


def test_after_a_rotation_both_secrets_work_for_a_while(api: Api) -> None:
    key = made(api)
    rotated = api.post(f"/v1/keys/{key['id']}/rotate")
    assert rotated.status_code == 200, rotated.text
    again = rotated.json()
    assert again["id"] == key["id"] and again["secret"] != key["secret"] and again["prefix"] == again["secret"][:8]
    for secret in (key["secret"], again["secret"]):
        assert call(api.running, "GET", "/v1/jobs", secret).status_code == 200
    with api.running.database.write() as session:
        left = session.scalar(sa.select(RetiredSecret.until).where(RetiredSecret.key_id == key["id"]))
        assert left is not None and timedelta(minutes=59) < left - session.scalar(sa.select(now())) <= timedelta(hours=1)
        session.execute(sa.update(RetiredSecret).values(until=now(-1)))
    assert "former secret" in problem(call(api.running, "GET", "/v1/jobs", key["secret"]), "expired_key")["detail"]
    assert call(api.running, "GET", "/v1/jobs", again["secret"]).status_code == 200


def test_a_rotation_whose_answer_got_lost_costs_nobody_the_secret_in_use(api: Api) -> None:
    key = made(api)
    lost = api.post(f"/v1/keys/{key['id']}/rotate", {"grace_seconds": 600}).json()
    found = api.post(f"/v1/keys/{key['id']}/rotate", {"grace_seconds": 600}).json()
    for secret in (key["secret"], lost["secret"], found["secret"]):
        assert call(api.running, "GET", "/v1/jobs", secret).status_code == 200
    last = api.post(f"/v1/keys/{key['id']}/rotate", {"grace_seconds": 0}).json()
    for secret in (key["secret"], lost["secret"], found["secret"]):
        problem(call(api.running, "GET", "/v1/jobs", secret), "expired_key")
    assert call(api.running, "GET", "/v1/jobs", last["secret"]).status_code == 200


def test_a_rotation_is_answered_again_without_its_secret(api: Api) -> None:
    key, once = made(api), {"Idempotency-Key": "rotate"}
    first, again = (api.post(f"/v1/keys/{key['id']}/rotate", {}, headers=once) for _ in range(2))
    assert first.json()["secret"] and again.json()["secret"] is None and again.headers["idempotent-replayed"] == "true"
    with api.running.database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(RetiredSecret)) == 1


def test_a_leaked_keys_sessions_end_with_it(api: Api, make_browser: Callable[[str], httpx2.Client]) -> None:
    key = made(api)
    browser = make_browser(key["secret"])
    api.post(f"/v1/keys/{key['id']}/rotate", {"grace_seconds": 0})
    assert browser.get("/").headers["location"] == "/login"
    with api.running.database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).where(BrowserSession.expires_at > now())) == 0


def test_an_open_stream_ends_with_its_key(api: Api, train: dict[str, Any]) -> None:
    """A connection that stays open for days must not outlive what it was let in by."""
    key, job = made(api, scopes=["read"]), api.submit(train)["id"]
    claim = api.hand.claim(job)
    headers = {"Authorization": f"Bearer {key['secret']}"}
    with api.http.stream("GET", f"/v1/jobs/{job}/events/stream", headers=headers) as stream:
        lines = stream.iter_lines()
        assert any("attempt" in line or "running" in line for line in lines)
        api.http.delete(f"/v1/keys/{key['id']}")
        api.hand.say(claim, "not for everybody")
        assert "not for everybody" not in "".join(lines)


def test_what_cannot_be_rotated(api: Api, other: Api) -> None:
    key = made(api)
    api.refused(api.post(f"/v1/keys/{key['id']}/rotate", {"grace_seconds": -1}), 422, "invalid_spec", "grace_seconds")
    api.refused(api.post(f"/v1/keys/{key['id']}/rotate", {"grace": 1}), 422, "unknown_field", "grace")
    api.refused(api.post(f"/v1/keys/{other.key_id}/rotate"), 404, "key_not_found")
    api.http.delete(f"/v1/keys/{key['id']}")
    api.refused(api.post(f"/v1/keys/{key['id']}/rotate"), 409, "invalid_transition")
    problem(call(api.running, "GET", "/v1/jobs", key["secret"]), "revoked_key")
    assert other.get("/v1/jobs").status_code == 200
