"""Which tables the code is made for, and what it says where a database has others."""

from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text

import migrations
from contract.errors import Unavailable
from models import schema
from models.base import REVISION
from models.session import Database


def test_the_code_names_the_newest_revision_and_they_sort_by_age() -> None:
    ages = [script.revision for script in ScriptDirectory.from_config(migrations.config("")).walk_revisions()]
    assert ages[0] == REVISION
    assert ages == sorted(ages, reverse=True) and {len(revision) for revision in ages} == {len(REVISION)}


@pytest.mark.parametrize(
    ("found", "oldest", "cure"),
    [
        (None, None, "Run `potstill migrate`."),
        ("0000", "0000", "Run `potstill migrate`."),
        ("9999", "9998", "upgrade this one"),
        ("9999", None, "upgrade this one"),
        ("9999", REVISION, None),
        (REVISION, REVISION, None),
    ],
)
def test_a_database_of_another_version_is_named_with_the_cure(
    tmp_path: Path, found: str | None, oldest: str | None, cure: str | None
) -> None:
    url = f"sqlite:///{tmp_path / 'potstill.db'}"
    database = Database(url)
    if found is not None:
        migrations.upgrade(url)
        with database.write() as session:
            session.execute(text("UPDATE alembic_version SET version_num = :found"), {"found": found})
            session.execute(
                text("DELETE FROM compatibility" if oldest is None else "UPDATE compatibility SET oldest = :oldest"),
                {"oldest": oldest} if oldest else {},
            )
    if cure is None:
        assert schema.mismatch(database) is None
        schema.refuse_other(database)
        assert schema.to_migrate(database) == (found == REVISION)
    else:
        assert schema.mismatch(database) == f"The database is at revision {found or 'none'}; this version needs {REVISION}."
        with pytest.raises(Unavailable) as caught:
            schema.refuse_other(database)
        assert caught.value.hint is not None and cure in caught.value.hint
        if found == "9999":
            with pytest.raises(Unavailable):
                schema.to_migrate(database)
        else:
            assert schema.to_migrate(database)
    database.dispose()
