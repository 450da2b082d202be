"""What is pulled is whole and right, or it is not there."""

import hashlib
from pathlib import Path

import pytest
from fake_service import Service, ended, job

from contract.errors import Conflict, NotFound, Refused
from potstill.client import Client
from potstill.errors import ChecksumMismatch, ConnectionFailed
from potstill.job import Job

WEIGHTS = bytes(range(256)) * 2000


@pytest.fixture
def finished(service: Service, client: Client) -> Job:
    id_ = service.add(ended("succeeded", name="digits mlp/é"))
    service.add_file(id_, "student/model.safetensors", WEIGHTS)
    service.add_file(id_, "student/tokenizer/vocab.txt", b"")
    service.add_file(id_, "report.json", b"{}", kind="report")
    service.add_file(id_, "checkpoints/10/state.bin", b"xx", kind="checkpoint")
    return client.jobs.get(id_)


def ranges(service: Service) -> list[str | None]:
    return [headers.get("range") for _, path, _, headers, _ in service.requests if path == "/v1/artifacts/art_" + "0" * 32]


def test_student_and_report_and_nothing_else(finished: Job, tmp_path: Path) -> None:
    folder = finished.pull(tmp_path / "out")
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) == [
        "model.safetensors",
        "report.json",
        "tokenizer/vocab.txt",
    ]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_files_of_one_kind_also_of_a_job_that_failed(service: Service, client: Client, tmp_path: Path) -> None:
    id_ = service.add(ended("failed"))
    service.add_file(id_, "tensorboard/events.out.1", b"points", kind="tensorboard")
    service.add_file(id_, "logs/attempt-1.log", b"words", kind="log")
    folder = client.jobs.get(id_).pull(tmp_path / "out", kind="tensorboard")
    assert [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()] == ["tensorboard/events.out.1"]


def test_a_kind_of_which_there_is_nothing_is_told_with_those_there_are(finished: Job, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no files of the kind tensorbord") as caught:
        finished.pull(tmp_path / "out", kind="tensorbord")
    assert "student" in (caught.value.hint or "") and not (tmp_path / "out").exists()


def test_folder_of_its_own_when_none_is_named(finished: Job) -> None:
    assert finished.pull() == Path("digits-mlp-00000001")


def test_broken_download_goes_on_where_it_stopped(service: Service, finished: Job, tmp_path: Path) -> None:
    service.cuts["art_" + "0" * 32].extend([100_000, 0, 200_000])
    folder = finished.pull(tmp_path)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    starts = [int(r.removeprefix("bytes=").removesuffix("-")) if r else 0 for r in ranges(service)]
    assert len(starts) == 4
    assert starts == sorted(starts)
    assert 0 < starts[1] <= 100_000


def test_interrupted_pull_is_resumed_by_the_next(service: Service, finished: Job, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.part").write_bytes(WEIGHTS[:300_000])
    finished.pull(tmp_path)
    assert ranges(service) == ["bytes=300000-"]
    assert (tmp_path / "model.safetensors").read_bytes() == WEIGHTS
    assert not list(tmp_path.glob("*.part"))


def test_corrupted_part_is_thrown_away_and_fetched_again(service: Service, finished: Job, tmp_path: Path) -> None:
    for corrupted in (b"x" * 1000, b"x" * len(WEIGHTS), b"x" * (len(WEIGHTS) + 5)):
        (tmp_path / "model.safetensors").unlink(missing_ok=True)
        (tmp_path / "model.safetensors.part").write_bytes(corrupted)
        finished.pull(tmp_path)
        assert (tmp_path / "model.safetensors").read_bytes() == WEIGHTS


def test_whole_files_are_not_fetched_again_and_changed_ones_are(service: Service, finished: Job, tmp_path: Path) -> None:
    finished.pull(tmp_path)
    finished.pull(tmp_path)
    assert ranges(service) == [None]
    (tmp_path / "model.safetensors").write_bytes(b"y" * len(WEIGHTS))
    finished.pull(tmp_path)
    assert hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).digest() == hashlib.sha256(WEIGHTS).digest()


@pytest.mark.parametrize("served", [b"wrong", WEIGHTS[:-1] + b"!", WEIGHTS + b"more"])
def test_bytes_that_are_not_the_announced_ones_are_never_kept(service: Service, finished: Job, tmp_path: Path, served: bytes) -> None:
    service.blobs["art_" + "0" * 32] = served
    with pytest.raises(ChecksumMismatch):
        finished.pull(tmp_path)
    assert list(tmp_path.glob("model*")) == []
    assert 2 <= len(ranges(service)) <= 3


def test_connection_that_brings_nothing_is_given_up(service: Service, finished: Job, tmp_path: Path) -> None:
    service.cuts["art_" + "0" * 32].extend([1000] + [0] * 99)
    with pytest.raises(ConnectionFailed) as error:
        finished.pull(tmp_path)
    assert "goes on where it stopped" in str(error.value.hint)
    assert (tmp_path / "model.safetensors.part").exists()


@pytest.mark.parametrize(
    "path",
    ["student/../../evil", "/etc/evil", "student//evil", "student/..", "student/a\\..\\b", "student/a\x1b[2J", "student/", "student/./x"],
)
def test_paths_that_leave_the_folder_are_refused_before_anything_is_written(
    service: Service, finished: Job, tmp_path: Path, path: str
) -> None:
    service.add_file(finished.id, path, b"evil")
    with pytest.raises(Refused) as error:
        finished.pull(tmp_path / "out")
    assert error.value.code == "unsafe_path"
    assert not (tmp_path / "out").exists()


def test_symbolic_links_do_not_lead_outside(finished: Job, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tokenizer").symlink_to(tmp_path / "outside")
    with pytest.raises(Refused):
        finished.pull(tmp_path / "out")
    assert list((tmp_path / "outside").iterdir()) == []


def test_unfinished_job_has_no_student_yet(service: Service, client: Client) -> None:
    with pytest.raises(Conflict) as error:
        client.jobs.get(service.add(job(2, status="running"))).pull()
    assert error.value.code == "student_not_ready"
