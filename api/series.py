"""Metric points as series, thinned on request so that no peak and no dip is lost."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, func, or_, select, tuple_
from sqlalchemy.orm import Session

from contract.wire import Series
from models.base import written
from models.points import WIDTHS
from models.results import MetricPoint, MetricSpan

Point = tuple[int, float, str]
Name = tuple[str, str, int]  # of a series: metric, arm, seed
Table = type[MetricPoint] | type[MetricSpan]


class _Length(NamedTuple):
    total: int
    first: int
    last: int

    def width(self, stretches: int) -> int | None:
        """The widest of the stretches in the database of which there are as many as asked for; None: read the points themselves."""
        return next((width for width in reversed(WIDTHS) if min(self.total, (self.last - self.first) // width) >= stretches), None)


def read(
    session: Session, job_ids: Sequence[str], filters: dict[str, str | int | None], after_step: int | None, max_points: int | None
) -> list[Series]:
    """The series of a job, or of a parent's runs, in order of name, arm and seed. However many and however long, it takes a few queries."""
    lengths = _lengths(session, job_ids, filters) if max_points is not None and after_step is None else {}
    widths: dict[Name, int] = {}
    for name, length in lengths.items():
        if max_points is not None and length.total > max_points and (width := length.width(_stretches(max_points))) is not None:
            widths[name] = width
    found: dict[Name, dict[int, Point]] = {name: {} for name in widths}
    wanted = _wanted(MetricPoint, job_ids, filters)
    if after_step is not None:
        wanted.append(MetricPoint.step > after_step)
    if not widths:
        _add_points(session, found, wanted)
    else:
        if whole := [name for name in lengths if name not in widths]:
            _add_points(session, found, [*wanted, _named(MetricPoint, whole)])
        ends = [and_(_named(MetricPoint, [name]), MetricPoint.step.in_((lengths[name].first, lengths[name].last))) for name in widths]
        _add_points(session, found, [*wanted, or_(*ends)])
        _add_extremes(session, found, _wanted(MetricSpan, job_ids, filters), widths)
    made = []
    for name, steps in sorted(found.items()):
        points = [steps[step] for step in sorted(steps)] if name in widths else list(steps.values())
        total = lengths[name].total if name in widths else len(points)
        kept = thinned(points, len(points), max_points)
        # Not checked once more: a hundred thousand points take longer to look at than to read.
        made.append(Series.model_construct(name=name[0], arm=name[1], seed=name[2], points=kept, total_points=total))
    return made


def _wanted(table: Table, job_ids: Sequence[str], filters: Mapping[str, str | int | None]) -> list[ColumnElement[bool]]:
    return [table.job_id.in_(job_ids), *(getattr(table, name) == value for name, value in filters.items() if value is not None)]


def _named(table: Table, names: Sequence[Name]) -> ColumnElement[bool]:
    return tuple_(table.name, table.arm, table.seed).in_(names)


def _lengths(session: Session, job_ids: Sequence[str], filters: Mapping[str, str | int | None]) -> dict[Name, _Length]:
    """How many points each series has, and from where to where, by its widest stretches."""
    key = MetricSpan.name, MetricSpan.arm, MetricSpan.seed
    sums = func.sum(MetricSpan.points), func.min(MetricSpan.first_step), func.max(MetricSpan.last_step)
    wanted = [*_wanted(MetricSpan, job_ids, filters), MetricSpan.width == WIDTHS[-1]]
    rows = session.execute(select(*key, *sums).where(*wanted).group_by(*key))
    return {(name, arm, seed): _Length(int(total), first, last) for name, arm, seed, total, first, last in rows}


def _add_points(session: Session, found: dict[Name, dict[int, Point]], wanted: Sequence[ColumnElement[bool]]) -> None:
    point = MetricPoint
    columns = point.name, point.arm, point.seed, point.step, point.value, written(point.time)
    order = point.name, point.arm, point.seed, point.step
    for name, arm, seed, step, value, time in session.execute(select(*columns).where(*wanted).order_by(*order)):
        found.setdefault((name, arm, seed), {})[step] = (step, value, time)


def _add_extremes(
    session: Session, found: dict[Name, dict[int, Point]], wanted: Sequence[ColumnElement[bool]], widths: Mapping[Name, int]
) -> None:
    """The lowest and the highest point of each stretch."""
    span = MetricSpan
    low, high = (span.low_step, span.low, written(span.low_time)), (span.high_step, span.high, written(span.high_time))
    chosen = or_(
        *(and_(span.width == width, _named(span, [name for name, its in widths.items() if its == width])) for width in set(widths.values()))
    )
    columns: Any = (span.name, span.arm, span.seed, *low, *high)
    for name, arm, seed, *ends in session.execute(select(*columns).where(*wanted, chosen)):
        steps = found[name, arm, seed]
        steps[ends[0]], steps[ends[3]] = tuple(ends[:3]), tuple(ends[3:])


def _stretches(max_points: int) -> int:
    """Of each the lowest and the highest is shown, beside the first and the last of all."""
    return max(1, (max_points - 2) // 2)


def thinned(points: Iterable[Point], total: int, max_points: int | None) -> list[Point]:
    """At most `max_points` of `total` points: the first, the last, and each stretch's lowest and highest in between."""
    if max_points is None or total <= max_points:
        return list(points)
    stretches = _stretches(max_points)
    kept: list[Point] = []
    low = high = None
    current = 0
    for i, point in enumerate(points):
        if i in (0, total - 1):
            kept += _both(low, high)
            kept.append(point)
            low = high = None
            continue
        stretch = (i - 1) * stretches // (total - 2)
        if stretch != current:
            kept += _both(low, high)
            low = high = None
            current = stretch
        low = point if low is None or point[1] < low[1] else low
        high = point if high is None or point[1] > high[1] else high
    return kept + _both(low, high)


def _both(low: Point | None, high: Point | None) -> list[Point]:
    """In step order, once if they are the same."""
    if low is None or high is None:
        return []
    return [low] if low[0] == high[0] else sorted((low, high))
