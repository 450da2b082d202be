"""The crash budget: once at once, then later, and after three in a row without progress the job has failed."""

from store_world import S, World, clock

from contract.errors import ErrorCode
from models import claims
from models.base import now
from models.lifecycle import add_event


def crash_again(world: World, job_id: str) -> S:
    world.set(job_id, due_at=now(-1))
    claim = world.take()
    assert claim.job_id == job_id
    return world.crash(claim)


def log(world: World, claim: claims.Claim, *lines: str) -> None:
    with world.database.write() as session:
        job = claims.fenced(session, claim)
        for line in lines:
            add_event(session, job, "log", line)


def wait_of(world: World, job_id: str) -> float:
    due = world.job(job_id).due_at
    assert due is not None
    with world.database.read() as session:
        return float((due - clock(session)).total_seconds())


def test_the_first_crash_requeues_at_once(world):
    claim = world.run()
    assert world.crash(claim, "signal 9") is S.QUEUED
    job = world.job(claim.job_id)
    assert (job.crashes, job.due_at, job.status_reason) == (1, None, "signal 9")
    assert world.take().attempt == 2


def test_the_second_crash_requeues_in_about_ten_seconds(world):
    waits = []
    for _ in range(6):
        claim = world.run()
        world.crash(claim)
        assert crash_again(world, claim.job_id) is S.QUEUED
        waits.append(wait_of(world, claim.job_id))
        assert world.claim() is None
    assert all(3 < wait <= 12 for wait in waits)
    assert len({round(wait, 3) for wait in waits}) > 1, "all come back at the same moment"


def test_the_third_crash_fails_the_job_with_the_last_lines_of_its_log(world):
    claim = world.run()
    world.crash(claim)
    crash_again(world, claim.job_id)
    world.set(claim.job_id, due_at=None)
    claim = world.take()
    log(world, claim, *[f"line {i}" for i in range(15)])
    assert world.crash(claim, "signal 11") is S.FAILED
    job = world.job(claim.job_id)
    assert job.error["code"] == ErrorCode.CRASH_LOOP
    assert "died 3 times in a row without a new checkpoint: signal 11" in job.error["message"]
    lines = " | ".join(f"line {i}" for i in range(5, 15))
    assert job.error["hint"].startswith(f"Last log lines: {lines}. See `potstill logs {claim.job_id}`")
    assert world.events(job.id)[-1].data["error"] == job.error
    assert world.path(job.id) == ["queued", "queued", "running", "queued", "running", "queued", "running", "failed"]


def test_a_crash_loop_without_a_log_says_so(world):
    claim = world.run()
    world.crash(claim)
    crash_again(world, claim.job_id)
    assert crash_again(world, claim.job_id) is S.FAILED
    assert "Last log lines: none." in world.job(claim.job_id).error["hint"]


def test_a_new_checkpoint_resets_the_budget(world):
    claim = world.run()
    for step in range(1, 6):
        world.crash(claim)
        crash_again(world, claim.job_id)
        world.set(claim.job_id, due_at=None)
        claim = world.take()
        world.checkpoint(claim, step)
        assert world.job(claim.job_id).crashes == 0
    assert world.crash(claim) is S.QUEUED
    assert world.job(claim.job_id).due_at is None


def test_a_job_that_was_asked_to_stop_stops_though_it_crashed_for_the_third_time(world):
    for ask, becomes in ((world.pause, S.PAUSED), (world.cancel, S.CANCELLED)):
        claim = world.run()
        world.crash(claim)
        crash_again(world, claim.job_id)
        world.set(claim.job_id, due_at=None)
        claim = world.take()
        ask(claim.job_id)
        assert world.crash(claim) is becomes


def test_a_resume_does_not_wait_out_the_crashes_before_the_pause(world):
    """Somebody looked at it and said: go on."""
    claim = world.run()
    world.crash(claim)
    crash_again(world, claim.job_id)
    world.pause(claim.job_id)
    world.resume(claim.job_id)
    assert world.take().job_id == claim.job_id


def test_a_retry_starts_with_a_whole_budget(world):
    claim = world.run()
    world.crash(claim)
    crash_again(world, claim.job_id)
    crash_again(world, claim.job_id)
    assert world.job(world.retry(claim.job_id)).crashes == 0


def test_last_words_that_are_no_text_do_not_keep_a_crash_from_being_counted(world):
    """Postgres stores no NUL. A crash that could not be written down would be repeated for ever, outside the budget."""
    claim = world.run()
    log(world, claim, "a\x00b", "\ud800")
    assert world.crash(claim, "exit code 1; last line: \x00\x00") is S.QUEUED
    assert world.job(claim.job_id).status_reason == "exit code 1; last line: \ufffd\ufffd"
    crash_again(world, claim.job_id)
    world.set(claim.job_id, due_at=None)
    assert world.crash(world.take(), "\x00") is S.FAILED
    assert "checkpoint: \ufffd." in world.job(claim.job_id).error["message"]
    assert "a\ufffdb | ?" in world.job(claim.job_id).error["hint"]
