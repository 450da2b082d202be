"""A real SQLite file and a real PostgreSQL database; every test of the store and of what writes to it runs on both."""

import os
import uuid
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from store_world import World

import migrations
from models.session import Database

BACKENDS = ["sqlite", "postgres"]
MakeUrl = Callable[[str], str]


@pytest.fixture(scope="session")
def new_postgres(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Makes empty databases on the server that POTSTILL_TEST_DATABASE names, else on one that the tests start."""
    given = os.environ.get("POTSTILL_TEST_DATABASE")
    server = given or request.getfixturevalue("postgres_server")
    url = make_url(server).set(drivername="postgresql+psycopg")
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 5})
    made: list[str] = []

    def run(statement: str) -> None:
        with admin.connect() as connection:
            connection.execute(sa.text(statement))

    def make() -> str:
        name = f"potstill_store_{uuid.uuid4().hex[:12]}"
        run(f"CREATE DATABASE {name}")
        run(f"ALTER DATABASE {name} SET synchronous_commit = off")  # nobody pulls the plug here
        made.append(name)
        return str(url.set(database=name).render_as_string(hide_password=False))

    try:
        admin.connect().close()
    except sa.exc.OperationalError as error:
        pytest.fail(f"no PostgreSQL at {url.render_as_string()}: {str(error.orig).splitlines()[0]}")
    yield make
    for name in made if given else ():  # a server of our own goes as a whole
        run(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()


@pytest.fixture(scope="session")
def make_url_of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MakeUrl:
    """Makes a new, empty database of the kind asked for."""

    def make(backend: str) -> str:
        if backend == "sqlite":
            return f"sqlite:///{tmp_path_factory.mktemp('store') / 'potstill.db'}"
        new: Callable[[], str] = request.getfixturevalue("new_postgres")
        return new()

    return make


@pytest.fixture(scope="session", params=BACKENDS)
def store(request: pytest.FixtureRequest, make_url_of: MakeUrl) -> Iterator[World]:
    """A migrated database for many tests."""
    url = make_url_of(request.param)
    migrations.upgrade(url)
    database = Database(url)
    yield World(database, url)
    database.dispose()


@pytest.fixture
def world(store: World) -> Iterator[World]:
    """The database, empty but for one project."""
    store.begin()
    yield store
    store.clear()
