"""Files that are not what they were, and a disk without room: the job says so, loses nothing and ends as if undisturbed."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import CLI, Service, small_disk, until

from potstill import Client
from potstill.errors import JobFailed
from potstill.job import Job

LONG: dict[str, Any] = {
    "kind": "train",
    "task": "image-classification",
    "data": {"train": "digits", "test": "digits"},
    "student": {"arch": "mlp", "hidden": [256, 256], "dropout": 0.1},
    "training": {"epochs": 60, "checkpoint_every_seconds": 0.2, "optimizer": {"lr": 1e-3}, "keep": {"last": 2, "best": 0}},
}


def weights(client: Client, job_id: str) -> str:
    return next(a.sha256 for a in client.jobs.artifacts(job_id) if a.path == "student/model.safetensors")


def undisturbed(client: Client) -> str:
    return weights(client, client.jobs.submit(LONG).wait(timeout=120).id)


def paused(client: Client, checkpoints: int = 2) -> Job:
    """A job stopped in the middle, with so many checkpoints."""
    job = client.jobs.submit(LONG)
    until(lambda: len(list(client.jobs.checkpoints(job.id))) >= checkpoints, what="checkpoints")
    client.jobs.pause(job.id)
    until(lambda: client.jobs.get(job.id).status == "paused", what="the pause")
    return job


def damage(home: Path, sha256: str) -> None:
    """A bit flips on the disk. Through a new file: what is linked elsewhere stays as it is."""
    path = home / "artifacts" / sha256[:2] / sha256
    bytes_ = bytearray(path.read_bytes())
    bytes_[len(bytes_) // 2] ^= 1
    path.unlink()
    path.write_bytes(bytes_)


def damage_checkpoint(client: Client, home: Path, job: Job, step: int) -> None:
    found = [a for a in client.jobs.artifacts(job.id) if a.path == f"checkpoints/{step}/model.safetensors"]
    assert len(found) == 1
    damage(home, found[0].sha256)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("damaged") / "home")
    yield running
    running.stop()


def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_none_to_the_start(service: Service) -> None:
    with service.client() as client:
        expected = undisturbed(client)
        job = paused(client)
        steps = sorted((c.step for c in client.jobs.checkpoints(job.id)), reverse=True)
        damage_checkpoint(client, service.home, job, steps[0])
        client.jobs.resume(job.id)
        job.wait(timeout=120)
        said = [event.message for event in client.jobs.events(job.id)]
        assert any(event.type == "warning" and str(steps[0]) in event.message for event in client.jobs.events(job.id)), said
        assert any(f"resumed from the checkpoint at step {steps[1]:,}" in message for message in said), said
        assert weights(client, job.id) == expected

        job = paused(client)
        for checkpoint in client.jobs.checkpoints(job.id):
            damage_checkpoint(client, service.home, job, checkpoint.step)
        client.jobs.resume(job.id)
        job.wait(timeout=120)
        assert sum(event.type == "warning" for event in client.jobs.events(job.id)) >= 2
        assert not any("resumed from" in event.message for event in client.jobs.events(job.id))
        assert weights(client, job.id) == expected


def test_a_damaged_dataset_is_not_trained_on(service: Service, tmp_path: Path) -> None:
    rows = "".join(f"{i % 7},{i % 3},{'yes' if i % 2 else 'no'}\n" for i in range(200))
    table = tmp_path / "table.csv"
    table.write_text("a,b,label\n" + rows)
    with service.client() as client:
        dataset = client.datasets.upload(table)
        damage(service.home, dataset.sha256)
        spec = {
            "kind": "train",
            "task": "tabular-classification",
            "data": {"train": {"dataset": dataset.id, "columns": {"label": "label"}}, "validation": 0.2},
            "student": {"arch": "logistic"},
            "training": {"epochs": 1},
        }
        with pytest.raises(JobFailed, match="damaged"):
            client.jobs.submit(spec).wait(timeout=60)


def test_a_full_disk_pauses_the_job_and_room_lets_it_go_on(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "work").mkdir(parents=True)
    service = Service(home, program=[*small_disk(home / "work", "size=12m"), *CLI])
    try:
        with service.client() as client:
            expected = undisturbed(client)
            job = client.jobs.submit(LONG)
            until(lambda: list(client.jobs.checkpoints(job.id)), what="a checkpoint")
            seen_by_it = Path("/proc", str(service.worker().pid), "root")  # Linux's door to the files as another process sees them
            filler = seen_by_it / home.relative_to("/") / "work" / "filler"
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            until(lambda: client.jobs.get(job.id).status == "paused", seconds=60, what="the pause")
            reason = client.jobs.get(job.id).view.status_reason or ""
            assert "space" in reason, reason
            kept = [c.step for c in client.jobs.checkpoints(job.id)]
            assert kept
            filler.unlink()
            client.jobs.resume(job.id)
            job.wait(timeout=120)
            assert job.view.attempt == 2
            assert weights(client, job.id) == expected
            assert any(f"resumed from the checkpoint at step {max(kept):,}" in e.message for e in client.jobs.events(job.id))
    finally:
        assert service.stop() == 0
