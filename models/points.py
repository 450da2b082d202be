"""Metric points are written with summaries of their stretches, so that a curve is drawn from a few thousand rows however long it is.

Stretches are 16, 256, 4,096 and 65,536 steps wide. Each knows its lowest and its highest point; a wider one is made of narrower ones.
Points that are written again, by a run that was resumed, change the stretches they lie in: each is made anew from what is there.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import TextClause, bindparam, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import Session

from models.base import now
from models.results import MetricPoint

WIDTHS = (16, 256, 4096, 65536)
KEY = "job_id", "arm", "seed", "name"
ONE = {"first_step": "step", "last_step": "step", "low_step": "step", "low": "value", "low_time": "time"}
ONE |= {"high_step": "step", "high": "value", "high_time": "time"}  # a point as the stretch it is by itself
KEPT = "points", *ONE
# One statement with three arrays: as rows of VALUES ten thousand parameters would be written, sent and planned each time.
POSTGRES = text("""INSERT INTO metric_points (job_id, arm, seed, name, step, value, time)
SELECT :job_id, :arm, :seed, p.*, clock_timestamp()
FROM unnest(CAST(:names AS varchar[]), CAST(:steps AS bigint[]), CAST(:values AS float8[])) AS p
ON CONFLICT (job_id, arm, seed, name, step) DO UPDATE SET value = excluded.value, time = excluded.time""")


def _summary(width: int, below: int | None) -> TextClause:
    """Makes the stretches between two steps of some series anew, of points or of narrower stretches."""
    source = ", ".join(f"{value} AS {name}" for name, value in ONE.items()) if below is None else ", ".join(ONE)
    at, points, table = ("step", "1 AS points", "metric_points") if below is None else ("start", "points", "metric_spans")
    ranks, chosen = [], []
    for end, order in (("low", "low"), ("high", "high DESC")):
        ranks.append(f"row_number() OVER (PARTITION BY name, at / {width} ORDER BY {order}, {end}_step) AS {end}_rank")
        chosen += [f"max(CASE WHEN {end}_rank = 1 THEN {name} END)" for name in (f"{end}_step", end, f"{end}_time")]
    return text(
        f"""INSERT INTO metric_spans ({", ".join(KEY)}, width, start, {", ".join(KEPT)})
        SELECT :job_id, :arm, :seed, name, {width}, at / {width} * {width}, sum(points), min(first_step), max(last_step),
          {", ".join(chosen)}
        FROM (SELECT *, {", ".join(ranks)} FROM (SELECT name, {at} AS at, {points}, {source} FROM {table}
          WHERE job_id = :job_id AND arm = :arm AND seed = :seed AND name IN :names AND {at} BETWEEN :first AND :last
          {f"AND width = {below}" if below else ""}) AS found) AS ranked
        WHERE TRUE GROUP BY name, at / {width}
        ON CONFLICT ({", ".join(KEY)}, width, start) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in KEPT)}"""  # noqa: S608 - names of ours
    ).bindparams(bindparam("names", expanding=True))


SUMMARIES = {width: _summary(width, below) for width, below in zip(WIDTHS, (None, *WIDTHS), strict=False)}


def add(session: Session, job_id: str, arm: str, seed: int, points: Mapping[tuple[str, int], float]) -> None:
    """Writes points, (name, step) → value, and what summarises them."""
    if not points:
        return
    run: dict[str, Any] = {"job_id": job_id, "arm": arm, "seed": seed}
    names, steps = [name for name, _ in points], [step for _, step in points]
    if session.get_bind().dialect.name == "postgresql":
        session.execute(POSTGRES, {**run, "names": names, "steps": steps, "values": list(points.values())})
    else:
        insert = sqlite.insert(MetricPoint)
        repeated = {"value": insert.excluded.value, "time": now()}
        upsert = insert.on_conflict_do_update(index_elements=list(MetricPoint.__table__.primary_key), set_=repeated)
        session.execute(upsert, [{**run, "name": name, "step": step, "value": value} for (name, step), value in points.items()])
    for width, statement in SUMMARIES.items():
        borders = {"first": min(steps) // width * width, "last": max(steps) // width * width + width - 1}
        session.execute(statement, {**run, **borders, "names": sorted(set(names))})
