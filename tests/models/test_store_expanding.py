"""What a migration may do while processes of the version before go on, and what it has to own up to."""

from typing import Any

import pytest
import sqlalchemy as sa
from described import Tables, breaking, described


def before() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("note", sa.Text),
        sa.Column("size", sa.Integer, nullable=False, server_default="0"),
    ]


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "dropped": ({"note": None}, "column note is gone"),
    "renamed": ({"note": None, "remark": sa.Column("remark", sa.Text)}, "column note is gone"),
    "required": ({"kind": sa.Column("kind", sa.Text, nullable=False)}, "column kind is new, cannot be null and has no server_default"),
    "narrower": ({"name": sa.Column("name", sa.String(50), nullable=False)}, "column name is VARCHAR(50) and was VARCHAR(100)"),
    "other type": ({"note": sa.Column("note", sa.Integer)}, "column note is INTEGER and was TEXT"),
    "never null": ({"note": sa.Column("note", sa.Text, nullable=False)}, "column note can be null no longer"),
    "no default": ({"size": sa.Column("size", sa.Integer, nullable=False)}, "column size has its default no longer"),
    "unique": ({"": sa.UniqueConstraint("name", name="uq")}, "unique: ('uq', ['name']) is new"),
    "unique index": ({"": sa.Index("ix", "name", unique=True)}, "index ix is new and unique"),
    "check": ({"": sa.CheckConstraint("size > 0", name="ck")}, "checks: ('ck', 'size > 0') is new"),
    "other key": ({"name": sa.Column("name", sa.String(100), primary_key=True)}, "the primary key is ['id', 'name']"),
}
COUNTED = sa.Column("more", sa.Integer, nullable=False, server_default="1")
LARGER = sa.Column("size", sa.BigInteger, nullable=False, server_default="0")
KEPT: dict[str, dict[str, Any]] = {
    "nothing": {},
    "columns that may be left out": {"kind": sa.Column("kind", sa.Text), "more": COUNTED},
    "wider": {"name": sa.Column("name", sa.String(200), nullable=False), "size": LARGER},
    "index": {"": sa.Index("ix", "name")},
    "rule on a new column": {"kind": sa.Column("kind", sa.Text), "": sa.UniqueConstraint("kind", name="uq")},
}


def tables(changes: dict[str, Any]) -> Tables:
    parts = {**{column.name: column for column in before()}, **changes}
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    sa.Table("jobs", made := sa.MetaData(), *(part for part in parts.values() if part is not None))
    made.create_all(engine)
    return described(engine)


@pytest.mark.parametrize("case", BROKEN)
def test_what_breaks_older_code_is_named(case: str) -> None:
    changes, said = BROKEN[case]
    assert f"jobs: {said}" in breaking(tables({}), tables(changes))


@pytest.mark.parametrize("case", KEPT)
def test_what_older_code_does_not_notice_is_allowed(case: str) -> None:
    assert breaking(tables({}), tables(KEPT[case])) == []


@pytest.mark.parametrize(("ondelete", "broken"), [(None, ["votes: keeps rows of jobs from being deleted"]), ("CASCADE", [])])
def test_tables_that_go_and_that_hold_on_to_others(ondelete: str | None, broken: list[str]) -> None:
    assert breaking(tables({}), {}) == ["jobs: gone"]
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    sa.Table("jobs", made := sa.MetaData(), *before())
    sa.Table("votes", made, sa.Column("job_id", sa.ForeignKey("jobs.id", ondelete=ondelete), primary_key=True))
    made.create_all(engine)
    assert breaking(tables({}), described(engine)) == broken
