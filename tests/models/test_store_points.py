"""Metric points and the stretches that summarise them, on both databases."""

import random

import sqlalchemy as sa
from store_world import World

from api import series
from models import points
from models.results import MetricPoint, MetricSpan


def add(world: World, job_id: str, values: dict[tuple[str, int], float]) -> None:
    with world.database.write() as session:
        points.add(session, job_id, "model", 0, values)


def test_every_stretch_says_what_its_points_are_however_they_came(world):
    """In batches of any size, some of them again after a resume, with gaps, and with equal values."""
    job_id, draw = world.submit(), random.Random(3)
    kept: dict[tuple[str, int], float] = {}
    for first in (0, 40, 41, 30, 300, 4090, 4000, 70_000, 10):
        batch = {(name, first + i * 3): float(draw.randrange(5)) for i in range(draw.randrange(1, 60)) for name in ("a", "b")}
        kept |= batch
        add(world, job_id, batch)
    with world.database.read() as session:
        rows = session.scalars(sa.select(MetricSpan).where(MetricSpan.job_id == job_id)).all()
    found = {
        (row.name, row.width, row.start): (row.points, row.first_step, row.last_step, row.low_step, row.low, row.high_step, row.high)
        for row in rows
    }
    expected = {}
    for width in points.WIDTHS:
        for name, start in {(name, step // width * width) for name, step in kept}:
            inside = sorted((step, value) for (other, step), value in kept.items() if other == name and start <= step < start + width)
            low, high = min(inside, key=lambda one: (one[1], one[0])), max(inside, key=lambda one: (one[1], -one[0]))
            expected[name, width, start] = (len(inside), inside[0][0], inside[-1][0], *low, *high)
    assert found == expected


def test_a_long_curve_is_shown_from_few_rows_and_keeps_ends_and_extremes(world):
    job_id, draw = world.submit(), random.Random(4)
    values = {step: draw.random() for step in range(20_000)}
    values |= {7_777: 9.0, 13_131: -9.0}
    add(world, job_id, {("loss", step): value for step, value in values.items()})
    add(world, job_id, {("accuracy", step): 0.5 for step in range(40)})
    read: list[int] = []
    with world.database.read() as session:
        session.connection()  # SQLite's BEGIN
        listening = sa.event.listens_for(world.database.engine, "after_cursor_execute")

        @listening
        def seen(_connection, cursor, _statement, *_):
            read.append(cursor.rowcount)

        try:
            accuracy, loss = series.read(session, [job_id], {}, None, 500)
        finally:
            sa.event.remove(world.database.engine, "after_cursor_execute", seen)
    assert len(read) <= 4
    if world.database.dialect == "postgresql":  # SQLite's driver does not count what it reads
        assert sum(read) < 16 * 250 + 100
    assert (accuracy.total_points, len(accuracy.points)) == (40, 40)
    assert loss.total_points == 20_000
    assert 400 <= len(loss.points) <= 500
    steps = [step for step, _, _ in loss.points]
    assert steps == sorted(set(steps))
    assert {0, 19_999, 7_777, 13_131} <= set(steps)
    assert all(value == values[step] for step, value, _ in loss.points)


def test_points_of_the_version_before_are_summarised_by_the_migration(empty_url):
    import migrations
    from models.session import Database

    migrations.upgrade(empty_url, "0009")
    database = Database(empty_url)
    with database.write() as session:
        session.execute(sa.text("INSERT INTO projects (id, name, created_at) VALUES ('prj_1', 'one', '2026-01-01 00:00:00')"))
        values = {"id": "'job_1'", "project_id": "'prj_1'", "kind": "'train'", "name": "'x'", "status": "'succeeded'"}
        values |= dict.fromkeys(["spec", "resolved_spec", "metadata", "progress", "latest"], "'{}'") | {"warnings": "'[]'"}
        values |= dict.fromkeys(["priority", "attempt", "crashes", "losses", "accepted", "logged", "event_seq"], "0")
        values |= dict.fromkeys(["retry_fresh", "resumed_inexactly"], "FALSE") | {"created_at": "'2026-01-01 00:00:00'"}
        session.execute(sa.text(f"INSERT INTO jobs ({', '.join(values)}) VALUES ({', '.join(values.values())})"))
        rows = [MetricPoint(job_id="job_1", arm="model", seed=0, name="loss", step=step, value=step % 7 / 7) for step in range(0, 900, 2)]
        session.add_all(rows)

    def spans():
        with database.read() as session:
            return sorted(session.execute(sa.select(MetricSpan.__table__)).all())

    try:
        migrations.upgrade(empty_url)
        migrated = spans()
        with database.write() as session:
            session.execute(sa.delete(MetricSpan))
            times = {row.step: row.time for row in session.scalars(sa.select(MetricPoint))}
            points.add(session, "job_1", "model", 0, {("loss", step): step % 7 / 7 for step in times})
        assert [(*row[:11], *row[12:14]) for row in migrated] == [(*row[:11], *row[12:14]) for row in spans()]  # all but the times
        assert len(migrated) == 57 + 4 + 1 + 1
    finally:
        database.dispose()
