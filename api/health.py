"""Whether this process can do its work: a database that answers, with the tables this version needs; and how the broker is."""

import anyio
from anyio import to_thread
from sqlalchemy import inspect, text

from api.queue import Bell
from contract.errors import PotstillError, Unavailable
from models.session import Database

MIGRATE = "Run `potstill migrate`."


def schema(database: Database) -> str | None:
    """The revision the database is at; None where it has no tables."""
    with database.read() as session:
        if not inspect(session.connection()).has_table("alembic_version"):
            return None
        found: str | None = session.scalar(text("SELECT version_num FROM alembic_version"))
        return found


def refuse_pending(database: Database, head: str | None) -> None:
    """Unavailable when the database lacks tables this version of the code needs."""
    if head is None:
        return
    present = schema(database)
    if present != head:
        raise Unavailable(f"The database is at revision {present or 'none'}; this version needs {head}.", hint=MIGRATE)


async def readiness(database: Database, head: str | None, bell: Bell, patience: float) -> dict[str, str]:
    """What was checked, each with how it is. Raises Unavailable where jobs could not be taken; a silent broker is no such thing."""
    checks = {"database": "ok", "migrations": "ok" if head is not None else "not checked", "broker": "ok"}
    answered = False
    with anyio.move_on_after(patience):
        try:
            await to_thread.run_sync(refuse_pending, database, head, abandon_on_cancel=True)
            await to_thread.run_sync(database.ping, abandon_on_cancel=True)
        except PotstillError as error:
            raise Unavailable(f"Not ready: {error.detail}", hint=error.hint, headers={"Retry-After": "2"}) from error
        answered = True
    if not answered:
        raise Unavailable(f"Not ready: the database did not answer within {patience:g} s.", headers={"Retry-After": "2"})
    with anyio.move_on_after(2 * patience):
        if await to_thread.run_sync(bell.reachable, abandon_on_cancel=True):
            return checks
    return checks | {"broker": "not reachable; workers find jobs by looking for them"}
