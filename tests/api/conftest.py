"""The application on a real SQLite file and on a real PostgreSQL database."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from real_service import SETTINGS, Api, Running, must_be_documented, start
from sqlalchemy.engine import make_url
from worker_hand import Hand

import migrations
from api.settings import Settings
from models.ids import new_id
from models.project import Project, add_key
from models.tables import Base


@pytest.fixture(scope="session")
def api_postgres(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of our own on a real server: the one POTSTILL_TEST_DATABASE names, else one that the tests start."""
    server = os.environ.get("POTSTILL_TEST_DATABASE") or request.getfixturevalue("postgres_server")
    url = make_url(server).set(drivername="postgresql+psycopg")
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    name = f"potstill_api_{uuid.uuid4().hex[:12]}"
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield url.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp(request.param)
    url = f"sqlite:///{home / 'potstill.db'}" if request.param == "sqlite" else request.getfixturevalue("api_postgres")
    migrations.upgrade(url)
    made, stop = start(Settings(home=home, database_url=url, broker_url="", artifacts_url="", **SETTINGS))
    yield made
    stop()


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
        http = httpx2.Client(
            base_url=running.url,
            headers={"Authorization": f"Bearer {secret}"},
            event_hooks={"response": [must_be_documented(running.document)]},
            timeout=20,
            trust_env=False,
            verify=False,
        )
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
def make_browser(api: Api) -> Iterator[Callable[[str], httpx2.Client]]:
    """Logs a browser in with a key."""
    with ExitStack() as open_:

        def make(secret: str) -> httpx2.Client:
            headers = {"Accept": "text/html", "Origin": api.running.url}
            http = open_.enter_context(httpx2.Client(base_url=api.running.url, headers=headers, timeout=20, trust_env=False, verify=False))
            assert http.post("/login", data={"key": secret}).status_code == 303
            return http

        yield make


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
