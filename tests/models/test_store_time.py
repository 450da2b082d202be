"""All deadlines are the database's time, and stored and computed times compare on both databases."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from store_world import World, clock

from models.base import now
from models.job import Job


def due(world: World, *conditions: sa.ColumnElement[bool]) -> bool:
    with world.database.read() as session:
        return bool(session.scalar(sa.select(sa.func.count()).select_from(Job).where(*conditions)))


def test_the_clock_is_utc_and_this_hosts(world):
    with world.database.read() as session:
        found = clock(session)
    assert found.tzinfo is not None
    assert found.utcoffset() == timedelta(0)
    assert abs((found - datetime.now(UTC)).total_seconds()) < 5


@pytest.mark.parametrize("seconds", [0, 0.001, 0.25, 1, 30, 86_400, -0.001, -0.25, -1, -86_400, 1e-5, 1e6])
def test_seconds_from_now_are_seconds_from_now(world, seconds):
    with world.database.read() as session:
        before, found, after = clock(session), clock(session, seconds), clock(session)
    slack = timedelta(milliseconds=1)
    assert before - slack <= found - timedelta(seconds=seconds) <= after + slack


def test_the_clock_goes_on_within_a_transaction(world):
    """A lease is counted from when it is written, not from when a long transaction began."""
    with world.database.read() as session:
        first = clock(session)
        time.sleep(0.02)
        assert clock(session) > first


@pytest.mark.parametrize("seconds", [-86_400, -30, -1, -0.01, 5, 30, 86_400])
def test_a_stored_deadline_compares_with_the_clock(world, seconds):
    job_id = world.submit()
    world.set(job_id, due_at=now(seconds))
    assert due(world, Job.due_at <= now()) == (seconds < 0)
    assert due(world, Job.due_at > now()) == (seconds > 0)
    assert due(world, Job.due_at < now(seconds + 0.5))
    assert due(world, Job.due_at > now(seconds - 30))


@pytest.mark.parametrize("hours", [-11, -1, 0, 5.5, 14])
def test_a_time_of_another_zone_is_the_same_moment(world, hours):
    """Text compares well only where every time is written in one zone."""
    zone = timezone(timedelta(hours=hours))
    job_id = world.submit()
    for seconds in (-5, 30):
        moment = datetime.now(zone) + timedelta(seconds=seconds)
        world.set(job_id, due_at=moment)
        assert due(world, Job.due_at <= now()) == (seconds < 0)
        assert world.job(job_id).due_at == moment
        assert due(world, Job.due_at == moment)
        assert not due(world, Job.due_at == moment + timedelta(microseconds=1))
        assert world.job(job_id).due_at.tzinfo is not None


def test_a_deadline_passes(world):
    job_id = world.submit()
    world.set(job_id, due_at=now(30))
    assert not due(world, Job.due_at <= now())
    world.set(job_id, due_at=now(0.05))
    time.sleep(0.1)
    assert due(world, Job.due_at <= now())


def test_no_deadline_is_neither_past_nor_to_come(world):
    world.submit()
    assert not due(world, Job.due_at <= now())
    assert not due(world, Job.due_at > now())


def test_rows_are_stamped_in_the_order_they_were_made(world):
    jobs = []
    for _ in range(5):
        jobs.append(world.submit())
        time.sleep(0.003)
    stamps = [world.job(job_id).created_at for job_id in jobs]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) == 5
    assert all(stamp.tzinfo is not None for stamp in stamps)
    assert jobs == sorted(jobs)
