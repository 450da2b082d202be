"""A job on two of a worker's slots: it waits for both, is trained by two processes, and survives the death of one of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from servers import Service, until

TWO: dict[str, Any] = {
    "kind": "train",
    "task": "image-classification",
    "data": {"train": "digits", "test": "digits"},
    "student": {"arch": "mlp", "hidden": [16], "dropout": 0.2},
    "training": {"epochs": 20, "batch_size": 32, "checkpoint_every_seconds": 1},
    "resources": {"devices": 2},
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    running = Service(tmp_path / "home", slots=2)
    yield running
    assert running.stop() == 0


def ranks(service: Service) -> list[psutil.Process]:
    """The processes of trainers, which the fork server started."""
    return [rank for server in service.worker().children() for trainer in server.children() for rank in trainer.children()]


def test_two_slots_train_one_job_and_one_of_them_may_die(service: Service) -> None:
    with service.client() as client:
        small = client.jobs.submit({**TWO, "resources": {}, "training": {**TWO["training"], "epochs": 60}})
        until(lambda: small.refresh().status == "running", 60, "the small job")
        job = client.jobs.submit({**TWO, "priority": 1})
        later = client.jobs.submit({**TWO, "resources": {}, "training": {"epochs": 1}})
        undisturbed = client.jobs.submit(TWO)
        until(lambda: (job.refresh().progress.step or 0) > 60, 120, "some steps on both slots")
        assert small.refresh().view.finished_at <= job.view.started_at <= (later.refresh().view.started_at or job.view.started_at)
        found = ranks(service)
        assert len(found) == 2
        found[1].kill()
        job.wait(180)
        assert job.view.attempt == 2
        assert any("rank" in event.message and "killed by signal 9" in event.message for event in job.events(types=["status"]))
        undisturbed.wait(180)
        weights = [
            next(file.sha256 for file in each.artifacts() if file.path == "student/model.safetensors") for each in (job, undisturbed)
        ]
        assert weights[0] == weights[1]
        assert {event.data["inexact"] for event in job.events(types=["log"]) if "inexact" in event.data} <= {None}
