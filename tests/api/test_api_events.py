"""A job's history as a list, and live."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from real_service import SETTINGS, Api, start, until

Told = list[dict[str, Any]]


def client(url: str, api: Api) -> httpx2.Client:
    return httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {api.secret}"}, trust_env=False, verify=False)


def blocks(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Server-sent events, read as the standard says; keep-alives come as {"comment": …}."""
    event: dict[str, str] = {}
    for line in lines:
        if not line:
            if event:
                yield event
            event = {}
            continue
        name, _, value = line.partition(":")
        event[name or "comment"] = value.removeprefix(" ")


@contextmanager
def listening(api: Api, job: str, query: str = "", **headers: str) -> Iterator[Iterator[dict[str, str]]]:
    with api.http.stream("GET", f"/v1/jobs/{job}/events/stream{query}", headers=headers) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "no-cache" in response.headers["cache-control"]
        yield blocks(response.iter_lines())


@pytest.fixture
def job(api: Api, train: dict[str, Any]) -> str:
    return str(api.submit(train)["id"])


def test_events_are_listed_in_order(api: Api, job: str) -> None:
    claim = api.hand.claim(job)
    for i in range(5):
        api.hand.say(claim, f"line {i}", number=i)
    page = api.get(f"/v1/jobs/{job}/events").json()
    assert page["object"] == "list" and page["has_more"] is False
    assert [event["seq"] for event in page["data"]] == list(range(1, 9))
    assert set(page["data"][0]) == {"seq", "type", "level", "message", "data", "created_at"}
    assert [event["data"]["to"] for event in page["data"][:3]] == ["queued", "queued", "running"]
    assert page["data"][4]["data"] == {"number": 1} and page["data"][4]["created_at"].endswith("Z")
    first = api.get(f"/v1/jobs/{job}/events?limit=5").json()
    assert first["has_more"] is True and first["last_id"] == "5"
    rest = api.get(f"/v1/jobs/{job}/events?limit=5&after={first['last_id']}").json()
    assert [event["seq"] for event in rest["data"]] == [6, 7, 8] and rest["has_more"] is False
    logs = api.get(f"/v1/jobs/{job}/events?type=log&limit=2").json()
    assert [event["message"] for event in logs["data"]] == ["line 0", "line 1"] and logs["has_more"] is True
    assert api.get(f"/v1/jobs/{job}/events?type=log&type=status").json()["data"] == page["data"]
    assert api.get(f"/v1/jobs/{job}/events?after=99999999999999999999").json()["data"] == []
    api.refused(api.get(f"/v1/jobs/{job}/events?type=gossip"), 422, "invalid_parameter", "type")
    api.refused(api.get(f"/v1/jobs/{job}/events?after=-1"), 422, "invalid_parameter", "after")


def test_a_stream_tells_all_and_ends(api: Api, job: str) -> None:
    with listening(api, job) as told:
        claim = api.hand.claim(job)
        api.hand.say(claim, "two\nlines \u2028 and more")
        api.hand.finish(claim)
        heard = [event for event in told if "comment" not in event]
    assert heard[-1]["event"] == "done" and "id" not in heard[-1]
    final = json.loads(heard[-1]["data"])
    assert final == api.get(f"/v1/jobs/{job}").json() and final["status"] == "succeeded"
    events = heard[:-1]
    assert [int(event["id"]) for event in events] == list(range(1, len(events) + 1))
    listed = api.get(f"/v1/jobs/{job}/events").json()["data"]
    assert [json.loads(event["data"]) for event in events] == listed
    assert [event["event"] for event in events] == [event["type"] for event in listed]


def test_news_come_within_a_second(api: Api, job: str) -> None:
    claim = api.hand.claim(job)
    late: list[float] = []
    with listening(api, job, "?after=3") as told:
        for i in range(5):
            committed = time.monotonic()
            api.hand.say(claim, f"line {i}")
            committed = time.monotonic()
            event = next(event for event in told if "comment" not in event)
            late.append(time.monotonic() - committed)
            assert json.loads(event["data"])["message"] == f"line {i}"
        api.hand.finish(claim)
        list(told)
    assert max(late) < 1.0, late


