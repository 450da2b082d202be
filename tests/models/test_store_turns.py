"""Whose turn it is: priority, then the project that holds least, then age; and who makes way for whom."""

from collections.abc import Callable, Sequence

import pytest
from store_world import World

from contract.resources import GB, Offer
from models import claims, turns
from models.ids import new_id
from models.job import Job
from models.project import Project
from models.service import Worker

CPU, BIG = Offer("cpu", 8 * GB), Offer("gpu", 80 * GB, ("a100",))


@pytest.fixture
def other(world: World) -> Callable[..., str]:
    """Submits to another project."""
    project_id = new_id("prj")
    with world.database.write() as session:
        session.add(Project(id=project_id, name=project_id))
    return lambda **columns: world.submit(project_id=project_id, **columns)


def workers(world: World, *slots: int, offers: Sequence[Offer] = (), preempts: bool = True) -> None:
    """wrk_1, wrk_2, … with so many slots each, and CPUs unless told."""
    with world.database.write() as session:
        for number, count in enumerate(slots, 1):
            offer = offers[number - 1] if offers else CPU
            devices = ["cuda:0"] if offer.kind == "gpu" else ["cpu"]
            told = {"memory_bytes": offer.memory_bytes, "labels": list(offer.labels), "preempts": preempts}
            session.add(Worker(id=f"wrk_{number}", host="h", version="1", devices=devices, slots=count, **told))


def waited(world: World, job_id: str, seconds: float = 60) -> str:
    """As if it had been queued so long ago."""
    with world.database.write() as session:
        session.get_one(Job, job_id).queued_at = turns.now(-seconds)
    return job_id


def way(world: World, worker: str, offer: Offer = CPU, most: int | None = None) -> dict[str, str]:
    with world.database.read() as session:
        return turns.make_way(session, worker, most, offer)


def test_projects_take_turns_however_much_one_of_them_has_waiting(world, other):
    many = [world.submit() for _ in range(6)]
    few = [other(), other()]
    taken = [world.take().job_id for _ in range(8)]
    assert {taken[0], taken[1]} == {many[0], few[0]} and {taken[2], taken[3]} == {many[1], few[1]}
    assert taken[4:] == many[2:]


def test_a_job_of_several_devices_counts_as_so_many(world, other):
    wide, narrow = world.submit(), [other() for _ in range(4)]
    with world.database.write() as session:
        session.get_one(Job, wide).want_devices = 3
    for _ in range(2):
        world.submit()
    taken = [world.take().job_id for _ in range(5)]
    assert set(taken[:2]) == {wide, narrow[0]} and taken[2:4] == narrow[1:3]


def test_with_one_slot_they_take_turns_too(world, other):
    """Nobody holds anything when it looks, so chance decides: each has its share."""
    for _ in range(40):
        world.submit()
    mine = {other() for _ in range(40)}
    taken = []
    for _ in range(40):
        claim = world.take()
        taken.append(claim.job_id in mine)
        world.finish(claim)
    assert 3 < sum(taken) < 37  # outside by chance once in fifty million times


def test_a_full_project_stands_in_nobodys_way(world, other):
    world.submit(priority=9)
    world.take()
    world.submit(priority=9)
    theirs = other()
    with world.database.write() as session:
        claim = claims.claim(session, "wrk_1", 30, most=1)
    assert claim is not None and claim.job_id == theirs
    with world.database.write() as session:
        assert claims.claim(session, "wrk_1", 30, most=1) is None


@pytest.mark.parametrize("store", ["postgres"], indirect=True)  # SQLite has one writer: nobody else is claiming meanwhile
def test_where_others_are_claiming_the_best_the_next_best_is_taken(world):
    best, next_best = world.submit(priority=5), world.submit()
    with world.database.write() as session:
        first = claims.claim(session, "wrk_1", 30)
        assert first is not None and first.job_id == best
        assert world.take("wrk_2").job_id == next_best


