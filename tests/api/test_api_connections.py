"""Connections of those who ask nothing, or do not come to the end of it."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from real_service import Api

from api import connection, limits

ASKED = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture
def connected(api: Api, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """A connection to a service that waits for nobody longer than half a second."""
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(limits, "SILENCE_SECONDS", 0.5)
    host, _, port = api.running.url.removeprefix("http://").partition(":")

    @contextmanager
    def connect() -> Iterator[socket.socket]:
        with socket.create_connection((host, int(port)), timeout=10) as made:
            yield made

    return connect


def read_to(one: socket.socket, end: bytes) -> bytes:
    found = b""
    while end not in found:
        piece = one.recv(4096)
        assert piece, found
        found += piece
    return found


def test_one_that_says_nothing_is_closed(connected: Callable[[], Any]) -> None:
    with connected() as silent:
        assert silent.recv(1) == b""


def test_one_that_says_a_little_now_and_then_is_closed(connected: Callable[[], Any]) -> None:
    with connected() as slow, pytest.raises(OSError):
        for byte in ASKED * 10:
            slow.sendall(bytes([byte]).replace(b"\n", b" "))
            time.sleep(0.1)


def test_one_that_asks_again_in_time_stays(connected: Callable[[], Any]) -> None:
    with connected() as one:
        for _ in range(4):
            one.sendall(ASKED)
            assert read_to(one, b"alive").startswith(b"HTTP/1.1 200")
            time.sleep(0.3)
        assert one.recv(1) == b""


def test_a_stream_is_no_silence(api: Api, train: dict[str, Any], connected: Callable[[], Any]) -> None:
    job = api.submit(train)["id"]
    with connected() as one:
        one.sendall(f"GET /v1/jobs/{job}/events/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {api.secret}\r\n\r\n".encode())
        end = time.monotonic() + 2
        while time.monotonic() < end:
            assert one.recv(4096) != b""


def test_a_body_that_stops_in_the_middle_is_given_up(api: Api, connected: Callable[[], Any]) -> None:
    head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {api.secret}\r\nContent-Length: 1000\r\nContent-Type: "
    before = api.state()
    for path, kind, said in (
        ("/v1/jobs", "application/json", b"{"),
        (
            "/v1/datasets",
            "multipart/form-data; boundary=B",
            b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\na',
        ),
    ):
        with connected() as one:
            one.sendall(f"POST {path} HTTP/1.1\r\n{head}{kind}\r\n\r\n".encode() + said)
            assert read_to(one, b"malformed_body").startswith(b"HTTP/1.1 400")
    assert api.state() == before
