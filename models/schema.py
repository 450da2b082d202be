"""Which tables this version of the code works with, and what to say where a database has others: its own, and newer ones of which no
migration since says that it breaks older code. So a database is migrated first, and processes follow one by one."""

from sqlalchemy import inspect, select, text

from contract.errors import Unavailable
from models.base import REVISION
from models.service import Compatibility
from models.session import Database


def revision(database: Database) -> str | None:
    """The revision the database is at; None where it has no tables."""
    with database.read() as session:
        if not inspect(session.connection()).has_table("alembic_version"):
            return None
        found: str | None = session.scalar(text("SELECT version_num FROM alembic_version"))
        return found


def oldest(database: Database) -> str | None:
    """The oldest revision whose code works with the database; None where nobody said."""
    with database.read() as session:
        return session.scalar(select(Compatibility.oldest))


def mismatch(database: Database, needed: str = REVISION) -> str | None:
    """Why this version cannot work with the database; None where it can. Short queries: cheap enough for every sweep."""
    found = revision(database)
    if found == needed or (found is not None and found > needed and needed >= (oldest(database) or found)):
        return None
    return f"The database is at revision {found or 'none'}; this version needs {needed}."


def cure(database: Database, needed: str = REVISION) -> str:
    found = revision(database)
    if found is not None and found > needed:
        return "A newer version migrated it: upgrade this one (pip install -U potstill), or start it on another database."
    return "Run `potstill migrate`."


def refuse_other(database: Database, needed: str = REVISION) -> None:
    """Unavailable where the database has tables that this version of the code cannot work with."""
    if (why := mismatch(database, needed)) is not None:
        raise Unavailable(why, hint=cure(database, needed))


def to_migrate(database: Database) -> bool:
    """Whether this version has something to migrate. Newer tables stay as they are; Unavailable where this cannot work with them."""
    if (revision(database) or "") <= REVISION:
        return True
    refuse_other(database)
    return False