def test_a_project_whose_jobs_have_ended_holds_nothing(world, other):
    first, second, third = world.submit(), world.submit(), other()
    while (claim := world.take()).job_id != first:
        world.finish(claim)
        third = other()
    world.finish(claim)
    assert {world.take().job_id for _ in range(2)} == {second, third}


def test_priority_goes_before_turns(world, other):
    world.submit()
    world.take()
    mine, theirs = world.submit(priority=1), other()
    assert [world.take().job_id for _ in range(2)] == [mine, theirs]


def test_the_lowest_and_of_those_the_youngest_makes_way(world):
    workers(world, 2, 1)
    low_old, high, low_young = (world.submit(priority=priority) for priority in (0, 5, 0))
    held = {world.take(worker).job_id: worker for worker in ("wrk_1", "wrk_2", "wrk_1")}
    assert set(held) == {low_old, high, low_young}
    better = world.submit(priority=3)
    assert way(world, "wrk_1") == way(world, "wrk_2") == {}, "it has not waited yet"
    waited(world, better)
    found = {**way(world, "wrk_1"), **way(world, "wrk_2")}
    assert found == {low_young: better}
    assert way(world, held[low_young]) == {low_young: better}
    second = waited(world, world.submit(priority=3))
    assert {**way(world, "wrk_1"), **way(world, "wrk_2")} == {low_young: better, low_old: second}
    waited(world, world.submit(priority=3))
    assert {**way(world, "wrk_1"), **way(world, "wrk_2")} == {low_young: better, low_old: second}, "nobody is lower any more"


def test_equals_do_not_make_way_for_each_other(world):
    workers(world, 1)
    world.submit(priority=2)
    world.take()
    waited(world, world.submit(priority=2))
    assert way(world, "wrk_1") == {}


def test_only_who_runs_where_the_other_could_makes_way(world):
    workers(world, 1, 1, offers=[CPU, BIG])
    on_gpu, on_cpu = world.submit(), world.submit(priority=1)
    for worker, offer in (("wrk_1", CPU), ("wrk_2", BIG)):  # the first takes the better one
        world.claim(worker, offer=offer)
    wants = waited(world, world.submit(priority=5, want_kind="gpu", want_memory=40 * GB, want_labels="a100"))
    assert way(world, "wrk_1", CPU) == {}
    assert way(world, "wrk_2", BIG) == {on_gpu: wants}
    assert (world.job(on_cpu).worker_id, world.job(on_gpu).worker_id) == ("wrk_1", "wrk_2")


def test_where_a_slot_is_free_nobody_makes_way(world):
    """Of one job of two that has left the row says so before its slot is free: the other is not to follow it."""
    workers(world, 2)
    world.submit()
    world.take()
    waited(world, world.submit(priority=5))
    assert way(world, "wrk_1") == {}


def test_for_a_job_of_several_devices_as_many_make_way(world):
    workers(world, 3)
    low = [world.submit(priority=priority) for priority in (1, 2)]
    kept = world.submit(priority=3)
    for _ in range(3):
        world.take()
    better = waited(world, world.submit(priority=5, want_devices=2))
    assert way(world, "wrk_1", CPU._replace(devices=3)) == dict.fromkeys(low, better)
    assert world.job(kept).status == "running"


def test_workers_that_do_not_preempt_are_not_counted_on(world):
    workers(world, 1, preempts=False)
    world.submit()
    world.take()
    waited(world, world.submit(priority=5))
    assert way(world, "wrk_1") == {}


def test_a_project_that_is_full_displaces_only_its_own(world, other):
    workers(world, 2)
    mine, theirs = world.submit(priority=1), other()
    assert {world.take().job_id for _ in range(2)} == {mine, theirs}
    better = waited(world, world.submit(priority=5))
    assert way(world, "wrk_1") == {theirs: better}
    assert way(world, "wrk_1", most=1) == {mine: better}
