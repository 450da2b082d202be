"""A job's history: every number once, in order, without a gap, whoever writes."""

import threading

from store_world import World, at_once

from models import claims, lifecycle
from models.claims import Claim

WRITERS, EACH = 4, 20


def write(world: World, claim: Claim, name: int) -> None:
    for i in range(EACH):
        with world.database.write() as session:
            job = claims.fenced(session, claim)
            lifecycle.add_event(session, job, "log", f"{name}:{i}", data={"i": i})


def test_four_writers_leave_no_gap_and_no_number_twice(world):
    claim = world.run()
    before = len(world.events(claim.job_id))
    assert at_once(*[lambda name=name: write(world, claim, name) for name in range(WRITERS)]) == [None] * WRITERS
    events = world.events(claim.job_id)
    assert [event.seq for event in events] == list(range(1, before + WRITERS * EACH + 1))
    assert world.job(claim.job_id).event_seq == events[-1].seq
    for name in range(WRITERS):
        mine = [event.data["i"] for event in events if event.message.startswith(f"{name}:")]
        assert mine == list(range(EACH))


def test_a_reader_never_sees_a_later_event_before_an_earlier_one(world):
    """Watchers ask for what came after the last number they saw: a gap that fills later is lost to them."""
    claim = world.run()
    done = threading.Event()
    gaps: list[list[int]] = []

    def read() -> int:
        looks = 0
        while not done.is_set():
            seen = [event.seq for event in world.events(claim.job_id)]
            looks += 1
            if seen != list(range(1, len(seen) + 1)):
                gaps.append(seen)
        return looks

    def write_all() -> None:
        try:
            for result in at_once(*[lambda name=name: write(world, claim, name) for name in range(WRITERS)]):
                assert result is None
        finally:
            done.set()

    looks, wrote = at_once(read, write_all)
    assert wrote is None
    assert looks >= 1
    assert gaps == []


def test_an_event_that_is_rolled_back_leaves_its_number_to_the_next(world):
    claim = world.run()
    try:
        with world.database.write() as session:
            lifecycle.add_event(session, claims.fenced(session, claim), "log", "never")
            raise RuntimeError
    except RuntimeError:
        pass
    write(world, claim, 0)
    events = world.events(claim.job_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert "never" not in [event.message for event in events]


def test_an_event_says_which_attempt_wrote_it(world):
    claim = world.run()
    write(world, claim, 1)
    world.crash(claim)
    claim = world.take()
    write(world, claim, 2)
    attempts = {event.message.split(":")[0]: event.attempt for event in world.events(claim.job_id, "log")}
    assert attempts == {"1": 1, "2": 2}


def test_what_an_event_holds_comes_back_as_it_was(world):
    claim = world.run()
    data = {"ü": [1, 2.5, None, True, "Δ"], "deep": {"er": {}}, "big": 2**53, "nul": "a\x00b"}
    with world.database.write() as session:
        lifecycle.add_event(session, claims.fenced(session, claim), "warning", "naïve ✓", level="warning", data=data)
    event = world.events(claim.job_id)[-1]
    assert (event.type, event.level, event.message, event.data) == ("warning", "warning", "naïve ✓", data)
    assert event.created_at.utcoffset().total_seconds() == 0
