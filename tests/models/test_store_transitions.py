"""Every status and everything that can be asked of a job in it: allowed or refused by the one table, and nothing half done."""

import pytest
from store_world import BROKEN, S, World, at_once

from contract.errors import Conflict, NotFound
from contract.status import TRANSITIONS, JobStatus
from models import lifecycle

SAME = "the same"  # repeating is no error and no event
REFUSED = "refused"
CANCEL = {
    S.WAITING: S.CANCELLED, S.QUEUED: S.CANCELLED, S.RUNNING: S.CANCELLING, S.PAUSING: S.CANCELLING, S.PAUSED: S.CANCELLED,
    S.CANCELLING: SAME, S.CANCELLED: SAME, S.SUCCEEDED: REFUSED, S.FAILED: REFUSED,
}  # fmt: skip
PAUSE = {
    S.WAITING: S.PAUSED, S.QUEUED: S.PAUSED, S.RUNNING: S.PAUSING, S.PAUSING: SAME, S.PAUSED: SAME,
    S.CANCELLING: REFUSED, S.CANCELLED: REFUSED, S.SUCCEEDED: REFUSED, S.FAILED: REFUSED,
}  # fmt: skip
RESUME = {
    S.WAITING: SAME, S.QUEUED: SAME, S.RUNNING: SAME, S.PAUSING: REFUSED, S.PAUSED: S.QUEUED,
    S.CANCELLING: REFUSED, S.CANCELLED: REFUSED, S.SUCCEEDED: REFUSED, S.FAILED: REFUSED,
}  # fmt: skip
ASKED = [
    pytest.param(action, status, outcome, id=f"{action.__name__} {status}")
    for action, outcomes in ((lifecycle.cancel, CANCEL), (lifecycle.pause, PAUSE), (lifecycle.resume, RESUME))
    for status, outcome in outcomes.items()
]


@pytest.mark.parametrize(("action", "status", "outcome"), ASKED)
def test_what_people_ask_of_a_job_in_every_status(world, action, status, outcome):
    job_id = world.in_status(status)
    before, events = world.rows(), len(world.events(job_id))
    if outcome == REFUSED:
        with pytest.raises(Conflict) as caught:
            world.do(action, job_id)
        assert (caught.value.status, caught.value.code) == (409, "invalid_transition")
        assert f"is {status} and cannot" in caught.value.detail
        assert world.rows() == before
    elif outcome == SAME:
        world.do(action, job_id)
        assert world.rows() == before
    else:
        world.do(action, job_id)
        assert world.status(job_id) == outcome
        assert outcome in TRANSITIONS[status]
        assert len(world.events(job_id)) == events + 1
        assert world.events(job_id)[-1].data == {"from": status, "to": outcome, "attempt": world.job(job_id).attempt}
        world.do(action, job_id)  # and once more changes nothing
        assert len(world.events(job_id)) == events + 1


@pytest.mark.parametrize("status", JobStatus)
def test_only_failed_and_cancelled_jobs_are_retried(world, status):
    job_id = world.in_status(status)
    before = world.rows()
    if status in (S.FAILED, S.CANCELLED):
        again = world.retry(job_id)
        assert world.status(again) is S.QUEUED
        assert world.status(job_id) is status
    else:
        with pytest.raises(Conflict, match=f"is {status} and cannot be retried"):
            world.retry(job_id)
        assert world.rows() == before


@pytest.mark.parametrize("status", JobStatus)
def test_only_final_jobs_are_deleted(world, status):
    job = world.job(world.in_status(status))
    if status.final:
        lifecycle.refuse_unless_final(job)
    else:
        with pytest.raises(Conflict, match=f"is {status} and cannot be deleted"):
            lifecycle.refuse_unless_final(job)


@pytest.mark.parametrize("before", JobStatus)
def test_switch_follows_the_table_and_writes_the_event_with_it(world, before):
    for after in JobStatus:
        job_id = world.in_status(before)
        rows, old = world.rows(), world.job(job_id)
        error = BROKEN if after is S.FAILED else None
        if after not in TRANSITIONS[before]:
            with pytest.raises(Conflict, match=f"is {before} and cannot become {after}"):
                world.do(lifecycle.switch, job_id, to=after, reason="why not", error=error)
            assert world.rows() == rows
            continue
        world.do(lifecycle.switch, job_id, to=after, reason="because", error=error)
        new, event = world.job(job_id), world.events(job_id)[-1]
        assert (new.status, new.status_reason) == (after, "because")
        assert (event.type, event.seq, event.message) == ("status", new.event_seq, "because")
        assert (event.data["from"], event.data["to"]) == (before, after)
        assert event.level == ("error" if after is S.FAILED else "info")
        assert new.event_seq == old.event_seq + 1
        assert (new.finished_at is not None) == after.final
        assert (new.error == BROKEN.model_dump()) == (after is S.FAILED)
        assert (new.started_at is not None) == (old.started_at is not None or after is S.RUNNING)
        if after.active and before.active:
            assert (new.worker_id, new.lease_until) == (old.worker_id, old.lease_until)
        if not after.active:
            assert new.worker_id is None
            assert new.lease_until is None
        if after is S.QUEUED:
            assert new.queued_at is not None
            assert new.due_at is None


def test_a_refused_switch_takes_the_rest_of_its_transaction_with_it(world):
    job_id = world.in_status(S.QUEUED)
    before = world.rows()
    with pytest.raises(Conflict), world.database.write() as session:
        job = lifecycle.locked(session, job_id)
        job.name = "renamed"
        lifecycle.switch(session, job, S.PAUSED)
        lifecycle.switch(session, job, S.SUCCEEDED)
    assert world.rows() == before


def test_the_first_start_is_when_the_job_started(world):
    claim = world.run()
    first = world.job(claim.job_id).started_at
    world.crash(claim)
    world.take()
    assert world.job(claim.job_id).started_at == first


def test_a_job_that_is_not_there_or_is_somebody_elses_is_not_found(world):
    job_id = world.submit()
    with world.database.write() as session, pytest.raises(NotFound, match="There is no job job_0") as caught:
        lifecycle.locked(session, "job_0")
    assert caught.value.code == "job_not_found"
    with world.database.write() as session, pytest.raises(NotFound):
        lifecycle.locked(session, job_id, "prj_other")
    with world.database.write() as session:
        assert lifecycle.locked(session, job_id, world.project_id).id == job_id


def test_two_who_ask_at_once_are_answered_one_after_the_other(world: World):
    """Pause and cancel at the same moment: whichever came second saw what the first had done."""
    for _ in range(5):
        claim = world.run()
        at_once(lambda c=claim: world.pause(c.job_id), lambda c=claim: world.cancel(c.job_id))
        assert world.path(claim.job_id)[-2:] in (["running", "cancelling"], ["pausing", "cancelling"])
        assert world.status(claim.job_id) is S.CANCELLING
