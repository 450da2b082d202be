"""What happens when processes die: nothing is left behind, and the job ends as if nothing had happened."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from servers import Service, trainers, until

LONG: dict[str, Any] = {
    "kind": "train",
    "task": "image-classification",
    "data": {"train": "digits", "test": "digits"},
    "student": {"arch": "mlp", "hidden": [32], "dropout": 0.1},
    "training": {"epochs": 60, "checkpoint_every_seconds": 0.2, "optimizer": {"lr": 1e-3}},
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One home for all: each test leaves it served again."""
    running = Service(tmp_path_factory.mktemp("killed") / "home")
    yield running
    with contextlib.suppress(psutil.NoSuchProcess):
        running.stop()


@pytest.fixture(scope="module")
def expected(service: Service) -> str:
    """The weights of a run that nothing disturbs."""
    with service.client() as client:
        undisturbed = client.jobs.submit(LONG).wait(timeout=120)
        return weights(client, undisturbed.id)


def weights(client: Any, job_id: str) -> str:
    return next(a.sha256 for a in client.jobs.artifacts(job_id) if a.path == "student/model.safetensors")


def test_kill_of_the_worker_leaves_nothing_and_the_job_ends_the_same(service: Service, expected: str) -> None:
    with service.client() as client:
        job = client.jobs.submit(LONG)
        until(lambda: len(list(client.jobs.checkpoints(job.id))) >= 1, what="a checkpoint")
        worker = service.worker()
        running = trainers(worker)
        assert running
        worker.kill()
        time.sleep(1)
        assert not [process for process in running if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]

        job.wait(timeout=120)
        assert job.view.attempt == 2
        assert weights(client, job.id) == expected
        assert not job.view.resumed_inexactly
        assert any("resumed from the checkpoint" in event.message for event in client.jobs.events(job.id))


def test_stopping_up_gives_jobs_back_and_starting_it_takes_them_up(service: Service, expected: str) -> None:
    with service.client() as client:
        job = client.jobs.submit(LONG)
        until(lambda: (client.jobs.get(job.id).view.progress.step or 0) > 50, what="some steps")
        started = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - started < 10
        service.start()
        ready = time.monotonic()
        until(lambda: client.jobs.get(job.id).status in ("running", "succeeded"), seconds=5)
        assert time.monotonic() - ready < 5
        job.wait(timeout=120)
        assert job.view.attempt == 2
        assert weights(client, job.id) == expected


def test_kill_of_up_takes_everything_with_it_and_jobs_come_back(service: Service, expected: str) -> None:
    with service.client() as client:
        job = client.jobs.submit(LONG)
        until(lambda: len(list(client.jobs.checkpoints(job.id))) >= 1, what="a checkpoint")
        family = service.process.ps.children(recursive=True)
        service.process.kill()
        until(lambda: not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE], seconds=15, what="an empty family")
        service.start()
        job.wait(timeout=120)
        assert weights(client, job.id) == expected


def test_a_trainer_that_dies_is_replaced_at_once(service: Service, expected: str) -> None:
    with service.client() as client:
        job = client.jobs.submit(LONG)
        until(lambda: len(list(client.jobs.checkpoints(job.id))) >= 1, what="a checkpoint")
        (trainer,) = trainers(service.worker())
        trainer.kill()
        until(lambda: client.jobs.get(job.id).view.attempt == 2, seconds=3, what="a second attempt")
        job.wait(timeout=120)
        assert weights(client, job.id) == expected
