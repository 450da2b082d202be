"""Jobs that wait for others: they start when those have succeeded and fail when those have not, each once."""

import pytest
from store_world import S, World, at_once

from models import claims, lifecycle


def error_of(world: World, job_id: str) -> tuple[str, str]:
    error = world.job(job_id).error
    assert error is not None
    return error["code"], error["message"]


def test_a_job_that_needs_nothing_is_queued_at_once(world):
    job_id = world.submit()
    assert world.status(job_id) is S.QUEUED
    events = world.events(job_id)
    assert [(event.seq, event.type, event.data["to"]) for event in events] == [(1, "status", "queued"), (2, "status", "queued")]
    assert world.job(job_id).queued_at is not None


def test_a_job_waits_for_what_it_needs_and_starts_when_that_succeeds(world):
    teacher = world.submit()
    student = world.submit(teacher)
    assert world.status(student) is S.WAITING
    assert world.job(student).view().depends_on == [teacher]
    claim = world.take()
    assert (claim.job_id, world.claim()) == (teacher, None)
    world.finish(claim)
    assert world.path(student) == ["waiting", "queued"]
    assert world.take().job_id == student


def test_what_has_succeeded_already_is_not_waited_for(world):
    teacher = world.in_status(S.SUCCEEDED)
    assert world.status(world.submit(teacher)) is S.QUEUED


@pytest.mark.parametrize("ended", [S.FAILED, S.CANCELLED])
def test_a_job_fails_with_what_it_needs(world, ended):
    claim = world.run()
    student = world.submit(claim.job_id)
    if ended is S.FAILED:
        world.fail(claim)
    else:
        world.cancel(claim.job_id)
        assert world.status(student) is S.WAITING  # the teacher may still get away with it
        world.by(claims.give_back, claim, "asked to stop")
    assert world.status(student) is S.FAILED
    word = "failed" if ended is S.FAILED else "was cancelled"
    assert error_of(world, student) == ("dependency_failed", f"{claim.job_id}, which this job needs, {word}.")
    assert world.events(student)[-1].data["error"]["code"] == "dependency_failed"
    assert world.job(student).finished_at is not None


@pytest.mark.parametrize("ended", [S.FAILED, S.CANCELLED])
def test_a_job_that_needs_what_has_failed_already_fails_at_once(world, ended):
    student = world.submit(world.in_status(ended))
    assert world.status(student) is S.FAILED
    assert error_of(world, student)[0] == "dependency_failed"


def test_a_job_that_needs_what_was_deleted_fails_at_once(world):
    gone = world.in_status(S.SUCCEEDED)
    world.delete(gone)
    student = world.submit(gone)
    assert error_of(world, student) == ("dependency_failed", f"{gone}, which this job needs, was deleted.")


def test_a_job_that_started_does_not_mind_what_becomes_of_its_teacher(world):
    teacher = world.in_status(S.SUCCEEDED)
    student = world.submit(teacher)
    world.delete(teacher)
    assert world.status(student) is S.QUEUED
    world.finish(world.take())
    assert world.status(student) is S.SUCCEEDED


def test_a_teacher_that_never_ran_and_is_cancelled_fails_its_students(world):
    teacher = world.submit()
    students = [world.submit(teacher) for _ in range(3)]
    world.cancel(teacher)
    assert {world.status(student) for student in students} == {S.FAILED}


def test_a_job_of_two_teachers_waits_for_both(world):
    first, second = world.run(), world.run()
    student = world.submit(first.job_id, second.job_id)
    world.finish(second)
    assert world.status(student) is S.WAITING
    world.finish(first)
    assert world.path(student) == ["waiting", "queued"]


def test_a_job_of_two_teachers_fails_with_the_first_that_does(world):
    first, second = world.run(), world.run()
    student = world.submit(first.job_id, second.job_id)
    world.fail(second)
    assert world.path(student) == ["waiting", "failed"]
    world.finish(first)
    assert world.path(student) == ["waiting", "failed"]


def test_naming_the_same_teacher_twice_is_naming_it_once(world):
    claim = world.run()
    student = world.submit(claim.job_id, claim.job_id)
    assert world.job(student).view().depends_on == [claim.job_id]
    world.finish(claim)
    assert world.status(student) is S.QUEUED


def test_a_chain_of_three_runs_link_by_link(world):
    first = world.submit()
    second = world.submit(first)
    third = world.submit(second)
    for expected in (first, second, third):
        claim = world.take()
        assert claim.job_id == expected
        assert world.claim() is None
        world.finish(claim)
    assert world.status(third) is S.SUCCEEDED


