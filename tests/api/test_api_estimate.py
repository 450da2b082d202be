"""What `POST /v1/jobs/validate` says a job takes: which worker it speaks of, what it knows, and what it says it does not."""

from typing import Any

import pytest
from real_service import Api
from sqlalchemy import update

from contract.machine import Machine
from models.base import now
from models.ids import new_id
from models.service import Worker

MACHINE = Machine(
    processor="x86_64 A Processor",
    device="cpu",
    threads=1,
    torch="2.13.0",
    run_seconds=0.2,
    step_seconds=1e-3,
    kernel_seconds=5e-5,
    flops=5e10,
    bytes_per_second=1e10,
    memory_bytes=400_000_000,
    capacity_bytes=8_000_000_000,
)


@pytest.fixture
def worker(api: Api) -> str:
    """A live worker of two slots that has measured its machine."""
    return add(api, MACHINE, slots=2)


def add(api: Api, machine: Machine | None, slots: int = 1) -> str:
    id_ = new_id("wrk")
    with api.running.database.write() as session:
        told = machine.model_dump(mode="json") if machine is not None else None
        session.add(Worker(id=id_, host=f"host of {id_}", version="1", devices=["cpu"], slots=slots, machine=told))
    return id_


def estimate(api: Api, spec: dict[str, Any]) -> dict[str, Any]:
    found = api.post("/v1/jobs/validate", spec).json()
    assert found["valid"], found
    return found["estimate"]


def test_a_job_is_estimated_on_the_machines_there_are(api: Api, train: dict[str, Any], worker: str) -> None:
    found = estimate(api, {**train, "training": {"epochs": 100, "batch_size": 64}})
    assert found["machine"] == {
        "worker": worker, "host": f"host of {worker}", "processor": "x86_64 A Processor", "device": "cpu", "threads": 1, "slots": 2,
        "capacity_bytes": MACHINE.capacity_bytes,
    }  # fmt: skip
    assert found["reason"] is None and found["notes"] == []
    assert found["steps"] == 100 * 23
    assert found["seconds"] == found["run_seconds"] == pytest.approx(2300 * found["step_seconds"], rel=0.2)
    assert found["teacher_seconds"] is None
    memory, disk = found["memory"], found["disk"]
    assert memory["total"] == sum(memory.values()) - memory["total"] and memory["process"] == 400_000_000
    assert (memory["weights"], memory["gradients"], memory["optimizer"]) == (4 * 2410, 4 * 2410, 8 * 2410)
    assert disk["total"] == disk["students"] + disk["checkpoints"] and disk["teacher_outputs"] == 0
    shown = [one for one in api.get("/v1/workers").json()["data"] if one["id"] == worker]
    assert shown[0]["machine"] == MACHINE.model_dump(mode="json")


def test_a_job_that_no_worker_has_memory_for_is_warned_of(api: Api, train: dict[str, Any], worker: str) -> None:
    assert MACHINE.capacity_bytes is not None
    wide = {**train, "student": {"arch": "mlp", "hidden": [16384, 16384, 16384]}}
    needed = estimate(api, wide)["memory"]["total"]
    assert needed > MACHINE.capacity_bytes > estimate(api, train)["memory"]["total"]
    warned = [said for said in api.post("/v1/jobs/validate", wide).json()["warnings"] if said.startswith("student: a run needs about ")]
    assert len(warned) == 1 and warned[0].endswith("no live worker has more than 8.0 GB.")
    add(api, MACHINE.model_copy(update={"capacity_bytes": needed}))
    assert not any("no live worker" in said for said in api.post("/v1/jobs/validate", wide).json()["warnings"])


def test_runs_share_the_slots_and_the_teachers_pass(api: Api, train: dict[str, Any], distill: dict[str, Any], worker: str) -> None:
    teacher = api.submit(train)
    one = {**distill, "teacher": {"job": teacher["id"]}}
    six = {**one, "evaluation": {"control": True, "seeds": 3}}
    alone, together = estimate(api, one), estimate(api, six)
    assert (alone["runs"], together["runs"]) == (1, 6) and together["steps"] == 6 * alone["steps"]
    assert alone["teacher_seconds"] == together["teacher_seconds"] > 0
    assert 2 * alone["run_seconds"] < together["seconds"] <= 3 * alone["run_seconds"] + alone["teacher_seconds"]
    assert together["disk"]["teacher_outputs"] == alone["disk"]["teacher_outputs"] == 4 * 10 * (1437 + 360)
    assert together["disk"]["students"] == 6 * alone["disk"]["students"]
    live = estimate(api, {**one, "teacher_outputs": "live"})
    assert live["step_seconds"] > alone["step_seconds"] and live["notes"] == ["the teacher is asked in every step"]


def test_the_slowest_of_the_live_workers_is_spoken_of(api: Api, train: dict[str, Any], worker: str) -> None:
    slow = add(api, MACHINE.model_copy(update={"flops": 1e9}))
    gone = add(api, MACHINE.model_copy(update={"flops": 1e6}))
    add(api, None)
    with api.running.database.write() as session:
        session.execute(update(Worker).where(Worker.id == gone).values(last_heartbeat_at=now(-3600)))
    machine = estimate(api, train)["machine"]
    assert (machine["worker"], machine["slots"]) == (slow, 4)


