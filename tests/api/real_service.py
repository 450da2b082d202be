"""The real application behind a real socket, and what a program outside sees of it."""

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import sqlalchemy as sa
import structlog
from servers import free_port
from worker_hand import Hand

from api.main import create_app
from api.serve import Server, bind
from api.services import Services
from api.settings import Settings
from models.session import Database
from models.tables import Base

PROBLEM = {"type", "title", "status", "detail", "instance", "code", "param", "errors", "hint", "request_id"}
RECEIVER_PORT = free_port()
UPLOAD_LIMIT = 3 * 2**20
SETTINGS: dict[str, Any] = {
    "port": 0,
    "max_upload_bytes": UPLOAD_LIMIT,
    "max_body_bytes": 64 * 1024,
    "keepalive_seconds": 0.3,
    "stream_poll_seconds": 0.1,
    "failed_logins_per_minute": 0,  # tests/api/test_api_limits.py has its own; a fuzzer tries more wrong keys in a minute than that
    "webhook_hosts": f"*.example.com, 127.0.0.1:{RECEIVER_PORT}",
}


structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # requests of tests are no news


@dataclass
class Running:
    """An application that answers at `url`."""

    url: str
    settings: Settings
    services: Services
    server: Server
    document: dict[str, Any]  # its /openapi.json

    @property
    def database(self) -> Database:
        return self.services.database

    def files(self) -> set[Path]:
        """Every file of the artifact store and of the folder for uploads."""
        home = self.settings.home_path()
        return {path for folder in ("artifacts", "uploads") for path in (home / folder).rglob("*") if path.is_file()}


def start(settings: Settings, schema_head: str | None = None) -> tuple[Running, Callable[[], None]]:
    app = create_app(settings, schema_head)
    told: list[str] = []
    answering = threading.Event()
    listener = bind(settings.host, settings.port)
    server = Server(app, settings, listener, lambda url: (told.append(url), answering.set()))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    assert answering.wait(10), "the server did not start"

    def stop() -> None:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive(), "the server did not stop"

    return Running(told[0], settings, app.state.services, server, app.openapi()), stop


@dataclass
class Api:
    """What a program outside sees, with a key of a project of its own, and the store behind it."""

    http: httpx2.Client
    running: Running
    project_id: str
    key_id: str
    secret: str
    hand: Hand

    def get(self, path: str, **kw: Any) -> httpx2.Response:
        return self.http.get(path, **kw)

    def post(self, path: str, json: Any = None, **kw: Any) -> httpx2.Response:
        return self.http.post(path, **({"json": json} if json is not None else {}), **kw)

    def submit(self, spec: dict[str, Any], **kw: Any) -> dict[str, Any]:
        response = self.post("/v1/jobs", spec, **kw)
        assert response.status_code == 202, response.text
        return response.json()

    def refused(self, response: httpx2.Response, status: int, code: str, param: str | None = None) -> dict[str, Any]:
        """The problem, once it is shown to be one of the right kind."""
        assert response.status_code == status, response.text
        return problem(response, code, param)

    def rows(self) -> dict[str, int]:
        """How many rows each table has."""
        with self.running.database.read() as session:
            return {
                name: session.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for name, table in Base.metadata.tables.items()
            }

    def state(self) -> tuple[dict[str, int], set[Path]]:
        return self.rows(), self.running.files()


def problem(response: httpx2.Response, code: str, param: str | None = None) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert set(body) == PROBLEM
    assert body["status"] == response.status_code
    assert body["code"] == code, body
    assert body["type"].endswith(f"#{code}")
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["instance"] == response.request.url.path
    assert body["detail"]
    assert "Traceback" not in response.text
    if param is not None:
        assert body["param"] == param, body
    return body


def must_be_documented(document: dict[str, Any]) -> Callable[[httpx2.Response], None]:
    """Hears every answer: one whose status or code /openapi.json does not name for that operation fails the test."""
    places = [(re.compile(re.sub(r"{\w+}", "[^/]+", path)), path) for path in sorted(document["paths"], key=lambda path: "{" in path)]

    def heard(response: httpx2.Response) -> None:
        method = response.request.method.lower()
        path = next((path for pattern, path in places if pattern.fullmatch(response.request.url.path)), None)
        operation = document["paths"].get(path, {}).get(method)
        if operation is None or response.status_code == 405:
            return
        said = operation["responses"].get(str(response.status_code))
        assert said is not None, f"{method} {path} answers {response.status_code}, which /openapi.json does not say"
        if response.headers.get("content-type") == "application/problem+json":
            response.read()
            code = response.json()["code"]
            known = said["content"]["application/problem+json"]["examples"]
            assert code in known, f"{method} {path} answers {response.status_code} {code}; /openapi.json knows {sorted(known)}"

    return heard


def until(true: Callable[[], Any], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
