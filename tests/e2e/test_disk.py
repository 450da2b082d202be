"""The disk: a job's checkpoints stay few, a deletion frees what it said, and collecting takes nothing that anybody needs."""

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import Process, Service, until

from potstill import Client

MANY: dict[str, Any] = {
    "kind": "train",
    "task": "image-classification",
    "data": {"train": "digits", "test": "digits", "validation": 0.2},
    "student": {"arch": "mlp", "hidden": [256, 256]},
    "training": {"epochs": 5, "checkpoint_every_seconds": 0, "keep": {"last": 2, "best": 1}},
}


@pytest.fixture(scope="module")
def service(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """On Postgres, as most of these tests of whole services are on SQLite; tests/models has both."""
    running = Service(tmp_path_factory.mktemp("disk") / "home", slots=2, POTSTILL_DATABASE_URL=postgres_server)
    yield running
    assert running.stop() == 0


def used(folder: Path) -> int:
    """Bytes on the disk, each inode once, as `du` counts them."""
    seen: dict[int, int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                stat = Path(place, name).lstat()
                seen[stat.st_ino] = stat.st_blocks * 512
    return sum(seen.values())


def gc(service: Service, *options: str) -> dict[str, Any]:
    process = Process(service.home, "gc", "--json", *options, POTSTILL_HOME=str(service.home), **service.environment)
    assert process.popen.wait(60) == 0, process.said()
    found: dict[str, Any] = json.loads(process.said())
    return found


def everything(service: Service) -> int:
    return sum(used(path) for path in service.home.iterdir() if path.is_dir() and path.name != "doorbell")


def freed_by_deleting(service: Service, client: Client, job_id: str) -> int:
    """Deletes the job; its bytes went from the disk, as many as were forecast, and nothing else did."""
    until(lambda: not any((service.home / "work").rglob("*.safetensors")), what="the end of the attempt")
    files = {path: path.stat() for path in (service.home / "artifacts").rglob("*") if path.is_file()}
    assert {stat.st_nlink for stat in files.values()} == {1}, "a second name would keep the bytes alive"
    full = everything(service)
    forecast = client.jobs.delete(job_id, dry_run=True)
    assert forecast is not None
    assert [path for path in files if not path.exists()] == []
    client.jobs.delete(job_id)
    gone = [stat for path, stat in files.items() if not path.exists()]
    assert (sum(stat.st_size for stat in gone), len(gone)) == (forecast.freed_bytes, forecast.files)
    freed = full - everything(service)
    assert freed == sum(stat.st_blocks * 512 for stat in gone) >= forecast.freed_bytes > 0
    return freed


def test_a_job_of_many_checkpoints_holds_few_and_its_deletion_frees_what_it_said(service: Service) -> None:
    before = everything(service)
    most = dict.fromkeys(("artifacts", "work"), 0)
    with service.client() as client:
        job = client.jobs.submit({**MANY, "training": {**MANY["training"], "epochs": 5000, "checkpoint_every_seconds": 1}})
        told: list[int] = []
        while len(told) < 15:
            for name in most:
                most[name] = max(most[name], used(service.home / name))
            told = [event.data["size_bytes"] for event in client.jobs.events(job.id) if event.type == "checkpoint"]
            assert len(list(client.jobs.checkpoints(job.id))) <= 3
        client.jobs.cancel(job.id)
        until(lambda: job.refresh().status.final, what="the end")
        assert len(list(client.jobs.checkpoints(job.id))) in (2, 3)
        # Three that are kept, one that comes and one that goes; in the work folder one that is written and one that is stored.
        assert 2 * max(told) < most["artifacts"] < 5.5 * max(told), (most, max(told))
        assert most["work"] < 3.5 * max(told), (most, max(told))
        freed = freed_by_deleting(service, client, job.id)
        assert everything(service) == before
        print(f"{len(told)} checkpoints of {max(told):,} bytes; most on disk: {most}; freed {freed:,}")
    assert gc(service, "--grace", "0", "--all", "--dry-run")["size_bytes"] == 0


def test_the_deletion_of_a_job_that_succeeded_spares_what_others_hold(service: Service) -> None:
    """The same job twice makes the same bytes: only with the second they go."""
    before = everything(service)
    with service.client() as client:
        jobs = [client.jobs.submit({**MANY, "training": {**MANY["training"], "epochs": 1}}) for _ in range(2)]
        for job in jobs:
            assert job.wait(timeout=90).status == "succeeded"
        shared = {a.sha256 for a in client.jobs.artifacts(jobs[0].id)} & {a.sha256 for a in client.jobs.artifacts(jobs[1].id)}
        assert shared
        first, second = (freed_by_deleting(service, client, job.id) for job in jobs)
        assert first < second
        assert everything(service) == before
        print(f"freed {first:,}, then {second:,}")


def rows(folder: Path, number: int) -> Path:
    """A table of which there are only two: everybody uploads the same bytes."""
    path = folder / f"table-{number}.csv"
    path.write_text("a,b,label\n" + "".join(f"{i % 7},{i % (number + 3)},{'yes' if i % 2 else 'no'}\n" for i in range(300)))
    return path


def table_job(dataset: str) -> dict[str, Any]:
    return {
        "kind": "train",
        "task": "tabular-classification",
        "data": {"train": {"dataset": dataset, "columns": {"label": "label"}}, "validation": 0.2},
        "student": {"arch": "logistic"},
        "training": {"epochs": 2, "checkpoint_every_seconds": 0},
    }


def once_round(client: Client, folder: Path, number: int) -> None:
    """Upload, train, download, delete; every third job is left there for the others' deletions to spare."""
    dataset = client.datasets.upload(rows(folder, number % 2))
    job = client.jobs.submit(table_job(dataset.id))
    job.wait(timeout=90)
    assert job.status == "succeeded", job.error
    job.pull(folder / f"student-{number}")
    if number % 3:
        client.jobs.delete(job.id)


def test_what_is_needed_stays_while_everybody_collects_without_grace(service: Service, tmp_path: Path) -> None:
    """Three people with the same data upload, train, download and delete; two collectors run beside them all the time."""
    end = time.monotonic() + 12
    wrong: list[str] = []
    rounds: list[int] = []
    collected: list[int] = []

    def person(index: int) -> None:
        folder = tmp_path / str(index)
        folder.mkdir()
        number = index
        with service.client() as client:
            while time.monotonic() < end and not wrong:
                try:
                    once_round(client, folder, number)
                except Exception as error:  # noqa: BLE001 - it is the result
                    wrong.append(f"{type(error).__name__}: {error}")
                rounds.append(number)
                number += 3 + 1

    def collector() -> None:
        while time.monotonic() < end:
            collected.append(gc(service, "--grace", "0", "--all")["count"])

    threads = [threading.Thread(target=person, args=(i,)) for i in range(3)] + [threading.Thread(target=collector) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{len(rounds)} rounds, {len(collected)} collections of {sum(collected)} things")
    assert wrong == []
    assert len(rounds) >= 3
    assert len(collected) >= 2
    with service.client() as client:
        for job in client.jobs.list():
            for artifact in client.jobs.artifacts(job.id):
                assert (service.home / "artifacts" / artifact.sha256[:2] / artifact.sha256).stat().st_size == artifact.size_bytes
        for job in list(client.jobs.list()):
            client.jobs.delete(job.id)
        for dataset in list(client.datasets.list()):
            client.datasets.delete(dataset.id)
    assert gc(service, "--grace", "0", "--all")["size_bytes"] == 0
    assert [path for path in (service.home / "artifacts").rglob("*") if path.is_file()] == []


def test_a_damaged_dataset_is_repaired_by_uploading_it_again(service: Service, tmp_path: Path) -> None:
    with service.client() as client:
        dataset = client.datasets.upload(rows(tmp_path, 0))
        path = service.home / "artifacts" / dataset.sha256[:2] / dataset.sha256
        path.write_bytes(path.read_bytes().replace(b"yes", b"no ", 1))
        failed = client.jobs.submit(table_job(dataset.id))
        until(lambda: failed.refresh().status.final, what="the end")
        assert failed.error is not None
        assert f"the file of {dataset.id} in the artifact store is damaged" in failed.error.message
        assert "Upload it again" in (failed.error.hint or "")
        assert client.datasets.upload(rows(tmp_path, 0)).id == dataset.id
        assert client.jobs.submit(table_job(dataset.id)).wait(timeout=60).status == "succeeded"


def test_a_missing_checkpoint_is_said_and_the_one_before_taken(service: Service) -> None:
    with service.client() as client:
        job = client.jobs.submit({**MANY, "training": {**MANY["training"], "epochs": 500, "checkpoint_every_seconds": 0.3}})
        until(lambda: len(list(client.jobs.checkpoints(job.id))) >= 2, what="checkpoints")
        client.jobs.pause(job.id)
        until(lambda: job.refresh().status == "paused", what="the pause")
        newest, before = sorted((c.step for c in client.jobs.checkpoints(job.id)), reverse=True)[:2]
        (gone,) = [a.sha256 for a in client.jobs.artifacts(job.id) if a.path == f"checkpoints/{newest}/model.safetensors"]
        os.unlink(service.home / "artifacts" / gone[:2] / gone)
        client.jobs.resume(job.id)
        until(lambda: any("resumed" in event.message for event in client.jobs.events(job.id) if event.type == "log"), what="the resume")
        client.jobs.cancel(job.id)
        told = [event.message for event in client.jobs.events(job.id) if event.type == "warning"]
        assert f"checkpoint not used: model.safetensors of step {newest:,} is missing from the artifact store" in told
        assert any(f"resumed from the checkpoint at step {before:,}" in event.message for event in client.jobs.events(job.id))
        until(lambda: job.refresh().status == "cancelled", what="the cancellation")


def test_collecting_where_there_is_no_service_makes_none(tmp_path: Path) -> None:
    home = tmp_path / "home"
    process = Process(tmp_path, "gc", POTSTILL_HOME=str(home))
    assert process.popen.wait(60) == 1
    assert f"There is no service in {home}" in process.said()
    assert not home.exists()


def test_collecting_needs_the_tables_it_knows(tmp_path: Path) -> None:
    (tmp_path / "potstill.db").touch()
    process = Process(tmp_path, "gc", POTSTILL_HOME=str(tmp_path))
    assert process.popen.wait(60) == 1
    assert "potstill migrate" in process.said()
