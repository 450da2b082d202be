"""Jobs of several runs: the parent waits for its runs however they end, passes requests on, and is queued once."""

from sqlalchemy import event, select
from store_world import S, World, at_once

from models import lifecycle
from models.claims import Claim
from models.job import Job, views

ARMS = [("student", 1), ("control", 1), ("student", 2)]


def parent_of(world: World, *needs: str, arms: list[tuple[str, int]] = ARMS) -> tuple[str, list[str]]:
    with world.database.write() as session:
        parent = world.new(kind="distill", priority=-1)
        runs = [world.new(arm=arm, seed=seed, resolved_spec={"training": {"seed": seed}}) for arm, seed in arms]
        lifecycle.create(session, parent, needs, runs)
        return parent.id, [run.id for run in runs]


def take_all(world: World, runs: list[str]) -> list[Claim]:
    held = [world.take(f"wrk_{i}") for i in range(len(runs))]
    assert [claim.job_id for claim in held] == runs
    return held


def test_a_parent_waits_while_its_runs_are_queued(world):
    parent, runs = parent_of(world)
    assert world.status(parent) is S.WAITING
    assert [world.status(run) for run in runs] == [S.QUEUED] * 3
    assert world.job(parent).runs == sorted(runs)
    assert world.job(parent).view().depends_on == []
    assert {world.job(run).parent_id for run in runs} == {parent}
    held = take_all(world, runs)
    assert [(claim.arm, claim.seed) for claim in held] == ARMS
    assert world.claim() is None


def test_a_parent_is_queued_when_the_last_run_has_ended_in_whatever_way(world):
    parent, runs = parent_of(world)
    first, second, third = take_all(world, runs)
    world.finish(second)
    world.fail(first)
    assert world.status(parent) is S.WAITING
    world.cancel(third.job_id)
    assert world.status(parent) is S.WAITING
    world.crash(third)  # it was asked to stop: cancelled
    assert world.path(parent) == ["waiting", "queued"]
    claim = world.take()
    assert (claim.job_id, claim.runs) == (parent, sorted(runs))


def test_runs_wait_for_the_teacher_and_all_fail_with_it(world):
    teacher = world.run()
    parent, runs = parent_of(world, teacher.job_id)
    assert [world.status(job) for job in (parent, *runs)] == [S.WAITING] * 4
    world.fail(teacher)
    assert [world.status(job) for job in (parent, *runs)] == [S.FAILED] * 4
    assert {world.job(job).error["code"] for job in (parent, *runs)} == {"dependency_failed"}


def test_runs_start_with_the_teachers_success_and_the_parent_still_waits(world):
    teacher = world.run()
    parent, runs = parent_of(world, teacher.job_id)
    world.finish(teacher)
    assert world.status(parent) is S.WAITING
    assert [world.status(run) for run in runs] == [S.QUEUED] * 3
    assert world.job(parent).view().depends_on == [teacher.job_id]


def test_cancelling_a_parent_cancels_its_runs_and_it_is_cancelled_last(world):
    parent, runs = parent_of(world)
    claim = world.take()
    world.cancel(parent)
    assert world.status(parent) is S.CANCELLING
    assert [world.status(run) for run in runs] == [S.CANCELLING, S.CANCELLED, S.CANCELLED]
    assert world.claim() is None
    world.crash(claim)
    last = world.take()  # a worker puts together what there is
    assert last.job_id == parent
    assert world.status(parent) is S.CANCELLING
    world.crash(last)
    assert world.status(parent) is S.CANCELLED


def test_pausing_and_resuming_a_parent_passes_on_to_its_runs(world):
    parent, runs = parent_of(world)
    claim = world.take()
    world.pause(parent)
    assert [world.status(job) for job in (parent, *runs)] == [S.PAUSED, S.PAUSING, S.PAUSED, S.PAUSED]
    world.crash(claim)
    world.resume(parent)
    assert [world.status(job) for job in (parent, *runs)] == [S.WAITING, S.QUEUED, S.QUEUED, S.QUEUED]


def test_a_retry_of_a_parent_repeats_only_what_did_not_succeed(world):
    parent, runs = parent_of(world)
    first, second, third = take_all(world, runs)
    world.finish(first)
    world.fail(second)
    world.finish(third)
    world.fail(world.take())
    again = world.job(world.retry(parent))
    repeated = [run for run in again.runs if run not in runs]
    assert sorted(set(again.runs) & set(runs)) == sorted([first.job_id, third.job_id])
    assert [(world.job(run).retry_of, world.job(run).parent_id, world.job(run).arm) for run in repeated] == [
        (second.job_id, again.id, "control")
    ]
    assert again.status == S.WAITING


