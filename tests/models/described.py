"""What a database's tables are by its own account, and which differences the code of before them does not survive."""

import re
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

Tables = dict[str, dict[str, Any]]
STAY = {"projects"}  # of which nobody deletes a row
SIZE = re.compile(r"VARCHAR\((\d+)\)")


def described(engine: sa.Engine) -> Tables:
    """Every column, key, index and check."""
    found: Tables = {}
    inspector = sa.inspect(engine)
    for table in sorted(set(inspector.get_table_names()) - {"alembic_version"}):
        found[table] = {
            "columns": [(c["name"], str(c["type"]), c["nullable"], c["default"]) for c in inspector.get_columns(table)],
            "primary key": inspector.get_pk_constraint(table)["constrained_columns"],
            "foreign keys": sorted(
                (k["constrained_columns"], k["referred_table"], k["referred_columns"], sorted(k["options"].items()))
                for k in inspector.get_foreign_keys(table)
            ),
            "unique": sorted((u["name"] or "", u["column_names"]) for u in inspector.get_unique_constraints(table)),
            "checks": sorted((c["name"] or "", c["sqltext"]) for c in inspector.get_check_constraints(table)),
            "indexes": sorted((i["name"] or "", i["column_names"], bool(i["unique"])) for i in inspector.get_indexes(table)),
        }
    return found


def breaking(before: Tables, after: Tables) -> list[str]:
    """Code that knows `before` names its columns when it inserts, leaves out those it does not know, and reads what it knows: it cannot
    go on where something of that is gone, is narrower, or is refused since. New tables, columns that may be left out, indexes and
    dropped constraints are nothing to it."""
    known = [f"{table}: {what}" for table in before for what in (_of_table(before[table], after[table]) if table in after else ["gone"])]
    new = [(table, key) for table in after.keys() - before.keys() for key in after[table]["foreign keys"]]
    held = [
        f"{table}: keeps rows of {to} from being deleted" for table, (_, to, _, how) in new if to in before.keys() - STAY and not dict(how)
    ]
    return known + held


def _of_table(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    old, new = ({name: rest for name, *rest in one["columns"]} for one in (before, after))
    for name, (kind, nullable, default) in old.items():
        if name not in new:
            yield f"column {name} is gone"
            continue
        kind_now, nullable_now, default_now = new[name]
        if kind != kind_now and not _wider(kind, kind_now):
            yield f"column {name} is {kind_now} and was {kind}"
        if nullable and not nullable_now:
            yield f"column {name} can be null no longer"
        if default is not None and default_now is None and not nullable_now:
            yield f"column {name} has its default no longer"
    for name in new.keys() - old.keys():
        if not new[name][1] and new[name][2] is None:
            yield f"column {name} is new, cannot be null and has no server_default"
    if before["primary key"] != after["primary key"]:
        yield f"the primary key is {after['primary key']}"
    for rule in ("foreign keys", "unique", "checks"):
        yield from (f"{rule}: {one} is new" for one in after[rule] if one not in before[rule] and set(_columns(one, rule)) & old.keys())
    yield from (f"index {name} is new and unique" for name, columns, unique in after["indexes"] if unique and set(columns) & old.keys()
                and (name, columns, unique) not in before["indexes"])  # fmt: skip


def _columns(rule: Any, kind: str) -> list[str]:
    if kind == "checks":
        return re.findall(r"\w+", rule[1])
    columns: list[str] = rule[0] if kind == "foreign keys" else rule[1]
    return columns


def _wider(before: str, now: str) -> bool:
    sizes = SIZE.fullmatch(before), SIZE.fullmatch(now)
    if sizes[0]:
        return now == "TEXT" or bool(sizes[1] and int(sizes[1][1]) >= int(sizes[0][1]))
    return (before, now) == ("INTEGER", "BIGINT")
