"""The fence: a worker that lost its job writes nothing more, whatever it tries and however it lost it."""

from collections.abc import Callable

import pytest
from sqlalchemy.exc import StatementError
from store_world import BROKEN, S, World, at_once, file

from models import claims
from models.claims import Claim, LeaseLostError
from models.ids import new_id
from models.results import Model


def model(world: World, claim: Claim) -> Model:
    fields = {"name": "x", "task": "t", "config": {}, "files": {}, "parameters": 1, "size_bytes": 1}
    return Model(id=new_id("mdl"), project_id=world.project_id, job_id=claim.job_id, **fields)


WRITES: dict[str, Callable[[World, Claim], object]] = {
    "fenced": lambda world, claim: world.by(claims.fenced, claim),
    "give_back": lambda world, claim: world.by(claims.give_back, claim, "asked to stop"),
    "crashed": lambda world, claim: world.crash(claim),
    "fail": lambda world, claim: world.fail(claim),
    "add_checkpoint": lambda world, claim: world.checkpoint(claim, 7, [file("checkpoints/7/model")], [3]),
    "finish": lambda world, claim: world.finish(claim, [file("report.json", kind="report")], model(world, claim)),
}


def taken_by_another(world: World, claim: Claim) -> None:
    lose(world, claim)
    assert world.take("wrk_2").attempt == claim.attempt + 1


def lose(world: World, claim: Claim) -> None:
    world.renew(claim, lease=-1)
    assert world.reap() == [claim.job_id]


def cancelled_while_queued(world: World, claim: Claim) -> None:
    lose(world, claim)
    world.cancel(claim.job_id)


def paused_while_queued(world: World, claim: Claim) -> None:
    lose(world, claim)
    world.pause(claim.job_id)


def deleted(world: World, claim: Claim) -> None:
    world.finish(claim)
    world.delete(claim.job_id)


def finished_by_another(world: World, claim: Claim) -> None:
    lose(world, claim)
    world.finish(world.take("wrk_2"))


LOSSES: dict[str, Callable[[World, Claim], object]] = {
    "taken by another": taken_by_another,
    "back in the queue": lose,
    "cancelled": cancelled_while_queued,
    "paused": paused_while_queued,
    "succeeded": lambda world, claim: world.finish(claim),
    "failed": lambda world, claim: world.fail(claim),
    "given back": lambda world, claim: world.by(claims.give_back, claim, "asked to stop"),
    "crashed": lambda world, claim: world.crash(claim),
    "succeeded elsewhere": finished_by_another,
    "deleted": deleted,
}


@pytest.mark.parametrize("loss", LOSSES)
def test_every_write_of_a_lost_claim_is_refused_and_leaves_everything_as_it_is(world, loss):
    claim = world.run()
    world.checkpoint(claim, 3, [file("checkpoints/3/model")])
    LOSSES[loss](world, claim)
    before = world.rows()
    for name, write in WRITES.items():
        with pytest.raises(LeaseLostError, match=f"attempt 1 no longer holds {claim.job_id}"):
            write(world, claim)
        assert world.rows() == before, name
    assert world.renew(claim) == [None]
    assert world.rows() == before


def test_a_claim_of_the_future_holds_nothing_either(world):
    claim = world.run()
    forged = Claim(**{**claim.__dict__, "attempt": 2})
    with pytest.raises(LeaseLostError):
        world.finish(forged)


@pytest.mark.parametrize("status", [S.RUNNING, S.PAUSING, S.CANCELLING])
@pytest.mark.parametrize("write", WRITES)
def test_the_current_attempt_writes_while_it_runs_or_has_been_asked_to_stop(world, status, write):
    """Who finishes before it has noticed the request has finished: the first final commit wins."""
    claim = world.run()
    if status is not S.RUNNING:
        (world.pause if status is S.PAUSING else world.cancel)(claim.job_id)
    WRITES[write](world, claim)
    expected = {
        "fenced": status,
        "add_checkpoint": status,
        "finish": S.SUCCEEDED,
        "fail": S.FAILED,
        "give_back": {S.RUNNING: S.QUEUED, S.PAUSING: S.PAUSED, S.CANCELLING: S.CANCELLED}[status],
        "crashed": {S.RUNNING: S.QUEUED, S.PAUSING: S.PAUSED, S.CANCELLING: S.CANCELLED}[status],
    }[write]
    assert world.status(claim.job_id) is expected


def test_finishing_twice_is_refused(world):
    claim = world.run()
    world.finish(claim, [file("report.json", kind="report")])
    before = world.rows()
    with pytest.raises(LeaseLostError):
        world.finish(claim, [file("report.json", kind="report")])
    assert world.rows() == before
    assert world.path(claim.job_id).count("succeeded") == 1


def test_of_two_who_finish_at_the_same_moment_one_is_accepted(world):
    for _ in range(5):
        claim = world.run()
        results = at_once(*[lambda claim=claim: world.finish(claim)] * 4)

        assert results.count(None) == 1
        assert sum(isinstance(result, LeaseLostError) for result in results) == 3
        assert world.path(claim.job_id).count("succeeded") == 1


def test_a_reaper_and_a_late_finish_at_the_same_moment_leave_one_story(world):
    for _ in range(5):
        claim = world.run()
        world.renew(claim, lease=-1)
        finished, reaped = at_once(lambda claim=claim: world.finish(claim), world.reap)
        if finished is None:
            assert reaped == []
            assert world.path(claim.job_id)[-1] == "succeeded"
        else:
            assert isinstance(finished, LeaseLostError)
            assert reaped == [claim.job_id]
            assert world.path(claim.job_id)[-1] == "queued"
            world.cancel(claim.job_id)


def test_what_failed_halfway_left_nothing(world):
    """The report of a finish cannot be stored: the model before it must not stay."""
    claim = world.run()
    made, before = model(world, claim), world.rows()
    with pytest.raises((StatementError, TypeError), match="not JSON serializable"):
        world.by(claims.finish, claim, {"verdict": "fine", "rows": object()}, made)
    assert world.rows() == before


def test_a_failure_carries_what_was_wrong(world):
    claim = world.run()
    world.fail(claim)
    job = world.job(claim.job_id)
    assert job.error == BROKEN.model_dump()
    event = world.events(claim.job_id)[-1]
    assert (event.level, event.message, event.data["error"]) == ("error", BROKEN.message, BROKEN.model_dump())


def test_a_success_carries_everything_in_one_commit(world):
    claim = world.run()
    made = model(world, claim)
    world.by(claims.finish, claim, {"verdict": "Kept 97 %.", "rows": 360}, made)
    job = world.job(claim.job_id)
    assert (job.status, job.status_reason, job.report) == (S.SUCCEEDED, "Kept 97 %.", {"verdict": "Kept 97 %.", "rows": 360})
    assert job.model_id == made.id
    assert job.progress["eta_seconds"] == 0
    assert world.events(claim.job_id)[-1].message == "Kept 97 %."
    assert len(world.rows()["models"]) == 1
