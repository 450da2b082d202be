"""Which tables this version of the code works with, and what to say where a database has others."""

from sqlalchemy import inspect, text

from contract.errors import Unavailable
from models.base import REVISION
from models.session import Database


def revision(database: Database) -> str | None:
    """The revision the database is at; None where it has no tables."""
    with database.read() as session:
        if not inspect(session.connection()).has_table("alembic_version"):
            return None
        found: str | None = session.scalar(text("SELECT version_num FROM alembic_version"))
        return found


def mismatch(database: Database, needed: str = REVISION) -> str | None:
    """Why this version cannot work with the database; None where it can. Two short queries: cheap enough for every sweep."""
    found = revision(database)
    return None if found == needed else f"The database is at revision {found or 'none'}; this version needs {needed}."


def cure(database: Database, needed: str = REVISION) -> str:
    found = revision(database)
    if found is not None and found > needed:
        return "A newer version migrated it: upgrade this one (pip install -U potstill), or start it on another database."
    return "Run `potstill migrate`."


def refuse_other(database: Database, needed: str = REVISION) -> None:
    """Unavailable where the database has other tables than this version of the code needs."""
    if (why := mismatch(database, needed)) is not None:
        raise Unavailable(why, hint=cure(database, needed))


def refuse_newer(database: Database) -> None:
    """Before a migration: one that knows nothing of the database's revision cannot bring it anywhere."""
    if (revision(database) or "") > REVISION:
        refuse_other(database)
