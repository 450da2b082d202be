"""Webhooks from creation to delivery, against a real receiver; signatures are checked by the specification's own library."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from real_service import RECEIVER_PORT, Api, until
from receiver import Receiver, receiving
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from contract.webhooks import ENDINGS
from models.base import now
from models.webhook import Message


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(RECEIVER_PORT) as server:
        yield server


def create(api: Api, url: str, **fields: Any) -> dict[str, Any]:
    response = api.post("/v1/webhooks", {"url": url, **fields})
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


def told(api: Api, webhook: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(f"/v1/webhooks/{webhook['id']}/deliveries").json()["data"]
    return found


def tried(api: Api, webhook: dict[str, Any], times: int = 1) -> dict[str, Any]:
    """Its only message, once so many tries have ended."""

    def ended() -> bool:
        (message,) = told(api, webhook)
        return sum(one["duration_seconds"] is not None for one in message["tries"]) >= times

    until(ended, 20)
    (message,) = told(api, webhook)
    return message


def pass_time(api: Api) -> None:
    with api.running.database.write() as session:
        session.execute(sa.update(Message).where(Message.due_at.is_not(None)).values(due_at=now()))


def test_a_finished_job_is_told_with_a_signature_as_specified(api: Api, receiver: Receiver, train: dict[str, Any]) -> None:
    webhook = create(api, receiver.url("/ok/1?a=b"), metadata={"team": "a"})
    assert webhook["object"] == "webhook" and webhook["id"].startswith("whk_") and webhook["secret"].startswith("whsec_")
    assert webhook["events"] == ENDINGS and webhook["enabled"] is True and webhook["metadata"] == {"team": "a"}
    job_id = api.submit(train)["id"]
    api.hand.done(job_id)
    until(lambda: receiver.got("/ok/1"))
    (got,) = receiver.received
    assert got.path == "/ok/1?a=b" and got.headers["host"] == receiver.host and got.headers["content-type"] == "application/json"
    body = Verifier(webhook["secret"]).verify(got.body, got.headers)
    assert body["type"] == "job.succeeded" and body["data"]["id"] == job_id and body["data"]["verdict"] == "One run: fine."
    for wrong in (got.body + b" ", got.body.replace(b"succeeded", b"failed")):
        with pytest.raises(WebhookVerificationError):
            Verifier(webhook["secret"]).verify(wrong, got.headers)
    message = tried(api, webhook)
    assert message["id"] == got.headers["webhook-id"] and message["subject"] == job_id and message["type"] == "job.succeeded"
    assert message["status"] == "delivered" and message["next_try_at"] is None
    assert [one["status_code"] for one in message["tries"]] == [200]
    assert api.get(f"/v1/webhooks/{webhook['id']}").json() == {**webhook, "secret": None}


def test_a_ping_can_be_sent_at_any_time_but_not_to_what_is_disabled(api: Api, receiver: Receiver) -> None:
    webhook = create(api, receiver.url())
    sent = api.post(f"/v1/webhooks/{webhook['id']}/test")
    assert sent.status_code == 202 and sent.json()["type"] == "ping" and sent.json()["status"] == "pending"
    assert tried(api, webhook)["status"] == "delivered"
    assert json.loads(receiver.received[0].body)["data"] == {"webhook": webhook["id"]}
    api.http.patch(f"/v1/webhooks/{webhook['id']}", json={"enabled": False})
    api.refused(api.post(f"/v1/webhooks/{webhook['id']}/test"), 409, "invalid_transition", "enabled")


def test_what_fails_is_sent_again_with_the_same_id_and_body_until_it_is_taken(api: Api, receiver: Receiver) -> None:
    webhook = create(api, receiver.url("/status/503"))
    api.post(f"/v1/webhooks/{webhook['id']}/test")
    message = tried(api, webhook)
    assert message["status"] == "pending" and message["tries"][0]["error"] == "answered 503"
    wait = datetime.fromisoformat(message["next_try_at"]) - datetime.now(UTC)
    assert timedelta(seconds=1) < wait < timedelta(seconds=7)
    api.http.patch(f"/v1/webhooks/{webhook['id']}", json={"url": receiver.url("/ok")})
    pass_time(api)
    assert tried(api, webhook, 2)["status"] == "delivered"
    first, second = receiver.received
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)
    assert all(Verifier(webhook["secret"]).verify(one.body, one.headers) for one in (first, second))


def test_gone_disables_and_says_so(api: Api, receiver: Receiver) -> None:
    webhook = create(api, receiver.url("/status/410"))
    api.post(f"/v1/webhooks/{webhook['id']}/test")
    assert tried(api, webhook)["status"] == "failed"
    shown = api.get(f"/v1/webhooks/{webhook['id']}").json()
    assert shown["enabled"] is False and "410" in shown["disabled_reason"]
    changed = api.http.patch(f"/v1/webhooks/{webhook['id']}", json={"enabled": True}).json()
    assert changed["enabled"] is True and changed["disabled_reason"] is None


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest/", "http://127.0.0.1:1/", "https://elsewhere.example.com/"])
def test_redirects_are_not_followed(api: Api, receiver: Receiver, target: str) -> None:
    webhook = create(api, receiver.url(f"/to/{target}"))
    api.post(f"/v1/webhooks/{webhook['id']}/test")
    (one,) = tried(api, webhook)["tries"]
    assert one["status_code"] == 302 and "redirects are not followed" in one["error"] and one["duration_seconds"] < 5


def test_of_a_large_answer_little_is_read(api: Api, receiver: Receiver) -> None:
    webhook = create(api, receiver.url("/large"))
    api.post(f"/v1/webhooks/{webhook['id']}/test")
    message = tried(api, webhook)
    assert message["status"] == "delivered" and message["tries"][0]["duration_seconds"] < 2


def test_receivers_that_hang_hold_up_their_own_messages_alone_and_not_for_ever(api: Api, receiver: Receiver) -> None:
    hanging = [create(api, receiver.url(f"/{way}/{i}")) for i in range(10) for way in ("hang", "drip")]
    for webhook in hanging:
        for _ in range(5):
            api.post(f"/v1/webhooks/{webhook['id']}/test")
    until(lambda: len(receiver.received) >= 40, 20)
    prompt = create(api, receiver.url("/ok/prompt"))
    began = time.monotonic()
    for _ in range(5):
        api.post(f"/v1/webhooks/{prompt['id']}/test")
    until(lambda: len(receiver.got("/ok/prompt")) == 5, 10)
    assert time.monotonic() - began < 8
    assert len(receiver.got("/hang/1")) == 4, "four at once of one webhook"
    until(lambda: all(told(api, webhook)[-1]["tries"][0]["error"] for webhook in hanging), 30)
    assert {told(api, webhook)[-1]["tries"][0]["error"] for webhook in hanging} == {"no whole answer within 15 s"}
    for webhook in hanging:  # what is under way ends quietly
        api.http.delete(f"/v1/webhooks/{webhook['id']}")


def test_a_new_secret_signs_and_for_a_day_the_old_one_too(api: Api, receiver: Receiver) -> None:
    old = create(api, receiver.url())
    rotated = api.post(f"/v1/webhooks/{old['id']}/rotate").json()
    assert rotated["secret"].startswith("whsec_") and rotated["secret"] != old["secret"]
    api.post(f"/v1/webhooks/{old['id']}/test")
    tried(api, old)
    (got,) = receiver.received
    for secret in (old["secret"], rotated["secret"]):
        assert Verifier(secret).verify(got.body, got.headers)["type"] == "ping"


def test_secrets_are_shown_once_and_repetitions_get_none(api: Api, receiver: Receiver) -> None:
    body, key = {"url": receiver.url()}, {"Idempotency-Key": "a"}
    first, again = (api.post("/v1/webhooks", body, headers=key) for _ in range(2))
    assert again.json() == {**first.json(), "secret": None} and again.headers["idempotent-replayed"] == "true"
    assert first.json()["secret"] not in api.get("/v1/webhooks").text
    pings = [api.post(f"/v1/webhooks/{first.json()['id']}/test", headers={"Idempotency-Key": "b"}).json()["id"] for _ in range(2)]
    assert pings[0] == pings[1]


def test_others_cannot_see_or_touch_it(api: Api, other: Api, receiver: Receiver, train: dict[str, Any]) -> None:
    webhook = create(api, receiver.url())
    path = f"/v1/webhooks/{webhook['id']}"
    assert other.get("/v1/webhooks").json()["data"] == []
    for response in (
        other.get(path),
        other.get(f"{path}/deliveries"),
        other.post(f"{path}/test"),
        other.post(f"{path}/rotate"),
        other.http.patch(path, json={"enabled": False}),
        other.http.delete(path),
    ):
        other.refused(response, 404, "webhook_not_found")
    other.hand.done(other.submit(train)["id"])
    assert told(api, webhook) == []


def test_deleted_means_gone(api: Api, receiver: Receiver) -> None:
    webhook = create(api, receiver.url("/status/500"))
    api.post(f"/v1/webhooks/{webhook['id']}/test")
    tried(api, webhook)
    assert api.http.delete(f"/v1/webhooks/{webhook['id']}").status_code == 204
    api.refused(api.get(f"/v1/webhooks/{webhook['id']}"), 404, "webhook_not_found")
    assert api.rows()["webhooks"] == api.rows()["webhook_messages"] == 0


@pytest.mark.parametrize(
    ("fields", "code", "param", "says"),
    [
        ({}, "invalid_spec", "url", "required"),
        ({"url": "ftp://hooks.example.com/"}, "host_not_allowed", "url", "write https://host/path"),
        ({"url": "nonsense"}, "host_not_allowed", "url", "write https://host/path"),
        ({"url": "https://user:secret@hooks.example.com/"}, "host_not_allowed", "url", "user name or password"),
        ({"url": "http://hooks.example.com/"}, "host_not_allowed", "url", "https"),
        ({"url": "https://hooks.example.org/"}, "host_not_allowed", "url", "hooks.example.org"),
        ({"url": "https://169.254.169.254/"}, "host_not_allowed", "url", "sends nothing"),
        ({"url": "https://no-such-host.example.com/"}, "host_not_allowed", "url", "cannot be found"),
        ({"url": "https://hooks.example.com/", "events": ["job.done"]}, "invalid_spec", "events.0", "job.succeeded"),
        ({"url": "https://hooks.example.com/", "events": []}, "invalid_spec", "events", "at least 1"),
        ({"url": "https://hooks.example.com/", "event": ["job.failed"]}, "unknown_field", "event", "events"),
        ({"url": "https://hooks.example.com/", "enabled": 1}, "invalid_spec", "enabled", "boolean"),
    ],
)
def test_bad_input_gets_one_error_that_names_the_field(api: Api, fields: dict[str, Any], code: str, param: str, says: str) -> None:
    before = api.state()
    problem = api.refused(api.post("/v1/webhooks", fields), 422, code, param)
    assert says in problem["detail"] + str(problem["hint"]) and "secret" not in problem["detail"]
    assert api.state() == before


def test_what_may_not_be_created_may_not_be_changed_to(api: Api, receiver: Receiver) -> None:
    path = f"/v1/webhooks/{create(api, receiver.url())['id']}"
    api.refused(api.http.patch(path, json={"url": "http://127.0.0.1:1/"}), 422, "host_not_allowed", "url")
    api.refused(api.http.patch(path, json={"url": None}), 422, "invalid_spec", "url")
    api.refused(api.http.patch(path, json={"events": ["x"]}), 422, "invalid_spec", "events.0")
    assert api.get(path).json()["url"] == receiver.url()


def test_a_project_has_no_more_webhooks_than_one_transaction_can_tell(api: Api, receiver: Receiver) -> None:
    for number in range(32):
        create(api, receiver.url(f"/{number}"), enabled=False)
    api.refused(api.post("/v1/webhooks", {"url": receiver.url()}), 403, "quota_exceeded")
    assert len(api.get("/v1/webhooks?limit=100").json()["data"]) == 32
