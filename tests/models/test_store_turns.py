"""Whose turn it is: priority, then the project that holds least, then age; and who makes way for whom."""

from collections.abc import Callable

import pytest
from store_world import S, World

from contract.resources import GB, Offer
from models import turns
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


def workers(world: World, **offers: Offer) -> None:
    with world.database.write() as session:
        for id_, offer in offers.items():
            devices = ["cuda:0"] if offer.kind == "gpu" else ["cpu"]
            told = {"memory_bytes": offer.memory_bytes, "labels": list(offer.labels)}
            session.add(Worker(id=id_, host=id_, version="1", devices=devices, slots=4, **told))


def waited(world: World, job_id: str, seconds: float = 60) -> str:
    """As if it had been queued so long ago."""
    with world.database.write() as session:
        session.get_one(Job, job_id).queued_at = turns.now(-seconds)
    return job_id


def way(world: World, worker: str, offer: Offer = CPU) -> dict[str, str]:
    with world.database.read() as session:
        return turns.make_way(session, worker, offer)


def test_projects_take_turns_however_much_one_of_them_has_waiting(world, other):
    many = [world.submit() for _ in range(6)]
    few = [other(), other()]
    taken = [world.take().job_id for _ in range(8)]
    assert taken == [many[0], few[0], many[1], few[1], *many[2:]]


def test_a_project_whose_jobs_have_ended_holds_nothing(world, other):
    first, second, third = world.submit(), world.submit(), other()
    world.finish(world.take())
    assert [world.take().job_id for _ in range(2)] == [second, third]
    assert world.job(first).status == S.SUCCEEDED


def test_priority_goes_before_turns(world, other):
    world.submit()
    world.take()
    mine, theirs = world.submit(priority=1), other()
    assert [world.take().job_id for _ in range(2)] == [mine, theirs]


def test_the_lowest_and_of_those_the_youngest_makes_way(world):
    workers(world, wrk_1=CPU, wrk_2=CPU)
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
    workers(world, wrk_1=CPU)
    world.submit(priority=2)
    world.take()
    waited(world, world.submit(priority=2))
    assert way(world, "wrk_1") == {}


def test_only_who_runs_where_the_other_could_makes_way(world):
    workers(world, wrk_1=CPU, wrk_2=BIG)
    on_gpu, on_cpu = world.submit(), world.submit(priority=1)
    for worker, offer in (("wrk_1", CPU), ("wrk_2", BIG)):  # the first takes the better one
        world.claim(worker, offer=offer)
    wants = waited(world, world.submit(priority=5, want_kind="gpu", want_memory=40 * GB, want_labels="a100"))
    assert way(world, "wrk_1", CPU) == {}
    assert way(world, "wrk_2", BIG) == {on_gpu: wants}
    assert (world.job(on_cpu).worker_id, world.job(on_gpu).worker_id) == ("wrk_1", "wrk_2")
