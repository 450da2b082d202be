"""Bodies that are not what they say, too large, or built to explode."""

import json
import socket
from typing import Any

import pytest
from real_service import SETTINGS, Api

JSON = {"Content-Type": "application/json"}
YAML = {"Content-Type": "application/yaml"}


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"", JSON),
        (b"   ", JSON),
        (b"{", JSON),
        (b"{'kind': 'train'}", JSON),
        (b'{"kind": "train",}', JSON),
        (b'{"kind": "train", "kind": "distill"}', JSON),
        (b"\xff\xfe\x00", JSON),
        (b"[" * 5000 + b"]" * 5000, JSON),
        (b"kind: train\nkind: distill\n", YAML),
        (b"data: {train: a, train: b}\n", YAML),
        (b"kind: [train\n", YAML),
        (b"\tkind: train\n", YAML),
        (b"a: &a [*a]\n", YAML),
        (b"!!python/object/apply:os.system ['true']", YAML),
        (b"\xff\xfe", YAML),
        (
            b"a: &a [x,x,x,x,x,x,x,x,x]\n"
            + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(9)),
            YAML,
        ),
        (b"[" * 3000, YAML),
    ],
)
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/validate", "/v1/jobs/batch"])
def test_what_is_no_document_is_400(api: Api, path: str, content: bytes, headers: dict[str, str]) -> None:
    before = api.state()
    api.refused(api.http.post(path, content=content, headers=headers), 400, "malformed_body")
    assert api.state() == before


@pytest.mark.parametrize("value", [[], "train", 3, None, True])
def test_what_is_no_mapping_is_422(api: Api, value: Any) -> None:
    api.refused(api.http.post("/v1/jobs", content=json.dumps(value), headers=JSON), 422, "invalid_spec")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", "nonsense"]
)
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/validate", "/v1/jobs/batch", "/v1/keys"])
def test_another_type_is_415(api: Api, path: str, kind: str) -> None:
    body = api.refused(api.http.post(path, content=b"{}", headers={"Content-Type": kind}), 415, "unsupported_media_type")
    assert "application/json" in body["hint"]


def test_a_compressed_body_is_415(api: Api) -> None:
    api.refused(api.http.post("/v1/jobs", content=b"x", headers={**JSON, "Content-Encoding": "gzip"}), 415, "unsupported_media_type")


def test_a_body_without_a_type_is_taken_for_json(api: Api, train: dict[str, Any]) -> None:
    request = api.http.build_request("POST", "/v1/jobs", content=json.dumps(train))
    request.headers.pop("content-type", None)
    assert api.http.send(request).status_code == 202


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/validate", "/v1/jobs/batch", "/v1/keys"])
def test_a_body_that_is_too_large_is_413(api: Api, path: str) -> None:
    large = b'{"a": "' + b"x" * SETTINGS["max_body_bytes"] + b'"}'
    body = api.refused(api.http.post(path, content=large, headers=JSON), 413, "payload_too_large")
    assert "POTSTILL_MAX_BODY_BYTES" in body["hint"]
    chunks = (large[i : i + 10_000] for i in range(0, len(large), 10_000))
    api.refused(api.http.post(path, content=chunks, headers=JSON), 413, "payload_too_large")
    assert api.get("/v1/jobs").status_code == 200


def test_a_body_announced_as_too_large_is_refused_unread(api: Api) -> None:
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\nContent-Type: application/json\r\n"
    answer = raw(api, head + b"Content-Length: 99999999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ") and b"payload_too_large" in answer


def test_without_a_key_nothing_is_read(api: Api) -> None:
    head = b"POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    answer = raw(api, head + b"Content-Length: 999999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 401 ") and b"missing_key" in answer


def raw(api: Api, head: bytes) -> bytes:
    host, port = api.running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(head.replace(b"%b", api.secret.encode()))
        answer = connection.recv(65536)
        while b"}" not in answer:
            answer += connection.recv(65536)
        return answer


def test_a_document_of_many_values_is_read_beside_other_requests(api: Api) -> None:
    """The largest YAML there may be takes its time, in a thread: nobody else waits for it."""
    import threading
    import time

    text = b"metadata: {" + b", ".join(b"k%d: v" % i for i in range(5000)) + b"}\n"
    assert len(text) < SETTINGS["max_body_bytes"]
    slow = threading.Thread(target=lambda: api.http.post("/v1/jobs", content=text, headers=YAML))
    slow.start()
    started = time.monotonic()
    assert api.get("/livez").status_code == 200
    assert time.monotonic() - started < 0.5
    slow.join()
