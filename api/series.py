"""Metric points as series, thinned on request so that no peak and no dip is lost."""

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from contract.wire import Series, rfc3339
from models.results import MetricPoint

Point = tuple[int, float, str]


def read(
    session: Session, job_ids: Sequence[str], filters: dict[str, str | int | None], after_step: int | None, max_points: int | None
) -> list[Series]:
    """The series of a job, or of a parent's runs, in order of name, arm and seed."""
    wanted = [
        MetricPoint.job_id.in_(job_ids),
        *(getattr(MetricPoint, name) == value for name, value in filters.items() if value is not None),
    ]
    if after_step is not None:
        wanted.append(MetricPoint.step > after_step)
    key = (MetricPoint.name, MetricPoint.arm, MetricPoint.seed)
    counts = session.execute(select(*key, func.count()).where(*wanted).group_by(*key).order_by(*key)).all()
    return [
        Series(
            name=name,
            arm=arm,
            seed=seed,
            points=thinned(_points(session, wanted, (name, arm, seed)), total, max_points),
            total_points=total,
        )
        for name, arm, seed, total in counts
    ]


def thinned(points: Iterable[Point], total: int, max_points: int | None) -> list[Point]:
    """At most `max_points` of `total` points: the first, the last, and each stretch's lowest and highest in between."""
    if max_points is None or total <= max_points:
        return list(points)
    stretches = max(1, (max_points - 2) // 2)
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
    return kept + _both(low, high)  # something only if points came in since they were counted


def _both(low: Point | None, high: Point | None) -> list[Point]:
    """In step order, once if they are the same."""
    if low is None or high is None:
        return []
    return [low] if low[0] == high[0] else sorted((low, high))


def _points(session: Session, wanted: Sequence[object], key: tuple[str, str, int]) -> Iterator[Point]:
    name, arm, seed = key
    query = select(MetricPoint.step, MetricPoint.value, MetricPoint.time).where(
        *wanted,  # type: ignore[arg-type]
        MetricPoint.name == name,
        MetricPoint.arm == arm,
        MetricPoint.seed == seed,
    )
    rows: Iterable[Row[int, float, object]] = session.execute(query.order_by(MetricPoint.step).execution_options(yield_per=5000))
    for step, value, time in rows:
        yield step, value, rfc3339(time)  # type: ignore[arg-type]
