"""Whom a worker with a free slot can help: attempts that ask their teacher for all rows."""

import pytest
from store_world import World

from contract.resources import GB, Offer
from models import claims
from models.job import Job

CPU = Offer("cpu", 8 * GB)


@pytest.fixture
def asking(world: World):
    """A running job in a phase; of wrk_1."""

    def made(phase: str | None = "teacher_inference", **columns: object) -> str:
        job_id = world.submit(**columns)
        assert world.take("wrk_1").job_id == job_id
        with world.database.write() as session:
            session.get_one(Job, job_id).progress = {"phase": phase} if phase else {}
        return job_id

    return made


def helped(world: World, worker: str = "wrk_1", offer: Offer = CPU, anywhere: bool = False) -> list[str]:
    with world.database.read() as session:
        return [claim.job_id for claim in claims.to_help(session, worker, offer, anywhere)]


def test_only_a_teachers_pass_can_be_helped_with(world, asking):
    for phase in ("preparing", "training", None):
        asking(phase)
    assert helped(world) == []
    first, second = asking(), asking()
    assert helped(world) == [first, second]
    with world.database.read() as session:
        claim = claims.to_help(session, "wrk_1", CPU, False)[0]
        assert (claim.job_id, claim.attempt, claim.worker_id) == (first, 1, "wrk_1")
        assert claim.spec == session.get_one(Job, first).resolved_spec


def test_another_workers_only_where_it_finds_what_was_made(world, asking):
    job_id = asking()
    assert helped(world, "wrk_2") == []
    assert helped(world, "wrk_2", anywhere=True) == [job_id]


def test_who_could_not_have_taken_it_cannot_help(world, asking):
    asking(want_memory=40 * GB)
    plain = asking()
    assert helped(world) == [plain]
    assert len(helped(world, offer=Offer("cpu", 80 * GB))) == 2


def test_what_has_ended_needs_no_help(world, asking):
    asking()
    with world.database.write() as session:
        (claim,) = claims.to_help(session, "wrk_1", CPU, False)
        assert claims.give_back(session, claim, "enough") == "queued"
    assert helped(world) == []


def test_nobody_helps_to_ask_a_remote_teacher(world, asking):
    asking(resolved_spec={"teacher": {"endpoint": "http://127.0.0.1:8000/v1", "model": "m"}})
    assert helped(world) == []


def test_help_is_wanted_as_long_as_that_attempt_asks(world, asking):
    job_id = asking()
    with world.database.read() as session:
        (claim,) = claims.to_help(session, "wrk_1", CPU, False)
        assert claims.asks(session, claim)
    world.cancel(job_id)
    with world.database.read() as session:
        assert not claims.asks(session, claim)