def test_a_stream_goes_on_where_it_was_lost(api: Api, job: str) -> None:
    api.hand.done(job)
    everything = api.get(f"/v1/jobs/{job}/events").json()["data"]
    last = everything[-1]["seq"]

    def heard(query: str = "", **headers: str) -> list[str]:
        with listening(api, job, query, **headers) as told:
            return [event.get("id", "done") for event in told if "comment" not in event]

    assert heard("?after=2") == [str(seq) for seq in range(3, last + 1)] + ["done"]
    assert heard(**{"Last-Event-ID": "3"}) == [str(seq) for seq in range(4, last + 1)] + ["done"]
    assert heard("?after=1", **{"Last-Event-ID": "3"}) == heard(**{"Last-Event-ID": "3"})
    assert heard(**{"Last-Event-ID": str(last)}) == ["done"]
    assert heard(**{"Last-Event-ID": "99999999999999999999999"}) == ["done"]
    for wrong in ("x", "-1", "1.5"):
        response = api.get(f"/v1/jobs/{job}/events/stream", headers={"Last-Event-ID": wrong})
        api.refused(response, 422, "invalid_parameter", "Last-Event-ID")


def test_more_events_than_are_read_at_once(api: Api, job: str) -> None:
    from models import claims, lifecycle

    claim = api.hand.claim(job)
    with api.running.database.write() as session:
        row = claims.fenced(session, claim)
        for i in range(450):
            lifecycle.add_event(session, row, "log", f"line {i}")
    api.hand.finish(claim)
    with listening(api, job) as told:
        ids = [int(event["id"]) for event in told if "id" in event]
    assert ids == list(range(1, 455))


def test_an_idle_stream_is_kept_alive(api: Api, job: str) -> None:
    with listening(api, job, "?after=2") as told:
        assert "comment" in next(told) and "comment" in next(told)
        api.post(f"/v1/jobs/{job}/cancel")
        assert [event.get("event") for event in told if "comment" not in event] == ["status", "done"]


def test_many_streams_share_one_look(api: Api, job: str) -> None:
    heard: list[int] = []

    def listen() -> None:
        with (
            httpx2.Client(
                base_url=api.running.url, headers={"Authorization": f"Bearer {api.secret}"}, trust_env=False, verify=False
            ) as http,
            http.stream("GET", f"/v1/jobs/{job}/events/stream", timeout=20) as response,
        ):
            heard.append(sum(1 for event in blocks(response.iter_lines()) if "id" in event))

    threads = [threading.Thread(target=listen) for _ in range(30)]
    for thread in threads:
        thread.start()
    until(lambda: len(api.running.services.news._watches) == 30)
    time.sleep(1)  # all have read what there was
    looks: list[str] = []
    engine = api.running.services.database.engine
    listening = sa.event.listens_for(engine, "before_cursor_execute")

    @listening
    def seen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM events" in statement:
            looks.append(statement)

    try:
        api.hand.done(job)
        for thread in threads:
            thread.join()
    finally:
        sa.event.remove(engine, "before_cursor_execute", seen)
    assert heard == [4] * 30
    assert 1 <= len(looks) <= 10  # not one for each stream
    until(lambda: not api.running.services.news._watches)
    assert api.running.services.news._poller is None


def test_who_hangs_up_is_forgotten(api: Api, job: str) -> None:
    with listening(api, job) as told:
        next(told)
        until(lambda: len(api.running.services.news._watches) == 1)
    until(lambda: not api.running.services.news._watches)


def test_a_deleted_job_ends_its_streams(api: Api, job: str) -> None:
    from sqlalchemy import delete

    from models.job import Job

    with listening(api, job, "?after=2") as told:
        with api.running.database.write() as session:
            session.execute(delete(Job).where(Job.id == job))
        assert [event for event in told if "comment" not in event] == []


def test_streams_end_when_the_server_stops(api: Api, job: str) -> None:
    second, stop = start(api.running.settings.model_copy(update={"port": 0, "shutdown_seconds": 10}))
    ended: list[float] = []
    listens = threading.Event()

    def listen() -> None:
        with client(second.url, api) as http, http.stream("GET", f"/v1/jobs/{job}/events/stream", timeout=20) as response:
            for _ in blocks(response.iter_lines()):
                listens.set()
        ended.append(time.monotonic())

    thread = threading.Thread(target=listen)
    thread.start()
    assert listens.wait(5)
    started = time.monotonic()
    stop()
    thread.join(5)
    assert ended and ended[0] - started < 2 and time.monotonic() - started < 3
    assert SETTINGS["keepalive_seconds"] < 1
