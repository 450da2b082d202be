"""Claiming: the best due job, by one worker, under a fresh attempt."""

import itertools
import time
from collections import Counter

import pytest
import sqlalchemy as sa
from store_world import S, World, at_once, clock

from contract.resources import Offer
from contract.status import JobStatus
from models import claims
from models.base import now
from models.claims import Claim
from models.job import Job, JobDependency


def test_nothing_to_do_is_none_and_changes_nothing(world):
    for status in (S.WAITING, S.PAUSED, S.SUCCEEDED, S.CANCELLED):
        world.in_status(status)
    world.pause(world.submit())
    world.cancel(world.take().job_id)  # the teacher of the waiting one: the only job that is due
    before = world.rows()
    assert world.claim() is None
    assert world.rows() == before


def test_a_claim_is_the_row_and_the_row_is_running(world):
    job_id = world.submit(traceparent="00-aa-bb-01", resolved_spec={"kind": "distill", "training": {"seed": 7}}, kind="distill", name="x")
    claim = world.take("wrk_9", lease=30)
    assert (claim.job_id, claim.project_id, claim.name, claim.attempt) == (job_id, world.project_id, "x", 1)
    assert claim.spec == {"kind": "distill", "training": {"seed": 7}}
    assert (claim.arm, claim.seed, claim.runs, claim.retry_of, claim.traceparent) == ("student", 7, [], None, "00-aa-bb-01")
    job = world.job(job_id)
    assert (job.status, job.attempt, job.worker_id) == (S.RUNNING, 1, "wrk_9")
    assert job.started_at is not None
    with world.database.read() as session:
        left = (job.lease_until - clock(session)).total_seconds()
    assert 15 < left <= 30
    assert world.events(job_id)[-1].data == {"from": "queued", "to": "running", "attempt": 1, "worker": "wrk_9"}


def test_every_claim_raises_the_attempt(world):
    world.submit()
    for attempt in range(1, 5):
        claim = world.take(lease=-1)
        assert claim.attempt == attempt
        assert world.reap() == [claim.job_id]


def test_the_highest_priority_goes_first_and_then_the_oldest(world):
    jobs = {name: world.submit(name=name, priority=priority) for name, priority in [("a", 0), ("b", 5), ("c", -5), ("d", 5), ("e", 0)]}
    taken = [world.take().name for _ in jobs]
    assert taken == ["b", "d", "a", "e", "c"]


def test_a_job_that_comes_back_keeps_its_place_among_the_old(world):
    first = world.submit()
    world.submit()
    claim = world.take(lease=-1)
    assert claim.job_id == first
    world.reap()
    assert world.take().job_id == first


def test_a_job_is_not_claimed_before_it_is_due(world):
    later, soon = world.submit(priority=9), world.submit()
    world.set(later, due_at=now(60))
    world.set(soon, due_at=now(30))
    assert world.claim() is None
    world.set(soon, due_at=now(0.05))
    time.sleep(0.1)
    assert world.take().job_id == soon
    world.set(later, due_at=now(-0.001))
    assert world.take().job_id == later


def test_a_higher_priority_that_is_not_due_holds_nobody_up(world):
    world.set(world.submit(priority=1000), due_at=now(60))
    low = world.submit(priority=-1000)
    assert world.take().job_id == low


def test_eight_threads_claim_two_hundred_jobs_each_exactly_once(world):
    with world.database.write() as session:
        for i in range(200):
            job = world.new(priority=i % 3, status=S.QUEUED, event_seq=0, attempt=0)
            session.add(job)
    claimed: dict[str, list[Claim]] = {f"wrk_{i}": [] for i in range(8)}

    def work(name: str) -> None:
        while (claim := world.claim(name)) is not None:
            claimed[name].append(claim)

    assert at_once(*[lambda name=name: work(name) for name in claimed]) == [None] * 8
    all_of_them = [claim for mine in claimed.values() for claim in mine]
    assert len(all_of_them) == 200
    assert set(Counter(claim.job_id for claim in all_of_them).values()) == {1}
    assert {claim.attempt for claim in all_of_them} == {1}
    with world.database.read() as session:
        assert {(row.status, row.attempt) for row in session.scalars(sa.select(Job))} == {(S.RUNNING, 1)}
    for name, mine in claimed.items():
        assert all(world.job(claim.job_id).worker_id == name for claim in mine[:3])


def test_a_claim_that_is_not_committed_never_was(world):
    """The worker dies between the claim and the commit."""
    job_id = world.submit()
    before = world.rows()
    with pytest.raises(RuntimeError), world.database.write() as session:
        assert claims.claim(session, "wrk_1", 30) is not None
        raise RuntimeError("killed")
    assert world.rows() == before
    assert world.take().attempt == 1
    assert world.status(job_id) is S.RUNNING


@pytest.mark.parametrize(
    ("kind", "arm", "expected"), [("train", None, "model"), ("distill", None, "student"), ("train", "control", "control")]
)
def test_the_arm_of_a_run_is_its_own_or_what_its_kind_is_called(world, kind, arm, expected):
    world.submit(kind=kind, arm=arm)
    assert world.take().arm == expected


def test_the_claim_of_a_retry_says_where_to_go_on(world):
    old = world.in_status(S.CANCELLED)
    again, fresh = world.retry(old), world.retry(old, fresh=True)
    assert world.job(again).retry_of == world.job(fresh).retry_of == old
    assert {claim.job_id: claim.retry_of for claim in (world.take(), world.take())} == {again: old, fresh: None}


@pytest.mark.parametrize("status", [S.RUNNING, S.PAUSING, S.CANCELLING])
def test_what_a_worker_holds_is_nobody_elses(world, status):
    world.in_status(JobStatus(status))
    assert world.claim("wrk_2") is None


def test_priority_is_read_at_the_claim_and_not_at_the_submission(world: World):
    world.submit(name="first")
    world.set(world.submit(name="second"), priority=1)
    assert world.take().name == "second"


@pytest.mark.parametrize("store", ["postgres"], indirect=True)  # which counts the rows that it reads; SQLite does not
def test_a_claim_reads_few_rows_however_many_wait(world):
    with world.database.write() as session:
        waiting = [world.new(status=S.QUEUED) for _ in range(2000)]
        session.add_all(waiting)
        session.flush()
        session.add_all(JobDependency(job_id=job.id, needs_id=before.id) for before, job in itertools.pairwise(waiting))
    with world.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE jobs, job_dependencies")
    read = sa.text("SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables WHERE relname IN ('jobs', 'job_dependencies')")
    with world.database.write() as session:
        assert claims.claim(session, "wrk_1", 30, offer=Offer("cpu", 10**9, ("a",))) is not None
        assert session.scalar(read) < 30
