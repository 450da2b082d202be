"""Sweeps in the store: which trials follow, when losers stop, when it ends; also with several processes at it at once."""

import math
from typing import Any

import pytest
import sqlalchemy as sa
from store_world import World, at_once, file

from contract.spec import JobSpec
from models import claims, lifecycle, sweeping
from models.claims import Claim
from models.ids import new_id
from models.job import Job
from models.proposals import propose
from models.sweep import Sweep, Trial

JOB: dict[str, Any] = {
    "kind": "train",
    "task": "image-classification",
    "data": {"train": "digits", "validation": 0.1, "test": "digits"},
    "student": {"arch": "mlp", "hidden": [4]},
    "training": {"epochs": 9},
}
RATES = {"training.optimizer.lr": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}


def begin(world: World, **changes: Any) -> str:
    sent = {"job": JOB, "space": RATES, **changes}
    sweep = Sweep(id=new_id("swp"), project_id=world.project_id, name="rates", spec=sent, metric="accuracy", planned=0, meta={})
    with world.database.write() as session:
        session.add(sweep)
        sweep.planned = sweep.asked.trials
        session.flush()
        for values in propose(sweep.asked, True, [], min(sweeping.at_once(sweep.asked), sweep.planned)):
            job = sweep.asked.filled(values)
            sweeping.try_values(session, sweep, values, job, JobSpec.model_validate(job), [])
    return sweep.id


def view(world: World, sweep_id: str) -> Any:
    with world.database.read() as session:
        return session.get_one(Sweep, sweep_id).view()


def go_on(world: World, sweep_id: str) -> list[str]:
    with world.database.write() as session:
        return sweeping.go_on(session, sweep_id)


def take(world: World) -> Claim:
    """The oldest trial that is due."""
    return world.take()


def succeed(world: World, claim: Claim, value: float, parameters: int = 100) -> None:
    arm = {"metrics": {"accuracy": {"mean": value - 0.01}}, "parameters": parameters}
    report = {"metric": "accuracy", "validation": {"accuracy": value, "loss": 1 - value}, "arms": {"model": arm}}
    world.by(claims.finish, claim, report, None)


def epoch(world: World, claim: Claim, number: int, accuracy: float) -> str:
    """One epoch's validation, as the sink writes it; the job's status then."""
    with world.database.write() as session:
        job = claims.fenced(session, claim)
        sweeping.judge(session, claim, job, [(number, {"validation/accuracy": accuracy, "validation/loss": 1.0})])
        return str(job.status)


def test_a_grid_is_there_at_once_and_ends_with_its_last_job(world: World) -> None:
    sweep_id = begin(world)
    assert view(world, sweep_id).counts == {"queued": 6}
    for i in range(6):
        assert go_on(world, sweep_id) == [] and view(world, sweep_id).status == "running"
        claim = take(world)
        assert claim.sweep_id == sweep_id and claim.spec["training"]["optimizer"]["lr"] == RATES["training.optimizer.lr"][i]
        succeed(world, claim, value=[0.5, 0.9, 0.7, 0.9, 0.6, 0.4][i], parameters=[10, 200, 50, 100, 60, 5][i])
    assert view(world, sweep_id).finished_at is None
    go_on(world, sweep_id)
    found = view(world, sweep_id)
    assert (found.status, found.best, found.frontier) == ("succeeded", 4, [6, 1, 3, 4])
    assert found.verdict == "Best of 6: trial 4 (lr=0.4), validation accuracy 0.9000, on the test rows 0.8900."
    assert [trial.value for trial in found.trials] == [0.5, 0.9, 0.7, 0.9, 0.6, 0.4]


def test_its_summary_outlives_its_jobs(world: World) -> None:
    sweep_id = begin(world, space={"training.optimizer.lr": [0.1]})
    claim = take(world)
    succeed(world, claim, 0.9)
    go_on(world, sweep_id)
    before = view(world, sweep_id)
    world.delete(claim.job_id)
    after = view(world, sweep_id)
    assert (after.verdict, after.best, after.counts) == (before.verdict, 1, {"succeeded": 1})
    assert after.trials[0].error == "its job was deleted" and after.trials[0].job is None


