"""Everything a job reads and leaves in an object store: two hosts that share no disk, keys that run out, a bucket emptied under it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from servers import ObjectStore, Process, Service, trainers, until

from potstill import Client
from potstill.errors import JobFailed, PotstillError

SLOW: dict[str, Any] = {
    "kind": "train",
    "task": "image-classification",
    "data": {"train": "digits", "test": "digits", "validation": 0.2},
    "student": {"arch": "mlp", "hidden": [64]},
    "training": {"epochs": 20_000, "checkpoint_every_seconds": 0.5},
}


@pytest.fixture
def service(object_store_server: ObjectStore, tmp_path: Path) -> Iterator[Service]:
    environment = {"POTSTILL_ARTIFACTS_URL": "s3://potstill/artifacts", "POTSTILL_DOWNLOAD_LINK_SECONDS": "60"}
    running = Service(tmp_path / "home", **environment, **object_store_server.environment)
    yield running
    assert running.stop() == 0


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with service.client() as found:
        yield found


def said(client: Client, job_id: str) -> list[str]:
    return [event.message for event in client.jobs.get(job_id).events()]


def test_from_upload_to_download_and_nothing_on_a_shared_disk(
    service: Service, client: Client, object_store_server: ObjectStore, tmp_path: Path
) -> None:
    """A teacher of uploaded rows, its student by a worker with a home of its own, and bytes that the store itself hands out."""
    draw = np.random.default_rng(0)
    x = draw.integers(0, 16, (300, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "rows.npz", x_train=x[:200], y_train=x[:200, 0, 0] // 8, x_test=x[200:], y_test=x[200:, 0, 0] // 8)
    dataset = client.datasets.upload(tmp_path / "rows.npz")
    data = {"train": dataset.id, "test": dataset.id}
    teacher = client.jobs.submit({**SLOW, "data": data, "training": {"epochs": 3}}).wait()
    assert teacher.status == "succeeded"
    service.worker().suspend()  # the one beside the API takes nothing more
    try:
        worker = elsewhere(service, tmp_path)
        spec = {**SLOW, "kind": "distill", "data": data, "teacher": {"job": teacher.id}, "recipe": "hinton", "training": {"epochs": 3}}
        job = client.jobs.submit(spec)
        until(lambda: job.refresh().status == "succeeded", 60, "the student")
        worker.stop()
    finally:
        service.worker().resume()
    assert not (service.home / "artifacts").exists()
    (file,) = [found for found in job.artifacts() if found.path == "student/model.safetensors"]
    asked = httpx2.get(f"{service.url}/v1/artifacts/{file.id}", headers={"Authorization": f"Bearer {service.key}"})
    address = httpx2.URL(asked.headers["Location"])
    assert (asked.status_code, asked.content, address.port) == (307, b"", object_store_server.port)
    assert httpx2.get(address).headers["content-disposition"].startswith('attachment; filename="model.safetensors"')
    folder = job.pull(tmp_path / "student")
    assert (folder / "model.safetensors").is_file() and (folder / "README.md").is_file()
    assert not (service.home / "cache/teacher-outputs").exists(), "the teacher was asked on the other host"
    again = client.jobs.submit({**spec, "training": {"epochs": 4}}).wait()
    assert any("cache: hit" in message for message in said(client, again.id)), "and here need not be"
    assert list((service.home / "cache/artifacts").rglob(dataset.sha256))
    client.jobs.delete(job.id)


def test_a_host_helps_another_with_its_teachers_pass(service: Service, client: Client, tmp_path: Path, test_data: Path) -> None:
    """Parts that one host has made are found by the other in the bucket; the student is the one that a host makes alone."""
    dataset = client.datasets.upload(test_data / "mnist" / "mnist.npz").id
    data = {"train": dataset, "test": dataset}
    few = {**data, "max_train_samples": 300}
    images = {"task": "image-classification", "training": {"epochs": 1, "batch_size": 512}}
    large = {"arch": "mlp", "hidden": [3000, 3000]}  # a pass over 60,000 images takes a core some twenty seconds, in fourteen parts
    teacher = client.jobs.submit({**images, "kind": "train", "data": few, "student": large}).wait(timeout=200)
    spec = {**images, "kind": "distill", "data": data, "teacher": {"job": teacher.id}, "student": {"arch": "mlp", "hidden": [8]}}
    worker = elsewhere(service, tmp_path)
    try:
        until(lambda: len([each for each in client.workers.list() if each.alive]) == 2, 60, "the other host")
        job = client.jobs.submit(spec).wait(timeout=200)
        said = service.process.said() + worker.said()
        assert "helping with a teacher's pass" in said and "helped" in said
        assert all(list((home / "cache/teacher-outputs").rglob("*.safetensors")) for home in (service.home, tmp_path / "other"))
    finally:
        worker.stop()
    again = client.jobs.submit({**spec, "teacher_outputs": "live"}).wait(timeout=200)
    assert again.report is not None and job.report is not None
    assert (job.report["teacher_outputs"]["cache"], again.report["teacher_outputs"]["mode"]) == ("built", "live")
    students = [next(a for a in each.artifacts() if a.path == "student/model.safetensors") for each in (job, again)]
    assert students[0].sha256 == students[1].sha256


def elsewhere(service: Service, folder: Path) -> Process:
    """A worker with a home and a host of its own."""
    named = {"POTSTILL_HOST_ID": "elsewhere", "POTSTILL_HOME": str(folder / "other")}
    database = f"sqlite:///{service.home}/potstill.db"
    return Process(folder, "worker", **{**service.environment, **named, "POTSTILL_DATABASE_URL": database})


def test_keys_that_run_out_pause_a_job_which_then_goes_on(
    service: Service, client: Client, object_store_server: ObjectStore, tmp_path: Path
) -> None:
    job = client.jobs.submit(SLOW)
    until(lambda: list(job.checkpoints()), 60, "a checkpoint")
    object_store_server.refuse()
    until(lambda: job.refresh().status == "paused", 60, "the pause")
    reason = said(client, job.id)[-1]
    assert "The artifact store refuses: it will not have these keys" in reason and "POTSTILL_ARTIFACTS_URL" in reason
    until(lambda: not trainers(service.worker()), what="the end of its trainer")
    (tmp_path / "rows.csv").write_text("a,b,label\n1,2,x\n2,1,y\n")
    with pytest.raises(PotstillError, match="The artifact store refuses") as told:
        client.datasets.upload(tmp_path / "rows.csv")
    assert (told.value.status, told.value.code) == (503, "store_refused")
    other = client.jobs.submit({**SLOW, "training": {"epochs": 1}})
    until(lambda: "taking no jobs" in service.process.said(), 30, "the worker's word")
    time.sleep(2)
    assert other.refresh().status == "queued", "a worker whom the store refuses would fail them all one by one"
    object_store_server.refuse(False)
    before = job.refresh().progress.step or 0
    job.resume()
    until(lambda: any("resumed" in message for message in said(client, job.id)[-20:]), 60, "going on")
    until(lambda: (job.refresh().progress.step or 0) > before, 60, "a step further")
    job.cancel()
    assert other.wait().status == "succeeded"


def test_a_bucket_emptied_under_a_job_is_said_by_name(service: Service, client: Client, object_store_server: ObjectStore) -> None:
    job = client.jobs.submit({**SLOW, "training": {"epochs": 2}}).wait()
    object_store_server.ask("POST", "/moto-api/reset")
    with pytest.raises(PotstillError, match="its bucket does not exist"):
        job.pull(service.home / "never")
    object_store_server.ask("PUT", "/potstill")
    with pytest.raises(PotstillError, match="not in the artifact store"):
        job.pull(service.home / "never")
    assert not list((service.home / "never").rglob("*.safetensors"))
    student = client.jobs.submit({**SLOW, "kind": "distill", "teacher": {"job": job.id}, "recipe": "hinton", "training": {"epochs": 1}})
    with pytest.raises(JobFailed, match="missing from the artifact store"):
        student.wait()
