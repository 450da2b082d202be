"""Leases: renewed while somebody is there, taken back when nobody is, and a request to stop wins over a lost worker."""

import time

import pytest
from store_world import S, at_once, clock

from models import claims, lifecycle
from models.ids import new_id
from models.service import Worker


def lease_left(world, job_id: str) -> float:
    until = world.job(job_id).lease_until
    with world.database.read() as session:
        return (until - clock(session)).total_seconds()


def test_a_renewal_extends_the_lease_and_says_how_the_job_stands(world):
    claim = world.run()
    assert world.renew(claim, lease=20) == [S.RUNNING]
    assert 5 < lease_left(world, claim.job_id) <= 20
    assert world.renew(claim, lease=60) == [S.RUNNING]
    assert 45 < lease_left(world, claim.job_id) <= 60


def test_a_renewal_brings_the_request_to_stop(world):
    claim = world.run()
    world.pause(claim.job_id)
    assert world.renew(claim) == [S.PAUSING]
    world.cancel(claim.job_id)
    assert world.renew(claim) == [S.CANCELLING]


def test_renewals_of_many_are_answered_one_by_one(world):
    running, pausing, cancelling, lost, ended = (world.run() for _ in range(5))
    world.pause(pausing.job_id)
    world.cancel(cancelling.job_id)
    world.renew(lost, lease=-1)
    world.reap()
    world.finish(ended)
    before = world.job(lost.job_id).lease_until, world.job(ended.job_id).lease_until
    assert world.renew(ended, running, lost, cancelling, pausing) == [None, S.RUNNING, None, S.CANCELLING, S.PAUSING]
    assert (world.job(lost.job_id).lease_until, world.job(ended.job_id).lease_until) == before


def test_a_renewal_by_the_old_worker_does_not_extend_the_new_ones_lease(world):
    old = world.run()
    world.renew(old, lease=-1)
    world.reap()
    new = world.take("wrk_2", lease=30)
    assert world.renew(old, lease=1000) == [None]
    assert lease_left(world, new.job_id) <= 30
    assert world.job(new.job_id).worker_id == "wrk_2"


def test_a_renewal_is_the_workers_sign_of_life_also_without_jobs(world):
    worker_id = new_id("wrk")
    with world.database.write() as session:
        session.add(Worker(id=worker_id, host="h", version="1", devices=["cpu"], slots=1))
    with world.database.read() as session:
        first = session.get(Worker, worker_id).last_heartbeat_at
    time.sleep(0.01)
    world.renew(worker=worker_id)
    with world.database.read() as session:
        assert session.get(Worker, worker_id).last_heartbeat_at > first


def test_a_lease_that_still_runs_is_left_alone_and_one_that_has_run_out_is_taken_back(world):
    short, long = world.run(), world.run()
    assert world.reap() == []
    world.renew(short, lease=0.05)
    time.sleep(0.1)
    assert world.reap() == [short.job_id]
    assert world.reap() == []
    assert (world.status(short.job_id), world.status(long.job_id)) == (S.QUEUED, S.RUNNING)
    job = world.job(short.job_id)
    assert (job.worker_id, job.lease_until, job.due_at, job.attempt) == (None, None, None, 1)
    assert world.events(short.job_id)[-1].message == "worker wrk_1 vanished"


def test_a_worker_that_vanished_is_no_fault_of_the_jobs(world):
    world.submit()
    for attempt in range(1, 7):
        claim = world.take(lease=-1)
        assert claim.attempt == attempt
        assert world.reap() == [claim.job_id]
    assert world.job(claim.job_id).crashes == 0


@pytest.mark.parametrize(("asked", "becomes"), [("pause", S.PAUSED), ("cancel", S.CANCELLED)])
def test_a_pending_request_wins_over_a_lost_lease(world, asked, becomes):
    claim = world.run()
    getattr(world, asked)(claim.job_id)
    world.renew(claim, lease=-1)
    assert world.reap() == []  # nothing is due
    assert world.status(claim.job_id) is becomes
    assert world.job(claim.job_id).status_reason == f"{becomes} by request"


def test_jobs_of_workers_known_to_be_dead_are_taken_back_at_once(world):
    dead, alive, other = (world.run() for _ in range(3))
    world.set(dead.job_id, worker_id="wrk_dead")
    world.set(other.job_id, worker_id="wrk_other")
    assert world.reap("wrk_dead", "wrk_unheard_of") == [dead.job_id]
    assert world.status(alive.job_id) is S.RUNNING
    assert world.status(other.job_id) is S.RUNNING


def test_only_what_a_worker_holds_can_be_lost(world):
    for status in (S.WAITING, S.PAUSED, S.QUEUED, S.SUCCEEDED):
        world.in_status(status)
    before = world.rows()
    assert world.reap("wrk_1") == []
    assert world.rows() == before


