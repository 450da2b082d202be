"""One Idempotency-Key, one creation: however often, from however many threads and processes."""

import json
import threading
from collections import Counter
from typing import Any

import httpx2
import pytest
from real_service import SETTINGS, Api, start
from worker_hand import npz, safetensors


def key(value: str) -> dict[str, str]:
    return {"Idempotency-Key": value}


def test_the_same_request_gets_the_same_answer(api: Api, train: dict[str, Any]) -> None:
    first = api.post("/v1/jobs", train, headers=key("a"))
    api.hand.claim(first.json()["id"])
    again = api.post("/v1/jobs", train, headers=key("a"))
    assert first.status_code == again.status_code == 202
    assert first.content == again.content and first.headers["location"] == again.headers["location"]
    assert "idempotent-replayed" not in first.headers and again.headers["idempotent-replayed"] == "true"
    assert api.rows()["jobs"] == 1


def test_another_body_or_place_is_refused(api: Api, train: dict[str, Any]) -> None:
    api.post("/v1/jobs", train, headers=key("a"))
    for response in (
        api.post("/v1/jobs", {**train, "priority": 1}, headers=key("a")),
        api.post("/v1/jobs", {"nonsense": True}, headers=key("a")),
        api.post("/v1/jobs/batch", train, headers=key("a")),
        api.post("/v1/keys", {"name": "x"}, headers=key("a")),
    ):
        api.refused(response, 422, "idempotency_key_reused")
    assert api.rows()["jobs"] == 1


def test_keys_belong_to_projects(api: Api, other: Api, train: dict[str, Any]) -> None:
    assert api.post("/v1/jobs", train, headers=key("a")).json()["id"] != other.post("/v1/jobs", train, headers=key("a")).json()["id"]


def test_a_refusal_is_not_kept(api: Api, train: dict[str, Any]) -> None:
    api.refused(api.post("/v1/jobs", {**train, "epohcs": 1}, headers=key("a")), 422, "unknown_field")
    assert api.post("/v1/jobs", train, headers=key("a")).status_code == 202


@pytest.mark.parametrize("value", ["x" * 256, "é", "a\tb"])
def test_keys_that_are_none(api: Api, train: dict[str, Any], value: str) -> None:
    api.refused(api.post("/v1/jobs", train, headers=[(b"Idempotency-Key", value.encode())]), 422, "invalid_parameter", "Idempotency-Key")


def test_everything_that_creates_takes_one(api: Api, train: dict[str, Any]) -> None:
    failed = api.submit(train)["id"]
    api.hand.fail(failed)
    rows = "a,label\n1,x\n2,y\n"
    config = {"arch": "logistic", "task": "tabular-classification", "shape": [2], "classes": ["x", "y"]}
    model = [("file", ("model.safetensors", safetensors({"w": [2, 2], "b": [2]}))), ("file", ("config.json", json.dumps(config)))]
    calls: dict[str, dict[str, Any]] = {
        "/v1/jobs": {"json": train},
        "/v1/jobs/batch": {"json": {"jobs": [train, {**train, "name": "b"}]}},
        f"/v1/jobs/{failed}/retry": {},
        "/v1/datasets": {"files": {"file": ("rows.csv", rows)}},
        "/v1/models": {"files": model},
        "/v1/keys": {"json": {"name": "ci"}},
    }
    for path, body in calls.items():
        first = api.http.post(path, **body, headers=key(path))
        assert first.status_code in (201, 202), first.text
        before = api.rows()
        again = api.http.post(path, **body, headers=key(path))
        assert (again.status_code, again.headers.get("location")) == (first.status_code, first.headers.get("location")), path
        assert again.headers["idempotent-replayed"] == "true"
        expected = first.json() | ({"secret": None} if path == "/v1/keys" else {})
        assert again.json() == expected and api.rows() == before


def test_a_secret_is_stored_nowhere(api: Api) -> None:
    from sqlalchemy import text

    secret = api.post("/v1/keys", {"name": "ci"}, headers=key("a")).json()["secret"]
    with api.running.database.read() as session:
        for table in ("idempotency_records", "keys"):
            assert secret not in str(session.execute(text(f"SELECT * FROM {table}")).all())


def test_many_at_once_create_one(api: Api, train: dict[str, Any]) -> None:
    """Twelve threads, two processes' worth of applications on one store."""
    second, stop = start(api.running.settings.model_copy(update={"port": 0}))
    answers: list[httpx2.Response] = []
    barrier = threading.Barrier(12)

    def send(url: str) -> None:
        with httpx2.Client(
            base_url=url, headers={"Authorization": f"Bearer {api.secret}"}, trust_env=False, verify=False, timeout=20
        ) as http:
            barrier.wait()
            answers.append(http.post("/v1/jobs", json=train, headers=key("race")))

    threads = [threading.Thread(target=send, args=(url,)) for url in (api.running.url, second.url) * 6]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop()
    assert api.rows()["jobs"] == 1 and api.rows()["idempotency_records"] == 1
    codes = Counter(answer.status_code for answer in answers)
    assert set(codes) <= {202, 409} and codes[202] >= 1
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 202}) == 1
    for answer in answers:
        if answer.status_code == 409:
            assert answer.json()["code"] == "idempotency_in_flight" and answer.headers["retry-after"]


def test_one_that_is_still_in_flight_is_409(api: Api, train: dict[str, Any]) -> None:
    sending = (api.project_id, "slow")
    api.running.services.idempotency._in_flight.add(sending)
    try:
        api.refused(api.post("/v1/jobs", train, headers=key("slow")), 409, "idempotency_in_flight")
    finally:
        api.running.services.idempotency._in_flight.discard(sending)
    assert api.post("/v1/jobs", train, headers=key("slow")).status_code == 202


def test_the_same_bytes_uploaded_at_once_are_one_dataset(api: Api) -> None:
    import numpy as np

    archive = npz(x=np.zeros((50, 4)), y=np.arange(50) % 2)
    answers: list[httpx2.Response] = []
    barrier = threading.Barrier(6)

    def send() -> None:
        barrier.wait()
        answers.append(api.http.post("/v1/datasets", files={"file": ("rows.npz", archive)}))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201], [answer.text for answer in answers]
    assert len({answer.json()["id"] for answer in answers}) == 1 and api.rows()["datasets"] == 1
    assert SETTINGS["port"] == 0
