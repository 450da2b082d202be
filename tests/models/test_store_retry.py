"""A retry is a new job that does the same again."""

import pytest
from store_world import S, World

COPIED = ["project_id", "kind", "name", "priority", "spec", "resolved_spec", "meta", "arm", "seed"]


@pytest.mark.parametrize("fresh", [False, True])
def test_a_retry_keeps_what_was_asked_and_names_the_old_job(world, fresh):
    spec = {"kind": "distill", "training": {"seed": 7}, "deep": [1, {"a": None}]}
    claim = world.run(kind="distill", name="näme", spec={"as": "sent"}, resolved_spec=spec, meta={"team": "a"})
    world.checkpoint(claim, 3)
    world.fail(claim)
    old = world.job(claim.job_id)
    again = world.job(world.retry(old.id, fresh=fresh))
    for column in COPIED:
        assert getattr(again, column) == getattr(old, column), column
    assert (again.retry_of, again.retry_fresh) == (old.id, fresh)
    assert again.id > old.id
    assert (again.status, again.attempt, again.crashes, again.error, again.started_at) == (S.QUEUED, 0, 0, None, None)
    assert (again.progress, again.latest, again.warnings, again.report) == ({}, {}, [], None)
    assert [event.seq for event in world.events(again.id)] == [1, 2]
    assert world.job(old.id).status == S.FAILED
    assert world.claim().retry_of == (None if fresh else old.id)


def test_a_retry_needs_what_the_old_job_needed(world):
    first, second = world.in_status(S.SUCCEEDED), world.in_status(S.SUCCEEDED)
    job_id = world.submit(first, second)
    world.cancel(job_id)
    again = world.retry(job_id)
    assert world.job(again).view().depends_on == sorted([first, second])
    assert world.status(again) is S.QUEUED


def test_a_retry_waits_for_a_teacher_that_still_runs(world):
    claim = world.run()
    student = world.submit(claim.job_id)
    world.cancel(student)
    again = world.retry(student)
    assert world.status(again) is S.WAITING
    world.finish(claim)
    assert world.path(again) == ["waiting", "queued"]


def test_a_retry_of_what_failed_with_its_teacher_fails_with_it_again(world):
    claim = world.run()
    student = world.submit(claim.job_id)
    world.fail(claim)
    again = world.retry(student)
    assert world.status(again) is S.FAILED
    assert world.job(again).error["code"] == "dependency_failed"


def test_a_retry_whose_teacher_is_gone_fails_and_says_so(world):
    teacher = world.in_status(S.SUCCEEDED)
    student = world.submit(teacher)
    world.cancel(student)
    world.delete(teacher)
    again = world.retry(student)
    assert world.job(again).error["message"] == f"{teacher}, which this job needs, was deleted."


def test_a_retry_can_be_retried(world):
    first = world.in_status(S.CANCELLED)
    second = world.retry(first)
    world.cancel(second)
    third = world.retry(second)
    assert [world.job(job_id).retry_of for job_id in (first, second, third)] == [None, first, second]


def test_a_retry_outlives_the_job_it_repeats(world: World):
    first = world.in_status(S.FAILED)
    again = world.retry(first)
    world.delete(first)
    assert world.take().retry_of == first
    assert world.status(again) is S.RUNNING