def test_without_a_measured_machine_sizes_are_told_and_the_reason(api: Api, train: dict[str, Any]) -> None:
    add(api, None)
    found = estimate(api, train)
    assert found["parameters"] == {"student": 2410} and found["steps"] == 230
    assert found["seconds"] is found["memory"] is found["disk"] is found["machine"] is None
    assert "no live worker has measured its machine yet" in found["reason"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data": {"train": {"hub": "org/rows"}, "validation": 0.1}}, "data: what it is shows when a worker has fetched it"),
        ({"student": {"hub": "org/net"}, "data": {"train": "docstrings"}, "task": "text-classification"}, "student: what it is shows"),
    ],
)  # fmt: skip
def test_what_is_still_to_be_fetched_is_named(api: Api, train: dict[str, Any], worker: str, changes: dict[str, Any], reason: str) -> None:
    found = estimate(api, {**train, **changes})
    assert found["seconds"] is None and found["reason"].startswith(reason)


def test_of_texts_the_upload_counts_the_characters(api: Api, worker: str) -> None:
    lines = "text,label\n" + "".join(f"{'word ' * 18},{'x' if i % 2 else 'y'}\n" for i in range(64))
    dataset = api.http.post("/v1/datasets", files={"file": ("rows.csv", lines)}).json()
    assert [column.get("characters") for column in dataset["columns"]] == [90.0, 1.0]
    spec = {
        "kind": "train",
        "task": "text-classification",
        "data": {"train": dataset["id"], "validation": 0.5},
        "student": {"arch": "bert", "hidden": 64},
    }
    found = estimate(api, spec)
    assert found["tokens_per_row"] == 22 and found["vocabulary"] == {"student": 8192}
    assert found["notes"] == ["a new tokenizer knows fewer tokens where the texts give no more; the student is then smaller"]
    shorter = estimate(api, {**spec, "data": {**spec["data"], "max_length": 8}})
    assert shorter["tokens_per_row"] == 8 and shorter["step_seconds"] < found["step_seconds"]
    student = api.submit(spec)
    follows = estimate(api, {**spec, "kind": "distill", "teacher": {"job": student["id"]}, "student": {"arch": "lstm"}})
    assert follows["vocabulary"] == {"student": 8192, "teacher": 8192} and follows["notes"] == []


def test_a_teacher_no_better_than_the_commonest_class_is_warned_of(api: Api, train: dict[str, Any], distill: dict[str, Any]) -> None:
    from models.job import Job

    teacher = api.submit(train)
    api.hand.done(teacher["id"])
    for accuracy, warned in ((0.1, True), (0.9, False)):
        report = {"majority": 0.1, "arms": {"model": {"metrics": {"accuracy": {"mean": accuracy}}}}}
        with api.running.database.write() as session:
            session.execute(update(Job).where(Job.id == teacher["id"]).values(report=report))
        warnings = api.post("/v1/jobs/validate", {**distill, "teacher": {"job": teacher["id"]}}).json()["warnings"]
        assert any(said.startswith("teacher: it is right about 10.0 %") for said in warnings) is warned


def test_a_job_that_no_live_worker_may_take_is_warned_of_and_waits(api: Api, train: dict[str, Any], worker: str) -> None:
    wanted = {**train, "resources": {"kind": "gpu", "memory_gb": 40, "labels": ["eu", "a100"]}}
    told = "resources: no live worker has a GPU, 40.0 GB of memory, labels a100 and eu; the job waits until one comes."
    assert told in api.post("/v1/jobs/validate", wanted).json()["warnings"]
    job = api.submit(wanted)
    assert (job["status"], told in job["warnings"]) == ("queued", True)
    kept = wanted["resources"] | {"labels": ["a100", "eu"], "devices": 1, "sharded": False, "teacher_sharded": False}
    assert job["resolved_spec"]["resources"] == kept
    with api.running.database.write() as session:
        session.execute(
            update(Worker).where(Worker.id == worker).values(devices=["cuda:0"], memory_bytes=80 * 10**9, labels=["a100", "eu"])
        )
    assert not api.post("/v1/jobs/validate", wanted).json()["warnings"]
    (shown,) = [one for one in api.get("/v1/workers").json()["data"] if one["id"] == worker]
    assert (shown["memory_bytes"], shown["labels"]) == (80 * 10**9, ["a100", "eu"])


@pytest.mark.parametrize(
    ("resources", "field"),
    [
        ({"kind": "tpu"}, "resources.kind"),
        ({"memory_gb": 0}, "resources.memory_gb"),
        ({"labels": ["Big One"]}, "resources.labels.0"),
        ({"labels": ["a", "a"]}, "resources.labels"),
        ({"labels": [f"l{i}" for i in range(9)]}, "resources.labels"),
        ({"gpus": 2}, "resources.gpus"),
    ],
)
def test_resources_that_cannot_be_are_refused_by_name(api: Api, train: dict[str, Any], resources: dict[str, Any], field: str) -> None:
    answer = api.post("/v1/jobs", {**train, "resources": resources})
    assert (answer.status_code, answer.json()["param"]) == (422, field)
