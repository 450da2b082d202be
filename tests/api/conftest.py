"""The real application behind a real socket, on a real SQLite file and a real PostgreSQL database."""

import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
import structlog
from hand import Hand
from sqlalchemy.engine import make_url

import migrations
from api.main import create_app
from api.serve import Server, bind
from api.services import Services
from api.settings import Settings
from models.ids import new_id
from models.project import Project, add_key
from models.session import Database
from models.tables import Base

PROBLEM = {"type", "title", "status", "detail", "instance", "code", "param", "errors", "hint", "request_id"}
UPLOAD_LIMIT = 3 * 2**20
SETTINGS: dict[str, Any] = {
    "port": 0,
    "max_upload_bytes": UPLOAD_LIMIT,
    "max_body_bytes": 64 * 1024,
    "keepalive_seconds": 0.3,
    "stream_poll_seconds": 0.1,
}


structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # requests of tests are no news


@dataclass
class Running:
    """An application that answers at `url`."""

    url: str
    settings: Settings
    services: Services
    server: Server

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

    return Running(told[0], settings, app.state.services, server), stop


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A database of our own on a real server: POTSTILL_TEST_DATABASE, else the local one."""
    url = make_url(os.environ.get("POTSTILL_TEST_DATABASE", "postgresql://postgres@127.0.0.1:5432/postgres")).set(
        drivername="postgresql+psycopg"
    )
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3})
    name = f"potstill_api_{uuid.uuid4().hex[:12]}"
    try:
        with admin.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
    except sa.exc.OperationalError as error:
        pytest.skip(f"no PostgreSQL at {url.render_as_string()}: {str(error.orig).splitlines()[0]}; set POTSTILL_TEST_DATABASE")
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp(request.param)
    url = f"sqlite:///{home / 'potstill.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres")
    migrations.upgrade(url)
    made, stop = start(Settings(home=home, database_url=url, broker_url="", artifacts_url="", **SETTINGS))
    yield made
    stop()


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


@pytest.fixture
def make_api(running: Running) -> Iterator[Callable[[], Api]]:
    """Makes a project with a key and a client for it; everything is gone afterwards."""
    clients: list[httpx2.Client] = []

    def make() -> Api:
        with running.database.write() as session:
            project = Project(id=new_id("prj"), name=f"project {len(clients)}")
            session.add(project)
            secret = f"psk_{uuid.uuid4().hex}"
            key = add_key(session, project, "test", secret)
        http = httpx2.Client(base_url=running.url, headers={"Authorization": f"Bearer {secret}"}, timeout=20, trust_env=False)
        clients.append(http)
        return Api(http, running, project.id, key.id, secret, Hand(running.database, running.services.blobs))

    yield make
    for client in clients:
        client.close()
    with running.database.write() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(sa.delete(table))
    for path in running.files():
        path.unlink()


@pytest.fixture
def api(make_api: Callable[[], Api]) -> Api:
    return make_api()


@pytest.fixture
def other(make_api: Callable[[], Api], api: Api) -> Api:
    """Somebody else's project in the same service."""
    return make_api()


@pytest.fixture
def train() -> dict[str, Any]:
    return {
        "kind": "train",
        "name": "teacher",
        "task": "image-classification",
        "data": {"train": "digits"},
        "student": {"arch": "mlp", "hidden": [32]},
    }


@pytest.fixture
def distill(train: dict[str, Any]) -> dict[str, Any]:
    return {
        **train,
        "kind": "distill",
        "name": "student",
        "student": {"arch": "mlp", "hidden": [4]},
        "recipe": {"name": "hinton", "temperature": 4.0, "alpha": 0.7},
    }
