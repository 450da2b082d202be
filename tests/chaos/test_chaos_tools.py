"""The tools that break things do break them: without this, a run of the faults proves nothing."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from chaos_proxy import Proxy
from chaos_servers import Postgres, Redis
from servers import until


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    running = Postgres()
    with running.connect() as direct:
        direct.execute("CREATE TABLE notes (text TEXT PRIMARY KEY)")
    yield running
    running.close()


@pytest.fixture
def proxy(server: Postgres) -> Iterator[Proxy]:
    made = Proxy(server.port)
    yield made
    made.close()


def notes(server: Postgres) -> set[str]:
    with server.connect() as direct:
        return {row[0] for row in direct.execute("SELECT text FROM notes")}


def connect(server: Postgres, proxy: Proxy) -> psycopg.Connection:
    return psycopg.connect(server.url("postgres", proxy.port))


def write(connection: psycopg.Connection, text: str) -> None:
    connection.execute("INSERT INTO notes VALUES (%s)", [text])
    connection.commit()


def test_the_lost_answer_belongs_to_a_transaction_that_is_committed(server: Postgres, proxy: Proxy) -> None:
    proxy.lose_answer = lambda number: number == 3
    connection = connect(server, proxy)
    for name in ("lost-1", "lost-2"):
        write(connection, name)
        connection.execute("SELECT 1")
        connection.commit()  # nothing written, not counted
    connection.execute("INSERT INTO notes VALUES ('never')")
    connection.rollback()
    with pytest.raises(psycopg.OperationalError):
        write(connection, "lost-3")
    assert connection.closed
    assert {"lost-1", "lost-2", "lost-3"} <= notes(server)
    assert "never" not in notes(server)
    assert (proxy.commits, proxy.lost) == (3, 1)


def test_a_partition_holds_everything_and_nobody_is_told(server: Postgres, proxy: Proxy) -> None:
    with connect(server, proxy) as connection:
        write(connection, "before")
        proxy.partition()
        done = threading.Event()
        threading.Thread(target=lambda: (write(connection, "during"), done.set()), daemon=True).start()
        assert not done.wait(0.5)
        assert "during" not in notes(server)
        proxy.heal()
        assert done.wait(5)
    assert "during" in notes(server)


def test_a_partition_before_a_commit_leaves_the_transaction_open(server: Postgres, proxy: Proxy) -> None:
    proxy.hold_at = lambda number: number == 1
    connection = connect(server, proxy)
    failed = threading.Event()

    def lose() -> None:
        with pytest.raises(psycopg.OperationalError):
            write(connection, "open")
        failed.set()

    threading.Thread(target=lose, daemon=True).start()
    until(proxy.held, what="the partition")
    with server.connect() as direct:
        until(
            lambda: direct.execute("SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction'").fetchone(),
            what="an open transaction",
        )
    proxy.heal(reset=True)
    assert failed.wait(5)
    assert "open" not in notes(server)


def test_refused_connections_break_the_old_ones_too(server: Postgres, proxy: Proxy) -> None:
    connection = connect(server, proxy)
    proxy.refuse()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        connect(server, proxy)
    proxy.accept()
    connect(server, proxy).close()


@pytest.mark.parametrize("way", ["kill", "stop"])
def test_postgres_comes_back_on_its_port_with_all_that_was_committed(server: Postgres, way: str) -> None:
    old = server.connect()
    old.execute("INSERT INTO notes VALUES (%s)", [way])
    getattr(server, way)()
    with pytest.raises(psycopg.OperationalError):
        old.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        server.connect()
    began = time.monotonic()
    server.start()
    assert way in notes(server)
    assert time.monotonic() - began < 20


def test_redis_comes_back_empty(tmp_path: Path) -> None:
    server = Redis(tmp_path)
    try:
        with server.client() as client:
            client.set("a", 1)
            server.kill()
            server.start()
            assert client.get("a") is None
            client.set("a", 1)
            server.flush()
            assert client.get("a") is None
    finally:
        server.close()
