"""One way to the database: `with database.write() as session` and `with database.read() as session`."""

import json
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import OperationalError as SqliteError
from typing import Any

from pydantic_core import from_json
from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DatabaseError, DBAPIError, InvalidatePoolError, OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

import models.tables  # noqa: F401 - whoever opens a database needs every table known
from contract.errors import PotstillError, Unavailable
from models.mounts import network_filesystem

# How long a Postgres that went without a word is believed to be there; the kernel's own answer is a quarter of an hour.
PATIENCE = {"connect_timeout": 5, "tcp_user_timeout": 10_000, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
# And how long Postgres waits inside a transaction for a client that stopped or was cut off: its row locks would keep the reaper from
# giving its job to somebody else. Ours never wait inside one.
IDLE_SECONDS = 5
RESTED_SECONDS = 1.0
READ_ONLY = "25006"  # a standby that has not taken over yet, or a server whose disk is full: it will write again
SQLITE_SECONDS = 30.0  # how long a connection to SQLite waits for others
SQLITE = {"timeout": SQLITE_SECONDS, "check_same_thread": False}


def loads(text: str | bytes) -> Any:
    """JSON from a column: in half the time of json's own, and with what that takes besides, halves of characters."""
    try:
        return from_json(text)
    except ValueError:
        return json.loads(text)


class Database:
    """An engine and its two kinds of transaction. Sync only; nothing slow may happen inside either."""

    def __init__(self, url: str, pool_size: int = 20) -> None:
        parsed = make_url(url)
        if parsed.drivername in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        self.dialect = parsed.get_backend_name()
        if self.dialect == "sqlite":
            if parsed.database:
                _refuse_network(Path(parsed.database))
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            self.engine = create_engine(parsed, json_deserializer=loads, pool_size=pool_size, connect_args=SQLITE)
            _teach_sqlite(self.engine)
        else:
            self.engine = create_engine(parsed, json_deserializer=loads, pool_size=pool_size, max_overflow=10, connect_args=PATIENCE)
            _teach_postgres(self.engine)
            _ask_rested(self.engine)
        # On Postgres each statement of a reader sees what is committed by then, in a transaction or without; without, it need not say
        # BEGIN and COMMIT, two of three ways to the server and back. SQLite's readers see one moment.
        reading = {"isolation_level": "AUTOCOMMIT"} if self.dialect == "postgresql" else {"sqlite_begin": "DEFERRED"}
        self._reading, self._writing = self.engine.execution_options(**reading), self.engine.execution_options(sqlite_begin="IMMEDIATE")

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Committed at the end of the block, rolled back on an exception. On SQLite it takes the write lock at once:
        upgrading a read lock later is what raises `database is locked`."""
        with self._session(self._writing) as session, session.begin():
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        with self._session(self._reading) as session, session.begin():
            yield session

    @contextmanager
    def _session(self, engine: Engine) -> Iterator[Session]:
        try:
            with Session(engine, expire_on_commit=False) as session:
                yield session
        except OperationalError as error:
            if "no such" in str(error.orig):  # SQLite's word for a missing table or column: our mistake, no outage
                raise
            raise _unavailable(error) from error
        except DBAPIError as error:
            if error.connection_invalidated or getattr(error.orig, "sqlstate", None) == READ_ONLY:
                raise _unavailable(error) from error
            raise

    def ping(self) -> None:
        """Unavailable where nothing answers; PotstillError where what answers is no database that can be read."""
        try:
            with self.read() as session:
                session.execute(text("SELECT 1"))
        except DatabaseError as error:
            place = self.engine.url.render_as_string(hide_password=True)
            raise PotstillError(f"The database {place} cannot be used: {error.orig}.", hint="Put a copy of it back.") from None

    def dispose(self) -> None:
        self.engine.dispose()


def _unavailable(error: DBAPIError) -> Unavailable:
    reason = str(error.orig).strip().splitlines()[0] if error.orig else "connection lost"
    return Unavailable(f"The database did not answer: {reason}", hint="Ask again in a few seconds.", headers={"Retry-After": "2"})


def _refuse_network(path: Path) -> None:
    kind = network_filesystem(path)
    if kind is not None:
        raise PotstillError(
            f"SQLite cannot be kept in {path.resolve().parent}: that is on a network file system ({kind}), where its locks do not hold.",
            hint="Set POTSTILL_DATABASE_URL to a Postgres, or choose a folder on a disk of this machine with --home or POTSTILL_HOME.",
        )


def _teach_postgres(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        connection.autocommit = True
        connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
        connection.autocommit = False


def _ask_rested(engine: Engine) -> None:
    """A connection that was not used for a while, or on which the server has said something unasked, as it does when it closes it, is
    asked whether it still stands before somebody gets it. Asking each time would be one way more to the server and back for every
    transaction."""

    @event.listens_for(engine, "checkin")
    def checkin(_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info["rests_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def checkout(connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        rested = time.monotonic() - record.info.get("rests_since", time.monotonic())
        said = select.poll()
        said.register(connection.fileno(), select.POLLIN)
        if rested < RESTED_SECONDS and not said.poll(0):
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error


def _teach_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions behind our back
        connection.execute(f"PRAGMA busy_timeout={SQLITE_SECONDS * 1000:.0f}")
        _use_wal(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        mode = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
        connection.exec_driver_sql(f"BEGIN {mode}")


def _use_wal(connection: Any) -> None:
    """A new file becomes a WAL file once and for all. SQLite does not wait for others who do so at the same moment, whatever
    busy_timeout says: so we do."""
    end = time.monotonic() + SQLITE_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except SqliteError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)