def test_tpe_asks_for_as_many_as_may_run_at_once(world: World) -> None:
    space = {"training.optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}}
    sweep_id = begin(world, space=space, search={"name": "tpe", "trials": 5, "parallel": 2})
    assert len(view(world, sweep_id).trials) == 2
    assert go_on(world, sweep_id) == [], "both places are taken"
    succeed(world, take(world), 0.5)
    (third,) = go_on(world, sweep_id)
    assert world.status(third) == "queued"
    for _ in range(4):
        succeed(world, take(world), 0.6)
        go_on(world, sweep_id)
    found = view(world, sweep_id)
    assert found.status == "succeeded" and found.counts == {"succeeded": 5}
    assert len({trial.values["training.optimizer.lr"] for trial in found.trials}) == 5


def test_tpe_comes_near_what_was_good(world: World) -> None:
    """With a value that only the learning rate decides: drawn ones are spread over three decades, later ones are not."""
    space = {"training.optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}}
    sweep_id = begin(world, space=space, search={"name": "tpe", "trials": 30, "parallel": 1})

    def rates() -> list[float]:
        return [trial.values["training.optimizer.lr"] for trial in view(world, sweep_id).trials]

    for _ in range(30):
        distance = abs(math.log10(rates()[-1] / 3e-3))
        succeed(world, take(world), 1 - distance / 3)
        go_on(world, sweep_id)
    far = [abs(math.log10(rate / 3e-3)) for rate in rates()]
    assert sum(far[-10:]) < sum(far[:10]) / 2


def test_values_that_make_no_job_are_a_trial_without_one(world: World) -> None:
    space = {"training.optimizer.lr": [0.1, -1.0]}  # the door would refuse it; a combination that only TPE makes gets as far as this
    sweep_id = begin(world, space={"training.optimizer.lr": [0.1]}, search={"name": "tpe", "trials": 8, "parallel": 1})
    with world.database.write() as session:
        sweep = session.get_one(Sweep, sweep_id)
        sweep.spec = {**sweep.spec, "space": space}
    for _ in range(8):
        while (claim := world.claim()) is not None:
            succeed(world, claim, 0.9)
        go_on(world, sweep_id)
    found = view(world, sweep_id)
    wrong = [trial for trial in found.trials if trial.job is None]
    assert found.status == "succeeded" and len(found.trials) == 8 and wrong
    assert all("make no job: training.optimizer.lr" in trial.error for trial in wrong)


def test_the_best_third_of_a_rung_goes_on(world: World) -> None:
    sweep_id = begin(world, halving={})
    first, second, third, fourth = (take(world) for _ in range(4))
    assert epoch(world, first, 1, 0.5) == "running", "alone it is the best"
    assert epoch(world, second, 1, 0.4) == "cancelling"
    assert epoch(world, third, 1, 0.6) == "running"
    assert epoch(world, third, 2, 0.1) == "running", "epoch 2 is no rung"
    assert epoch(world, first, 3, 0.7) == "running"
    assert epoch(world, third, 3, 0.6) == "cancelling"
    assert epoch(world, fourth, 3, 0.65) == "cancelling", "a rung that was passed over counts where it is seen first"
    reason = world.job(second.job_id).status_reason
    assert reason == "stopped early by its sweep: after 1 epoch its accuracy was 0.4000, 1 of 1 others were better, and the best 1 go on"
    world.by(claims.give_back, second, "stopped at step 20: cancelling")
    assert world.status(second.job_id) == "cancelled" and world.job(second.job_id).status_reason == reason
    trials = view(world, sweep_id).trials
    assert [trial.stopped_after_epoch for trial in trials] == [None, 1, 3, 3, None, None]
    assert trials[1].value == 0.4 and trials[2].value == 0.6


def test_whoever_came_first_is_judged_when_others_have_come(world: World) -> None:
    begin(world, halving={})
    hasty, slow = take(world), take(world)
    assert epoch(world, hasty, 1, 0.4) == "running", "nobody to compare it with"
    assert epoch(world, slow, 1, 0.5) == "running"
    assert epoch(world, slow, 2, 0.1) == "running", "it is the rung that counts, not where it stands now"
    assert epoch(world, hasty, 2, 0.9) == "cancelling"


def test_an_epoch_that_comes_again_changes_nothing(world: World) -> None:
    """A run that resumes from a checkpoint before the rung tells the epoch a second time."""
    sweep_id = begin(world, halving={})
    first, second = take(world), take(world)
    epoch(world, first, 1, 0.7)
    epoch(world, second, 1, 0.6)
    assert epoch(world, first, 1, 0.1) == "running"
    with world.database.read() as session:
        rungs = session.scalars(sa.select(Trial.rungs).where(Trial.sweep_id == sweep_id).order_by(Trial.number)).all()
    assert rungs[:2] == [{"1": 0.7}, {"1": 0.6}]


def test_a_loser_that_is_faster_than_its_judge_has_succeeded(world: World) -> None:
    sweep_id = begin(world, halving={}, space={"training.optimizer.lr": [0.1, 0.2]})
    first, second = take(world), take(world)
    epoch(world, first, 1, 0.5)
    assert epoch(world, second, 1, 0.4) == "cancelling"
    succeed(world, second, 0.8)
    succeed(world, first, 0.7)
    go_on(world, sweep_id)
    found = view(world, sweep_id)
    assert (found.best, found.trials[1].stopped_after_epoch) == (2, None)
    assert found.verdict.startswith("Best of 2: trial 2")


def test_cancelling_stops_what_runs_and_keeps_what_has_succeeded(world: World) -> None:
    sweep_id = begin(world)
    succeed(world, take(world), 0.5)
    running = take(world)
    with world.database.write() as session:
        sweeping.cancel(session, session.get_one(Sweep, sweep_id, with_for_update=True))
    found = view(world, sweep_id)
    assert (found.status, found.counts) == ("cancelling", {"succeeded": 1, "cancelling": 1, "cancelled": 4})
    assert go_on(world, sweep_id) == [] and view(world, sweep_id).status == "cancelling"
    world.by(claims.give_back, running, "stopped")
    go_on(world, sweep_id)
    assert (view(world, sweep_id).status, view(world, sweep_id).best) == ("cancelled", 1)


def test_a_cancelled_search_tries_nothing_more(world: World) -> None:
    sweep_id = begin(world, search={"name": "tpe", "trials": 50, "parallel": 2})
    with world.database.write() as session:
        sweeping.cancel(session, session.get_one(Sweep, sweep_id, with_for_update=True))
    assert go_on(world, sweep_id) == []
    assert (view(world, sweep_id).status, len(view(world, sweep_id).trials)) == ("cancelled", 2)


def test_without_a_success_it_has_failed(world: World) -> None:
    sweep_id = begin(world, space={"training.optimizer.lr": [0.1]})
    world.fail(take(world))
    go_on(world, sweep_id)
    found = view(world, sweep_id)
    assert (found.status, found.best, found.verdict) == ("failed", None, None)
    assert found.trials[0].error == "The loss is NaN."


@pytest.mark.parametrize("attempt", range(5))
def test_many_at_once_start_each_trial_once(world: World, attempt: int) -> None:
    sweep_id = begin(world, search={"name": "tpe", "trials": 12, "parallel": 4})
    for _ in range(3):
        held = [take(world) for _ in range(4)]
        calls = [lambda claim=claim: (succeed(world, claim, 0.5), go_on(world, sweep_id)) for claim in held]
        assert not [error for error in at_once(*calls) if isinstance(error, Exception)]
        go_on(world, sweep_id)
    found = view(world, sweep_id)
    assert found.status == "succeeded" and [trial.number for trial in found.trials] == list(range(1, 13))
    assert len({trial.job for trial in found.trials}) == 12


@pytest.mark.parametrize("attempt", range(5))
def test_cancelling_while_trials_end_and_are_judged(world: World, attempt: int) -> None:
    """The sweep's row before its jobs', everywhere: or Postgres would break one of these off as a deadlock."""
    sweep_id = begin(world, halving={})
    held = [take(world) for _ in range(4)]

    def cancelled() -> None:
        with world.database.write() as session:
            sweeping.cancel(session, session.get_one(Sweep, sweep_id, with_for_update=True))

    def judged(claim: Claim, value: float) -> None:
        epoch(world, claim, 1, value)
        world.by(claims.give_back, claim, "stopped")

    calls = [lambda claim=claim, i=i: judged(claim, i / 10) for i, claim in enumerate(held)]
    results = at_once(cancelled, *calls, lambda: go_on(world, sweep_id))
    assert not [error for error in results if isinstance(error, Exception)], results
    go_on(world, sweep_id)
    with world.database.read() as session:
        left = session.scalars(sa.select(Job.status).where(Job.sweep_id == sweep_id)).all()
    assert view(world, sweep_id).status == "cancelled" and set(left) == {"cancelled"}, left


def test_a_retry_is_a_job_of_its_own(world: World) -> None:
    begin(world, space={"training.optimizer.lr": [0.1]})
    claim = take(world)
    world.fail(claim)
    again = world.do(lifecycle.retry, claim.job_id, fresh=True)
    assert world.job(again.id).sweep_id is None


def test_of_very_many_some_are_queued_and_the_rest_follows(world: World) -> None:
    sweep_id = begin(world, space={"training.seed": list(range(250))}, search={"name": "random", "trials": 130})
    assert view(world, sweep_id).counts == {"queued": 100}
    for _ in range(20):
        world.fail(take(world))
    assert len(go_on(world, sweep_id)) == 20
    for _ in range(5):
        world.fail(take(world))
    assert len(go_on(world, sweep_id)) == 5
    with world.database.read() as session:
        sweep = session.get_one(Sweep, sweep_id)
        assert [trial.values for trial in sweep.trials] == sweep.asked.drawn()[:125]


def test_a_large_grid_tries_every_combination_once(world: World) -> None:
    """Also those that are chosen later, from the document as the database gives it back: its order must be the one that was sent."""
    space = {"training.optimizer.lr": [i / 100 for i in range(1, 12)], "training.seed": list(range(10))}
    sweep_id = begin(world, space=space)
    while (claim := world.claim()) is not None:
        world.fail(claim)
        go_on(world, sweep_id)
    found = view(world, sweep_id)
    tried = [tuple(trial.values.values()) for trial in found.trials]
    assert found.status == "failed" and len(tried) == len(set(tried)) == 110
    assert [list(trial.values) for trial in found.trials[:1]] == [list(space)]


def test_it_does_not_end_while_its_last_trials_wait(world: World) -> None:
    """A search may come to a teacher that is still being trained."""
    teacher = world.submit(name="teacher", priority=-1000)
    job = {**JOB, "kind": "distill", "recipe": "hinton"}
    space = {"teacher.job": [teacher]}
    sweep_id = begin(world, job=job, space=space, search={"name": "tpe", "trials": 2, "parallel": 1})
    world.cancel(view(world, sweep_id).trials[0].job)
    assert go_on(world, sweep_id) == []
    found = view(world, sweep_id)
    assert (found.status, len(found.trials), world.status(found.trials[1].job)) == ("running", 2, "waiting")


@pytest.mark.parametrize("attempt", range(5))
def test_cancelling_while_trials_succeed(world: World, attempt: int) -> None:
    sweep_id = begin(world)
    held = [take(world) for _ in range(6)]

    def cancelled() -> None:
        with world.database.write() as session:
            sweeping.cancel(session, session.get_one(Sweep, sweep_id, with_for_update=True))

    results = at_once(*[lambda claim=claim: succeed(world, claim, 0.5) for claim in held], cancelled)
    assert not [error for error in results if isinstance(error, Exception)], results


def test_what_a_live_teacher_was_asked_is_not_told_as_a_pass(world: World) -> None:
    """Its outputs are made anew in every step; none were found, and none kept."""
    sweep_id = begin(world, space={"training.optimizer.lr": [0.1]})
    claim = take(world)
    arm = {"metrics": {"accuracy": {"mean": 0.5}}, "parameters": 100}
    outputs = {"mode": "live", "cache": None}
    report = {"metric": "accuracy", "validation": {"accuracy": 0.5}, "arms": {"model": arm}, "teacher_outputs": outputs}
    world.by(claims.finish, claim, report, None)
    go_on(world, sweep_id)
    assert view(world, sweep_id).status == "succeeded" and view(world, sweep_id).teacher_passes is None


def test_a_halving_that_a_newer_version_wrote_stops_nothing(world: World) -> None:
    sweep_id = begin(world, halving={"factor": 2})
    claim = take(world)
    with world.database.write() as session:
        sweep = session.get_one(Sweep, sweep_id)
        sweep.spec = {**sweep.spec, "halving": {"factor": 2, "patience": 3}}
    assert epoch(world, claim, 1, 0.1) == "running"


def test_a_run_that_ends_badly_after_its_files_were_stored_keeps_no_student(world: World) -> None:
    """Files are written down before the end is; a worker may die between."""
    begin(world)
    claim = take(world)
    with world.database.write() as session:
        claims.add_files(session, claims.fenced(session, claim), [file("student/config.json", kind="student"), file("trainer.log")])
    world.fail(claim)
    assert "trainer.log" in str(world.rows()["artifacts"]) and "student/" not in str(world.rows()["artifacts"])
