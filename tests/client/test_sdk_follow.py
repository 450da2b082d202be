"""A stream that breaks is taken up where it was: no event twice, none lost."""

import threading
import time

import pytest
from fake_service import Cut, Handler, Service, ended, event, job

from contract.errors import NotFound, Unavailable
from potstill.client import Client
from potstill.errors import ConnectionFailed, PotstillError, WaitTimeout
from potstill.follow import Message, messages


def test_stream_ends_with_the_final_job(service: Service, client: Client) -> None:
    watched = client.jobs.get(service.add(job()))
    service.streams[watched.id].append([event(1, "status", "accepted"), {}, event(2, "log", "hello"), ended("succeeded")])
    assert [str(e).split("  ", 1)[1] for e in watched.stream()] == ["status      accepted", "log         hello"]
    assert watched.status == "succeeded"


def test_cut_in_the_middle_of_an_event(service: Service, client: Client) -> None:
    watched = client.jobs.get(service.add(job()))
    service.streams[watched.id].extend([[event(1), event(2), Cut(after=40), event(3)], [event(3), Cut()], [event(4), ended("succeeded")]])
    assert [e.seq for e in watched.stream()] == [1, 2, 3, 4]
    streams = service.asked("GET", f"/v1/jobs/{watched.id}/events/stream")
    assert [headers.get("last-event-id") for _, _, _, headers, _ in streams] == [None, "2", "3"]


def test_closed_without_done_is_lost_and_repeated_events_are_dropped(service: Service, client: Client) -> None:
    watched = client.jobs.get(service.add(job()))
    service.streams[watched.id].extend([[event(1), event(2)], [event(1), event(2), event(3), ended("cancelled")]])
    assert [e.seq for e in watched.stream()] == [1, 2, 3]
    assert watched.status == "cancelled"


def test_service_that_restarts_is_waited_for_and_told(service: Service, client: Client) -> None:
    def unavailable(handler: Handler) -> None:
        raise Unavailable("Restarting.")

    watched = client.jobs.get(service.add(job()))
    path = f"GET /v1/jobs/{watched.id}/events/stream"
    service.streams[watched.id].extend([[event(1), Cut()], [event(2), ended("succeeded")]])
    told: list[PotstillError] = []
    stream = watched.stream(on_lost=told.append)
    assert next(stream).seq == 1
    service.first[path].extend([unavailable] * 9)  # more than one request's own tries
    assert [e.seq for e in stream] == [2]
    assert len(told) == 1


def test_service_that_was_never_there_is_an_error_at_once(client: Client, service: Service) -> None:
    watched = client.jobs.get(service.add(job()))
    service.first[f"GET /v1/jobs/{watched.id}/events/stream"].append(lambda handler: handler.answer({"not": "a stream"}))
    with pytest.raises(ConnectionFailed, match="instead of events"):
        list(watched.stream())


def test_job_deleted_meanwhile_is_an_error_at_once(client: Client, service: Service) -> None:
    watched = client.jobs.get(service.add(job()))
    service.streams[watched.id].append([event(1), Cut()])
    stream = watched.stream()
    next(stream)
    del service.jobs[watched.id]
    with pytest.raises(NotFound):
        next(stream)


def test_patience_with_a_lost_service_ends(client: Client, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("potstill.follow.PATIENCE", 0.05)
    watched = client.jobs.get(service.add(job()))
    service.streams[watched.id].extend([[event(1), Cut()]] + [[Cut()]] * 99)
    with pytest.raises(ConnectionFailed):
        list(watched.stream())


def test_deadline_is_seen_while_only_keep_alives_come(client: Client, service: Service) -> None:
    never, watched = threading.Event(), client.jobs.get(service.add(job()))
    service.streams[watched.id].append([event(1), *[{}] * 3, never])
    started = time.monotonic()
    with pytest.raises(WaitTimeout):
        list(watched.stream(timeout=0.3))
    never.set()
    assert time.monotonic() - started < 3


def test_unknown_kinds_of_events_are_skipped(client: Client, service: Service) -> None:
    watched = client.jobs.get(service.add(job()))
    service.streams[watched.id].append([event(1), event(2, "hologram"), event(3), ended("succeeded")])
    assert [e.seq for e in watched.stream()] == [1, 3]


def test_messages_are_read_whatever_the_chunks() -> None:
    """U+2028 ends a line for str.splitlines, and not for server-sent events."""
    raw = ": hi\r\n\r\nevent: log\r\nid: 1\r\ndata: one\u2028two\r\ndata:three\r\n\r\ndata: cut".encode()
    for width in (1, 2, 7, len(raw)):
        chunks = [raw[i : i + width] for i in range(0, len(raw), width)]
        assert list(messages(chunks)) == [None, Message("log", "one\u2028two\nthree")]
