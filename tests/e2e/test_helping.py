"""A free slot helps a run with its teacher's pass, leaves it at once for a job of its own, and what it does counts for the run."""

from pathlib import Path
from typing import Any

import psutil
import pytest
from servers import Service, until

from potstill import Client
from potstill.job import Job

IMAGES: dict[str, Any] = {"task": "image-classification"}
FEW = {"max_train_samples": 300}


@pytest.fixture(scope="module")
def data(client: Client, test_data: Path) -> dict[str, Any]:
    dataset = client.datasets.upload(test_data / "mnist" / "mnist.npz").id
    return {"train": dataset, "test": dataset}


@pytest.fixture(scope="module")
def teacher(client: Client, data: dict[str, Any]) -> str:
    """So large that a pass over 60,000 images takes a core some twenty seconds, in some fifteen parts."""
    student = {"arch": "mlp", "hidden": [3000, 3000]}
    spec = {**IMAGES, "kind": "train", "data": {**data, **FEW}, "student": student, "training": {"epochs": 1}}
    return client.jobs.submit(spec).wait(timeout=200).id


def distil(client: Client, data: dict[str, Any], teacher: str, **more: Any) -> Job:
    spec = {**IMAGES, "kind": "distill", "data": data, "teacher": {"job": teacher}, "student": {"arch": "mlp", "hidden": [8]}, **more}
    return client.jobs.submit({**spec, "training": {"epochs": 1, "batch_size": 512}})


def helpers(service: Service) -> list[psutil.Process]:
    """Processes whose work lies in a folder of help."""
    return [each for each in service.worker().children(recursive=True) if helps(each)]


def helps(process: psutil.Process) -> bool:
    try:
        return "/help-" in str(Path(f"/proc/{process.pid}/fd/1").readlink())
    except OSError:
        return False


def parts(service: Service) -> int:
    return len(list((service.home / "cache" / "teacher-outputs").rglob("*.safetensors")))


def test_a_free_slot_helps_and_leaves_for_a_job_of_its_own(service: Service, client: Client, data: dict[str, Any], teacher: str) -> None:
    job = distil(client, data, teacher)
    until(lambda: helpers(service), 60, "the help")
    begun = parts(service)
    until(lambda: parts(service) > begun + 1, 60, "parts")
    (helper,) = helpers(service)
    digits = {"train": "digits", "test": "digits"}
    other = client.jobs.submit({**IMAGES, "kind": "train", "data": digits, "student": {"arch": "mlp", "hidden": [8]}}).wait(timeout=60)
    assert other.status == "succeeded" and not helper.is_running()
    job.wait(timeout=200)
    assert job.report is not None
    outputs = job.report["teacher_outputs"]
    assert (outputs["cache"], outputs["rows"], "share" in outputs) == ("built", 60_000, False), "what it was helped with is its own"
    assert not list((service.home / "work").glob("help-*"))
    said = service.process.said()
    assert "helping with a teacher's pass" in said and "helped" in said

    again = distil(client, data, teacher).wait(timeout=100)
    assert again.report is not None and again.report["teacher_outputs"]["cache"] == "hit"
    assert weights(client, again) == weights(client, job)


def weights(client: Client, job: Job) -> str:
    return next(a.sha256 for a in client.jobs.artifacts(job.id) if a.path == "student/model.safetensors")
