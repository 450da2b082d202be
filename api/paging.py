"""Lists, newest first, page by page: each page starts at an id, so that the thousandth costs what the first costs."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel
from sqlalchemy import ColumnElement, select, true
from sqlalchemy.orm import Session

from contract.errors import ErrorCode, Refused
from contract.wire import Page

View = TypeVar("View", bound=BaseModel)
Row = TypeVar("Row")


class _Paging(NamedTuple):
    limit: int
    after: str | None
    before: str | None


def asked(limit: int, after: str | None, before: str | None) -> _Paging:
    """What a page of the browser asks for."""
    return _Paging(limit, after, before)


async def _paging(
    limit: Annotated[int, Query(ge=1, le=100, description="Entries on a page.")] = 20,
    after: Annotated[str | None, Query(description="The last id of a page: gives the next, older one.")] = None,
    before: Annotated[str | None, Query(description="The first id of a page: gives the previous, newer one.")] = None,
) -> _Paging:
    if after is not None and before is not None:
        raise refused("before", "`after` and `before` exclude each other", ErrorCode.CONFLICTING_FIELDS)
    return _Paging(limit, after, before)


Paging = Annotated[_Paging, Depends(_paging)]


def each(view: Callable[[Row], View]) -> Callable[[list[Row]], list[View]]:
    """For rows that are shown without others."""
    return lambda rows: [view(row) for row in rows]


def page(
    session: Session,
    table: type[Row],
    paging: _Paging,
    views: Callable[[list[Row]], list[View]],
    *,
    within: ColumnElement[bool] | None = None,
    where: Sequence[ColumnElement[bool]] = (),
) -> Page[View]:
    """One page of the rows `where` says, among those `within` the caller's project: any of these may be a cursor."""
    id_: Any = getattr(table, "id")  # noqa: B009 - mypy: each of our listed tables has one
    mine = within if within is not None else true()
    cursor = paging.after if paging.after is not None else paging.before
    query = select(table).where(mine, *where)
    if cursor is not None:
        name = "after" if paging.after is not None else "before"
        if "\0" in cursor or session.scalar(select(id_).where(mine, id_ == cursor)) is None:
            raise refused(name, f"there is no entry {cursor[:60]!r} to start from")
        query = query.where(id_ < cursor if name == "after" else id_ > cursor)
    ascending = paging.before is not None
    rows = list(session.scalars(query.order_by(id_.asc() if ascending else id_.desc()).limit(paging.limit + 1)))
    has_more, rows = len(rows) > paging.limit, rows[: paging.limit]
    if ascending:
        rows.reverse()
    first, last = (id_.__get__(rows[0], table), id_.__get__(rows[-1], table)) if rows else (None, None)
    return Page(data=views(rows), first_id=first, last_id=last, has_more=has_more)


def refused(param: str, why: str, code: ErrorCode = ErrorCode.INVALID_PARAMETER, hint: str | None = None) -> Refused:
    """A query field that cannot be carried out."""
    return Refused(f"{param}: {why}", status=422, code=code, param=param, hint=hint)
