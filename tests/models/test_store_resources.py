"""Who may claim what: jobs that ask for more than a worker has stay for others, and the database decides as the contract does."""

import itertools

import pytest
from store_world import S

from contract.resources import GB, Offer, Resources
from contract.spec import JobSpec
from models import claims
from models.base import now
from models.job import Job
from models.making import make

ASKED = [
    Resources(),
    Resources(kind="gpu"),
    Resources(kind="cpu"),
    Resources(memory_gb=16),
    Resources(labels=["a100"]),
    Resources(labels=["eu", "a100"]),
    Resources(kind="gpu", memory_gb=40, labels=["eu"]),
    Resources(devices=2),
    Resources(kind="gpu", devices=4),
]
HAD = [
    Offer("cpu"),
    Offer("cpu", 8 * GB, ("eu",)),
    Offer("cpu", 16 * GB, ("a100",)),
    Offer("gpu", 80 * GB, ("a100", "eu", "x")),
    Offer("gpu", 40 * GB, ("eu",), 4),
]


def columns(asked: Resources) -> dict[str, object]:
    several = asked.devices if asked.devices > 1 else None
    return {"want_kind": asked.kind, "want_memory": asked.memory_bytes, "want_labels": asked.written, "want_devices": several}


@pytest.mark.parametrize("offer", HAD, ids=str)
def test_a_worker_is_given_what_it_can_do_and_nothing_else(world, offer):
    jobs = {world.submit(**columns(asked)): asked for asked in ASKED}
    taken = set()
    while (claim := world.claim(offer=offer)) is not None:
        taken.add(claim.job_id)
    assert taken == {job_id for job_id, asked in jobs.items() if offer.meets(asked)}
    assert {world.job(job_id).status for job_id in set(jobs) - taken} <= {S.QUEUED}


def test_what_an_offer_meets():
    met = {(i, j) for (i, asked), (j, offer) in itertools.product(enumerate(ASKED), enumerate(HAD)) if offer.meets(asked)}
    everybody = {(0, j) for j in range(5)}
    kinds = {(1, 3), (1, 4), (2, 0), (2, 1), (2, 2)}
    memory = {(3, 2), (3, 3), (3, 4)}
    labels = {(4, 2), (4, 3), (5, 3), (6, 3), (6, 4)}
    assert met == everybody | kinds | memory | labels | {(7, 4), (8, 4)}


def test_a_better_job_that_is_not_for_this_worker_does_not_stand_in_the_way(world):
    world.submit(priority=9, **columns(Resources(kind="gpu")))
    other = world.submit()
    claim = world.claim(offer=HAD[0])
    assert claim is not None and claim.job_id == other


SPEC = {
    "kind": "train",
    "task": "image-classification",
    "data": {"train": "digits", "test": "digits"},
    "student": {"arch": "logistic"},
    "resources": {"kind": "gpu", "memory_gb": 24, "labels": ["eu", "a100"], "devices": 2},
}


def test_runs_ask_and_their_parent_does_not_and_a_retry_asks_the_same(world):
    spec = JobSpec.model_validate({**SPEC, "evaluation": {"seeds": 2}})
    with world.database.write() as session:
        parent = make(session, world.project_id, SPEC, spec, needs=[]).id
    with world.database.read() as session:
        found = {job.id == parent: asked_by(job) for job in session.query(Job)}
    assert found == {True: (None, None, None, None), False: ("gpu", 24 * GB, "a100,eu", 2)}
    with world.database.write() as session:
        alone = make(session, world.project_id, SPEC, JobSpec.model_validate(SPEC), needs=[]).id
    world.cancel(alone)
    again = world.retry(alone)
    assert asked_by(world.job(again)) == ("gpu", 24 * GB, "a100,eu", 2)


def asked_by(job):
    return job.want_kind, job.want_memory, job.want_labels, job.want_devices


FOUR = Offer("cpu", devices=4)


def test_slots_are_kept_free_for_a_job_that_needs_several(world):
    """Else small jobs, of which one is always ready when a slot is, would go on for ever."""
    big = world.submit(priority=1, want_devices=3)
    small = world.submit()
    assert world.claim("wrk_1", offer=FOUR, free=2) is None
    assert world.claim("wrk_1", offer=FOUR, free=2) is None
    taken = world.claim("wrk_1", offer=FOUR, free=3)
    assert (taken.job_id, taken.devices) == (big, 3)
    assert world.claim("wrk_1", offer=FOUR, free=1).job_id == small


def test_one_worker_keeps_slots_and_no_other(world):
    world.submit(priority=1, want_devices=3)
    small = world.submit()
    assert world.claim("wrk_1", offer=FOUR, free=2) is None
    assert world.claim("wrk_2", offer=FOUR, free=2).job_id == small


def test_who_has_room_now_takes_what_another_keeps_slots_for(world):
    big = world.submit(priority=1, want_devices=3)
    assert world.claim("wrk_1", offer=FOUR, free=2) is None
    assert world.claim("wrk_2", offer=FOUR, free=3).job_id == big
    small = world.submit()
    assert world.claim("wrk_1", offer=FOUR, free=2).job_id == small


def test_a_promise_of_a_worker_that_is_gone_runs_out(world):
    big = world.submit(priority=1, want_devices=3)
    assert world.claim("wrk_1", offer=FOUR, free=2) is None
    with world.database.write() as session:
        session.get_one(Job, big).lease_until = now(-1)
    small = world.submit()
    assert world.claim("wrk_2", offer=FOUR, free=2) is None
    assert world.claim("wrk_1", offer=FOUR, free=2).job_id == small


def test_a_promise_is_no_place_beyond_the_quota(world):
    def claim(worker, free):
        with world.database.write() as session:
            return claims.claim(session, worker, 30, 2, FOUR, free)

    world.submit()
    assert claim("wrk_1", 4) is not None
    big = world.submit(priority=1, want_devices=3)
    assert claim("wrk_1", 2) is None
    world.submit()
    assert claim("wrk_2", 1) is not None
    assert claim("wrk_1", 3) is None
    assert world.status(big) is S.QUEUED


def test_a_promised_job_that_is_cancelled_frees_the_slots(world):
    big, small = world.submit(priority=1, want_devices=3), world.submit()
    assert world.claim("wrk_1", offer=FOUR, free=2) is None
    world.cancel(big)
    assert world.claim("wrk_1", offer=FOUR, free=2).job_id == small


def test_what_a_worker_can_never_have_it_does_not_wait_for(world):
    world.submit(priority=1, want_devices=5)
    small = world.submit()
    assert world.claim("wrk_1", offer=FOUR, free=4).job_id == small