def test_a_chain_of_three_falls_from_its_first_link(world):
    claim = world.run()
    second = world.submit(claim.job_id)
    third = world.submit(second)
    world.fail(claim)
    assert (world.status(second), world.status(third)) == (S.FAILED, S.FAILED)
    assert error_of(world, third)[1].startswith(second)


def test_a_paused_job_that_was_waiting_waits_again_when_resumed(world):
    claim = world.run()
    student = world.submit(claim.job_id)
    world.pause(student)
    world.resume(student)
    assert world.status(student) is S.WAITING
    world.finish(claim)
    assert world.path(student) == ["waiting", "paused", "waiting", "queued"]


def test_a_paused_job_stays_paused_when_its_teacher_succeeds_and_is_queued_when_resumed(world):
    claim = world.run()
    student = world.submit(claim.job_id)
    world.pause(student)
    world.finish(claim)
    assert world.status(student) is S.PAUSED
    world.resume(student)
    assert world.path(student) == ["waiting", "paused", "queued"]


def test_a_paused_job_whose_teacher_failed_fails_when_resumed(world):
    claim = world.run()
    student = world.submit(claim.job_id)
    world.pause(student)
    world.fail(claim)
    assert world.status(student) is S.PAUSED
    world.resume(student)
    assert world.path(student) == ["waiting", "paused", "waiting", "failed"]
    assert error_of(world, student)[0] == "dependency_failed"


def test_a_paused_job_outlives_its_teachers_row(world):
    """The teacher may be deleted while nobody waits for it actively; how it ended is remembered."""
    claim = world.run()
    student = world.submit(claim.job_id)
    world.pause(student)
    world.finish(claim)
    world.delete(claim.job_id)
    world.resume(student)
    assert world.status(student) is S.QUEUED


def test_unfinished_jobs_that_need_one_are_counted(world):
    teacher = world.in_status(S.SUCCEEDED)
    world.submit(teacher)
    world.submit(teacher)
    world.finish(world.take())
    with world.database.read() as session:
        assert lifecycle.dependents_waiting(session, teacher) == 1


ROUNDS = 8


def test_two_teachers_that_finish_at_the_same_moment_queue_their_student_once(world):
    """Each commit sees the other's or neither does: both would queue it, or none."""
    for _ in range(ROUNDS):
        held = [world.run() for _ in range(2)]
        student = world.submit(*[claim.job_id for claim in held])
        results = at_once(*[lambda claim=claim: world.finish(claim) for claim in held])
        assert results == [None, None]
        assert world.path(student) == ["waiting", "queued"]
        world.cancel(student)


def test_four_teachers_of_which_one_fails_at_the_same_moment_fail_their_student_once(world):
    for _ in range(ROUNDS):
        held = [world.run() for _ in range(4)]
        student = world.submit(*[claim.job_id for claim in held])
        ends = [lambda claim=claim: world.finish(claim) for claim in held[1:]]
        assert at_once(lambda first=held[0]: world.fail(first), *ends) == [None] * 4
        assert world.path(student) == ["waiting", "failed"]


def test_a_student_submitted_while_its_teacher_finishes_is_never_left_waiting(world):
    for _ in range(ROUNDS):
        claim = world.run()
        results = at_once(lambda claim=claim: world.finish(claim), *[lambda c=claim: world.submit(c.job_id)] * 3)
        assert results[0] is None
        students = results[1:]
        assert [world.status(student) for student in students] == [S.QUEUED] * 3
        assert {tuple(world.path(student)) for student in students} <= {("waiting", "queued")}
        for student in students:
            world.cancel(student)


def test_a_student_resumed_while_its_teachers_finish_is_never_left_waiting(world):
    for _ in range(ROUNDS):
        held = [world.run() for _ in range(2)]
        student = world.submit(*[claim.job_id for claim in held])
        world.pause(student)
        ends = [lambda claim=claim: world.finish(claim) for claim in held]
        assert at_once(lambda s=student: world.resume(s), *ends) == [None] * 3
        assert world.status(student) is S.QUEUED
        world.cancel(student)


def test_cancelling_a_student_while_its_teacher_finishes_leaves_it_cancelled(world):
    for _ in range(ROUNDS):
        claim = world.run()
        student = world.submit(claim.job_id)
        assert at_once(lambda claim=claim: world.finish(claim), lambda s=student: world.cancel(s)) == [None, None]
        assert world.status(student) is S.CANCELLED
