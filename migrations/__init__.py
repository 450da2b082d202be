"""Alembic, driven from code: `upgrade(url)` brings a database to the tables of this version."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from models.session import Database


def config(url: str) -> Config:
    cfg = Config()
    cfg.set_main_option("script_location", str(Path(__file__).parent))
    cfg.attributes["url"] = url
    return cfg


def upgrade(url: str, revision: str = "head") -> None:
    command.upgrade(config(url), revision)


def downgrade(url: str, revision: str) -> None:
    command.downgrade(config(url), revision)


def head() -> str:
    """The newest revision this version of the code has."""
    found = ScriptDirectory.from_config(config("")).get_current_head()
    assert found is not None
    return found


def oldest(revision: str) -> str:
    """The oldest revision whose code works with the tables of this one: up to it the last that says it `breaks`, else the first."""
    for script in ScriptDirectory.from_config(config("")).walk_revisions("base", revision):
        if getattr(script.module, "breaks", None):
            break
    return script.revision


def current(url: str) -> str | None:
    """The revision a database is at."""
    database = Database(url)
    try:
        with database.engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        database.dispose()