def test_four_reapers_at_once_take_each_job_back_once(world):
    held = [world.run() for _ in range(12)]
    world.renew(*held, lease=-1)
    reaped = at_once(*[world.reap] * 4)
    assert sorted(job_id for found in reaped for job_id in found) == sorted(claim.job_id for claim in held)
    for claim in held:
        assert world.path(claim.job_id) == ["queued", "queued", "running", "queued"]


def test_a_flood_of_lost_jobs_is_taken_back_a_hundred_at_a_time(world):
    """One transaction that locked thousands of rows would hold up every renewal."""
    with world.database.write() as session:
        for _ in range(105):
            session.add(world.new(status=S.RUNNING, event_seq=0, attempt=1, worker_id="wrk_dead"))
    assert [len(world.reap("wrk_dead")) for _ in range(3)] == [100, 5, 0]


def test_given_back_jobs_are_due_at_once_and_cost_no_crash(world):
    world.submit()
    for _ in range(5):
        claim = world.take()
        assert world.by(claims.give_back, claim, "the worker is shutting down") is S.QUEUED
    job = world.job(claim.job_id)
    assert (job.crashes, job.due_at, job.status_reason) == (0, None, "the worker is shutting down")


def test_a_worker_whose_row_was_collected_is_told(world):
    with world.database.write() as session:
        assert not claims.heartbeat(session, new_id("wrk"))


def test_the_tenth_worker_that_vanishes_in_a_row_ends_it(world):
    """A job that takes its machine down each time must not go round for ever; one that gets on in between may lose any number."""
    job_id = world.submit()
    for _ in range(9):
        world.take(lease=-1)
        assert world.reap() == [job_id]
    world.checkpoint(world.take(lease=-1), 1)
    assert world.reap() == [job_id]
    for _ in range(8):
        world.take(lease=-1)
        assert world.reap() == [job_id]
    world.take(lease=-1)
    assert world.reap() == []
    job = world.job(job_id)
    assert (job.status, job.error["code"], job.crashes) == (S.FAILED, "crash_loop", 0)
    assert "vanished 10 times" in job.error["message"]


def test_leases_that_ran_out_during_an_outage_are_as_good_as_new_and_older_ones_are_not(world):
    meanwhile, before = world.run(), world.run()
    world.renew(meanwhile, lease=-5)
    world.renew(before, lease=-100)
    with world.database.write() as session:
        claims.forgive(session, 20, 30)
    assert 29 < lease_left(world, meanwhile.job_id) <= 30
    assert world.reap() == [before.job_id]


def test_a_claim_nobody_heard_of_is_taken_back_and_others_are_not(world):
    known, lost, others = world.run(), world.run(), world.run()
    world.set(others.job_id, worker_id="wrk_2")
    with world.database.write() as session:
        assert claims.strays(session, "wrk_1", [known.job_id]) == [lost.job_id]
    assert [world.status(c.job_id) for c in (known, lost, others)] == [S.RUNNING, S.QUEUED, S.RUNNING]
    assert world.job(lost.job_id).losses == 0


def test_a_database_restored_from_a_backup_counts_again_and_the_fence_still_holds(world):
    """The same attempt number, another worker: what the first one writes is refused."""
    old = world.run()
    world.set(old.job_id, status=S.QUEUED, attempt=0, worker_id=None, lease_until=None)
    new = world.take("wrk_2")
    assert new.attempt == old.attempt
    with pytest.raises(claims.LeaseLostError):
        world.finish(old)
    world.finish(new)
    assert world.status(old.job_id) is S.SUCCEEDED


def test_a_run_paused_by_a_full_disk_goes_on_when_its_parent_is_resumed(world):
    run = world.new(arm="student", seed=1, parent_id=None)
    with world.database.write() as session:
        parent = lifecycle.create(session, world.new(kind="distill"), [], [run]).id
    claim = world.take()
    assert world.by(claims.suspend, claim, "the disk is full") is S.PAUSED
    assert (world.status(parent), world.status(claim.job_id)) == (S.WAITING, S.PAUSED)
    assert "the disk is full" in world.events(parent)[-1].message
    world.resume(parent)
    assert world.status(claim.job_id) is S.QUEUED


@pytest.mark.parametrize("store", ["postgres"], indirect=True)  # SQLite has one writer at a time
def test_a_claim_nobody_heard_of_that_others_hold_by_now_is_theirs(world, monkeypatch):
    """Its lease ran out, and another worker took it, while we were looking."""
    lost = world.run()
    plainly = claims.locked

    def late(session, job_id):
        world.set(job_id, worker_id="wrk_2", attempt=2)
        return plainly(session, job_id)

    monkeypatch.setattr(claims, "locked", late)
    with world.database.write() as session:
        assert claims.strays(session, "wrk_1", []) == []
    assert world.status(lost.job_id) is S.RUNNING and world.job(lost.job_id).worker_id == "wrk_2"
