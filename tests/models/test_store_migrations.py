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
from store_world import World

import migrations
from models.session import Database
from models.tables import Base

REPOSITORY = Path(migrations.__file__).parent.parent


def tables(url: str) -> set[str]:
    database = Database(url)
    try:
        return set(sa.inspect(database.engine).get_table_names())
    finally:
        database.dispose()


def described(url: str) -> dict[str, Any]:
    """Every column, key and index the database has, by its own account."""
    database = Database(url)
    found: dict[str, Any] = {}
    try:
        inspector = sa.inspect(database.engine)
        for table in sorted(set(inspector.get_table_names()) - {"alembic_version"}):
            found[table] = {
                "columns": [(c["name"], str(c["type"]), c["nullable"], c["default"]) for c in inspector.get_columns(table)],
                "primary key": inspector.get_pk_constraint(table)["constrained_columns"],
                "foreign keys": sorted(
                    (k["constrained_columns"], k["referred_table"], k["referred_columns"], sorted(k["options"].items()))
                    for k in inspector.get_foreign_keys(table)
                ),
                "unique": sorted((u["name"] or "", u["column_names"]) for u in inspector.get_unique_constraints(table)),
                "indexes": sorted((i["name"] or "", i["column_names"], bool(i["unique"])) for i in inspector.get_indexes(table)),
            }
        return found
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
    assert described(migrated) == described(created)


def test_every_step_goes_up_and_down_by_itself(empty_url):
    """A revision that cannot be undone is found out on the day it has to be."""
    script = ScriptDirectory.from_config(migrations.config(empty_url))
    revisions = [revision.revision for revision in script.walk_revisions()][::-1]
    seen = [described(empty_url)]
    for revision in revisions:
        migrations.upgrade(empty_url, revision)
        assert migrations.current(empty_url) == revision
        seen.append(described(empty_url))
    for before in reversed(seen[:-1]):
        migrations.downgrade(empty_url, "-1")
        assert described(empty_url) == before
    assert len(script.get_heads()) == 1


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
