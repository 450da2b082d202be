"""Migrations: from nothing to the tables of the code and back, on both databases, and nothing forgotten."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from described import Tables, breaking, described
from store_world import World

import migrations
from models import schema
from models.base import REVISION
from models.session import Database
from models.tables import Base

REPOSITORY = Path(migrations.__file__).parent.parent


def tables(url: str) -> set[str]:
    database = Database(url)
    try:
        return set(sa.inspect(database.engine).get_table_names())
    finally:
        database.dispose()


def looked_at(url: str) -> Tables:
    database = Database(url)
    try:
        return described(database.engine)
    finally:
        database.dispose()


def test_up_from_nothing_down_to_nothing_and_up_again(empty_url):
    assert migrations.current(empty_url) is None
    for _ in range(2):
        migrations.upgrade(empty_url)
        assert migrations.current(empty_url) == migrations.head()
        assert tables(empty_url) == {*Base.metadata.tables, "alembic_version"}
        migrations.downgrade(empty_url, "base")
        assert migrations.current(empty_url) is None
        assert tables(empty_url) == {"alembic_version"}


def _is_here(connection: sa.Connection, thing: Any, name: str, kind: str, reflected: bool, _other: object) -> bool:
    """Alembic does not look whether an index is for this kind of database."""
    return reflected or kind != "index" or name != "ix_jobs_metadata" or connection.dialect.name == "postgresql"


def test_the_migrated_tables_are_those_of_the_code(empty_urls):
    migrated, created = empty_urls
    migrations.upgrade(migrated)
    database = Database(migrated)
    with database.engine.connect() as connection:
        opts = {"compare_type": True, "compare_server_default": True, "include_object": lambda *one: _is_here(connection, *one)}
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, Base.metadata) == []
    database.dispose()
    fresh = Database(created)
    Base.metadata.create_all(fresh.engine)
    fresh.dispose()
    assert looked_at(migrated) == looked_at(created)


def test_every_step_goes_up_and_down_by_itself(empty_url):
    """A revision that cannot be undone is found out on the day it has to be. And what code of before would miss is owned up to."""
    script = ScriptDirectory.from_config(migrations.config(empty_url))
    scripts = list(script.walk_revisions())[::-1]
    revisions = [revision.revision for revision in scripts]
    seen = [looked_at(empty_url)]
    for revision in revisions:
        migrations.upgrade(empty_url, revision)
        assert migrations.current(empty_url) == revision
        seen.append(looked_at(empty_url))
    for step, before, after in zip(scripts, seen, seen[1:], strict=False):
        broken = breaking(before, after)
        assert not broken or getattr(step.module, "breaks", None), f"{step.revision} has to say that it `breaks` older code: {broken}"
    for before in reversed(seen[:-1]):
        migrations.downgrade(empty_url, "-1")
        assert looked_at(empty_url) == before
    assert len(script.get_heads()) == 1


def test_the_database_says_which_code_works_with_it(empty_url, monkeypatch):
    """Back to the last revision that broke something, there and back."""
    database = Database(empty_url)
    migrations.upgrade(empty_url)
    assert schema.oldest(database) == migrations.oldest(migrations.head()) == "0012"
    migrations.downgrade(empty_url, "0011")
    assert schema.mismatch(database) == f"The database is at revision 0011; this version needs {REVISION}."
    migrations.upgrade(empty_url)
    assert schema.mismatch(database, "0011") is not None and schema.mismatch(database, "0012") is None
    database.dispose()


def test_migrating_what_is_migrated_changes_nothing(empty_url):
    migrations.upgrade(empty_url)
    world = World(Database(empty_url), empty_url)
    world.begin()
    job_id = world.submit()
    before = world.rows()
    migrations.upgrade(empty_url)
    assert world.rows() == before
    assert world.take().job_id == job_id
    world.database.dispose()


def test_two_processes_that_migrate_at_once_do_it_once(empty_url):
    """Two API nodes of one deployment start at the same moment."""
    command = [sys.executable, "-c", f"import migrations; migrations.upgrade({empty_url!r})"]
    running = [subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE) for _ in range(2)]
    said = [process.communicate(timeout=60)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], b"\n".join(said).decode()
    assert migrations.current(empty_url) == migrations.head()


def test_a_migration_that_fails_leaves_nothing_half_done(empty_url, monkeypatch):
    """All revisions are one transaction."""
    script = ScriptDirectory.from_config(migrations.config(empty_url))
    module = script.get_revision(migrations.head()).module
    create_table = module.op.create_table

    def failing(name: str, *columns: Any, **options: Any) -> Any:
        if name == "events":
            raise RuntimeError("the plug was pulled")
        return create_table(name, *columns, **options)

    monkeypatch.setattr("alembic.op.create_table", failing)
    with pytest.raises(RuntimeError, match="plug"):
        migrations.upgrade(empty_url)
    assert "jobs" not in tables(empty_url)
    monkeypatch.undo()
    migrations.upgrade(empty_url)
    assert migrations.current(empty_url) == migrations.head()
