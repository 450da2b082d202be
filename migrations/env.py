"""Run by Alembic. One transaction for all revisions; of two migrating processes one waits for the other."""

import sqlalchemy as sa
from alembic import context
from sqlalchemy import text

import migrations
from models.base import UtcTime
from models.service import Compatibility
from models.session import Database
from models.tables import Base

LOCK = 0x706F7473  # "pots"


def render(kind: str, item: object, autogen: object) -> str | bool:
    """Our own column types by their names in models.base."""
    if kind == "type" and isinstance(item, UtcTime):
        autogen.imports.add("from models.base import UtcTime")  # type: ignore[attr-defined]
        return "UtcTime()"
    if kind == "type" and isinstance(item, sa.JSON) and item._variant_mapping:
        autogen.imports.add("from models.base import Json")  # type: ignore[attr-defined]
        return "Json"
    return False


database = Database(context.config.attributes["url"])
with database.engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=database.dialect == "sqlite",
        compare_type=True,
        transactional_ddl=True,  # of SQLite, too: our connections begin by BEGIN IMMEDIATE, before anybody asks for the present revision
        render_item=render,
    )
    with context.begin_transaction():
        if database.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        context.run_migrations()
        reached = context.get_context().get_current_revision()
        if reached is not None and sa.inspect(connection).has_table(Compatibility.__tablename__):
            connection.execute(sa.delete(Compatibility))
            connection.execute(sa.insert(Compatibility).values(oldest=migrations.oldest(reached)))
database.dispose()