def test_runs_that_finish_at_the_same_moment_queue_their_parent_once(world):
    """Each holds its own row and wants the parent's; none may want another run's."""
    for _ in range(5):
        parent, runs = parent_of(world, arms=[("student", seed) for seed in range(4)])
        held = take_all(world, runs)
        assert at_once(*[lambda claim=claim: world.finish(claim) for claim in held]) == [None] * 4
        assert world.path(parent) == ["waiting", "queued"]
        assert [event.seq for event in world.events(parent)] == list(range(1, world.job(parent).event_seq + 1))
        world.cancel(parent)


def test_cancelling_a_parent_meets_its_teachers_end_without_a_deadlock(world):
    for _ in range(5):
        teacher = world.run()
        parent, runs = parent_of(world, teacher.job_id)
        assert at_once(lambda p=parent: world.cancel(p), lambda teacher=teacher: world.finish(teacher)) == [None, None]
        assert [world.status(run) for run in runs] == [S.CANCELLED] * 3
        assert world.status(parent) is S.CANCELLING
        world.crash(world.take())


def test_pausing_a_parent_meets_its_runs_ends_without_a_deadlock(world):
    for _ in range(5):
        parent, runs = parent_of(world)
        ends = [lambda claim=claim: world.finish(claim) for claim in take_all(world, runs)]
        assert at_once(lambda p=parent: world.pause(p), *ends) == [None] * 4
        world.resume(parent)
        assert world.path(parent)[-1] == "queued"
        world.finish(world.take())


def test_a_run_cancelled_by_itself_meets_its_teachers_end_without_a_deadlock(world):
    for _ in range(5):
        teacher = world.run()
        parent, runs = parent_of(world, teacher.job_id)
        cancels = [lambda run=run: world.cancel(run) for run in runs]
        assert at_once(lambda teacher=teacher: world.finish(teacher), *cancels) == [None] * 4
        assert [world.status(run) for run in runs] == [S.CANCELLED] * 3
        assert world.status(parent) is S.QUEUED
        world.cancel(parent)


def test_a_new_job_is_written_once_as_it_stands_in_the_end(world):
    """A row and its history for each run; of a parent, which has to be there before them, also what they make of it."""
    asked = []

    def seen(_connection, _cursor, statement, *_):
        asked.append(statement.split(" ", 1)[0])

    def statements(arms):
        asked.clear()
        with world.database.write() as session:
            runs = [world.new(arm=arm, seed=seed) for arm, seed in arms]
            lifecycle.create(session, world.new(), [], runs)
        return [word for word in asked if word in ("INSERT", "UPDATE", "SELECT")]

    event.listen(world.database.engine, "before_cursor_execute", seen)
    try:
        assert statements([]) == ["INSERT"] * 2
        of_three, of_six = statements(ARMS), statements(ARMS * 2)
    finally:
        event.remove(world.database.engine, "before_cursor_execute", seen)
    assert len(of_three) <= 2 + 2 * 3 + 1 and len(of_six) == len(of_three) + 2 * 3


def test_the_progress_of_all_runs_of_a_list_is_asked_for_at_once(world):
    parents = [parent_of(world)[0] for _ in range(5)]
    asked = []

    def seen(_connection, _cursor, _statement, parameters, *_):
        asked.append(parameters)

    with world.database.write() as session:
        for number, run in enumerate(session.scalars(select(Job).where(Job.parent_id == parents[1]).order_by(Job.id))):
            run.progress = {"phase": "training", "step": number, "total_steps": 10, "epoch": 0, "steps_per_second": 1.0, "eta_seconds": 1.0}
    with world.database.read() as session:
        jobs = list(session.scalars(select(Job).where(Job.id.in_(parents)).order_by(Job.id)))
        event.listen(world.database.engine, "before_cursor_execute", seen)
        try:
            shown = views(jobs)
        finally:
            event.remove(world.database.engine, "before_cursor_execute", seen)
    assert len(asked) == 1 and {*parents} <= {*(asked[0].values() if isinstance(asked[0], dict) else asked[0])}
    assert len(asked[0]) <= len(parents) + 1  # however many runs they have
    assert [(view.progress.step, view.progress.total_steps) for view in shown] == [(None, None), (3, 30), *[(None, None)] * 3]
    assert views([]) == []
