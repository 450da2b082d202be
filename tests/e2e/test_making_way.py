"""A job of higher priority takes the place of a lower one, which leaves at a checkpoint and goes on to the same bytes."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import Service, until

LONG: dict[str, Any] = {
    "kind": "train",
    "task": "image-classification",
    "data": {"train": "digits", "test": "digits"},
    "student": {"arch": "mlp", "hidden": [64]},
    "training": {"epochs": 600},
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    running = Service(tmp_path / "home", POTSTILL_PREEMPT="true")
    yield running
    assert running.stop() == 0


def test_the_better_job_runs_at_once_and_the_other_ends_as_if_nothing_had_been(service: Service) -> None:
    with service.client() as client:
        alone = client.jobs.submit(LONG).wait(120)
        low = client.jobs.submit(LONG)
        until(lambda: (low.refresh().progress.step or 0) > 100, 60, "some steps of the lower job")
        equal = client.jobs.submit({**LONG, "training": {"epochs": 1}})
        sent = time.monotonic()
        high = client.jobs.submit({**LONG, "training": {"epochs": 1}, "priority": 7})
        until(lambda: high.refresh().view.started_at is not None, 30, "the start of the higher job")
        assert time.monotonic() - sent < 10
        assert high.wait(60).status == "succeeded"
        low.wait(180)
        told = [event.message for event in low.events(types=["status"])]
        assert any(f"made way for {high.id}, whose priority is higher" in message for message in told)
        assert low.view.attempt == 2
        began = [job.wait(60).view.started_at for job in (high, equal)]
        assert began[0] < began[1], "an equal waits for its turn"
        weights = [next(file.sha256 for file in job.artifacts() if file.path == "student/model.safetensors") for job in (alone, low)]
        assert weights[0] == weights[1]
