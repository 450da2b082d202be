"""What runs leave behind: files, checkpoints and what falls out of retention."""

import pytest
import sqlalchemy as sa
from store_world import World, file

from models import claims, teardown
from models.claims import Claim, StoredFile
from models.results import Artifact, Checkpoint


def artifacts(world: World, job_id: str) -> dict[str, Artifact]:
    with world.database.read() as session:
        return {row.path: row for row in session.scalars(sa.select(Artifact).where(Artifact.job_id == job_id))}


def steps(world: World, job_id: str) -> list[int]:
    with world.database.read() as session:
        return list(session.scalars(sa.select(Checkpoint.step).where(Checkpoint.job_id == job_id).order_by(Checkpoint.step)))


def add(world: World, claim: Claim, *files: StoredFile) -> list[str]:
    with world.database.write() as session:
        return claims.add_files(session, claims.fenced(session, claim), files)


def unreferenced(world: World, candidates: list[str]) -> list[str]:
    with world.database.read() as session:
        return teardown.unreferenced(session, candidates)


def test_a_checkpoint_is_its_row_its_files_and_an_event(world):
    claim = world.run(kind="distill", resolved_spec={"training": {"seed": 7}})
    files = [file("checkpoints/5/model", "a" * 64, 100), file("checkpoints/5/state", "b" * 64, 23)]
    assert world.by(claims.add_checkpoint, claim, 5, {"validation/accuracy": 0.75}, files, []) == []
    with world.database.read() as session:
        row = session.get(Checkpoint, (claim.job_id, "student", 7, 5))
        assert (row.metrics, row.size_bytes, row.attempt) == ({"validation/accuracy": 0.75}, 123, 1)
    found = artifacts(world, claim.job_id)
    assert {path: (row.sha256, row.size_bytes, row.kind, row.attempt) for path, row in found.items()} == {
        "checkpoints/5/model": ("a" * 64, 100, "checkpoint", 1),
        "checkpoints/5/state": ("b" * 64, 23, "checkpoint", 1),
    }
    event = world.events(claim.job_id, "checkpoint")[-1]
    assert event.message == "checkpoint at step 5"
    assert event.data["step"] == 5
    assert event.data["size_bytes"] == 123
    assert event.data["artifacts"] == [found["checkpoints/5/model"].id, found["checkpoints/5/state"].id]


def test_a_path_written_again_replaces_the_file_and_keeps_its_id(world):
    """Links to an artifact outlive the attempt that wrote it first."""
    claim = world.run()
    (first,) = add(world, claim, file("report.json", "a" * 64, 10, "report"))
    world.crash(claim)
    claim = world.take()
    (again,) = add(world, claim, file("report.json", "b" * 64, 20, "report"))
    assert again == first
    row = artifacts(world, claim.job_id)["report.json"]
    assert (row.sha256, row.size_bytes, row.attempt) == ("b" * 64, 20, 2)


def test_a_step_that_is_reached_again_replaces_its_checkpoint(world):
    claim = world.run()
    world.checkpoint(claim, 5, [file("checkpoints/5/model", "a" * 64)])
    world.crash(claim)
    claim = world.take()
    loose = world.checkpoint(claim, 5, [file("checkpoints/5/model", "b" * 64)])
    assert loose == ["a" * 64], "the bytes it replaced would stay for ever"
    assert world.checkpoint(claim, 5, [file("checkpoints/5/model", "b" * 64)]) == []
    assert steps(world, claim.job_id) == [5]
    assert artifacts(world, claim.job_id)["checkpoints/5/model"].sha256 == "b" * 64
    with world.database.read() as session:
        assert session.get(Checkpoint, (claim.job_id, "model", 42, 5)).attempt == 2


def test_checkpoints_out_of_retention_are_forgotten_with_their_files(world):
    claim = world.run()
    for step in (1, 10, 2):
        world.checkpoint(claim, step, [file(f"checkpoints/{step}/model", f"{step:064d}")])
    loose = world.checkpoint(claim, 3, [file("checkpoints/3/model", f"{3:064d}")], dropped=[1, 2])
    assert sorted(loose) == [f"{1:064d}", f"{2:064d}"]
    assert steps(world, claim.job_id) == [3, 10]
    assert sorted(artifacts(world, claim.job_id)) == ["checkpoints/10/model", "checkpoints/3/model"]
    assert unreferenced(world, loose) == sorted(loose)


def test_a_blob_that_another_checkpoint_shares_is_reported_and_then_found_in_use(world):
    claim = world.run()
    world.checkpoint(claim, 1, [file("checkpoints/1/spec", "5" * 64), file("checkpoints/1/model", "1" * 64)])
    loose = world.checkpoint(claim, 2, [file("checkpoints/2/spec", "5" * 64), file("checkpoints/2/model", "2" * 64)], dropped=[1])
    assert sorted(loose) == ["1" * 64, "5" * 64]
    assert unreferenced(world, loose) == ["1" * 64]


def test_dropping_what_is_not_there_is_no_error(world):
    claim = world.run()
    assert world.checkpoint(claim, 3, dropped=[1, 2]) == []


def test_checkpoints_of_other_jobs_stay(world):
    first, second = world.run(), world.run()
    world.checkpoint(first, 1, [file("checkpoints/1/model", "1" * 64)])
    world.checkpoint(second, 1, [file("checkpoints/1/model", "2" * 64)])
    assert world.checkpoint(first, 2, dropped=[1]) == ["1" * 64]
    assert steps(world, second.job_id) == [1]


@pytest.mark.parametrize("path", ["checkpoints/1_/x", "checkpoints/1%/x", "checkpoints/11/x", "student/checkpoints/1/x"])
def test_only_the_folder_of_that_step_is_dropped(world, path):
    claim = world.run()
    add(world, claim, file(path, "9" * 64))
    world.checkpoint(claim, 1, [file("checkpoints/1/model", "1" * 64)])
    world.checkpoint(claim, 2, dropped=[1])
    assert list(artifacts(world, claim.job_id)) == [path]


def test_numbers_keep_their_size_and_precision(world):
    claim = world.run()
    big = 2**40 + 1
    world.by(claims.add_checkpoint, claim, big, {"loss": 0.1 + 0.2, "tiny": 5e-324}, [file("checkpoints/x", "1" * 64, big)], [])
    with world.database.read() as session:
        row = session.get(Checkpoint, (claim.job_id, "model", 42, big))
        assert (row.step, row.size_bytes, row.metrics) == (big, big, {"loss": 0.1 + 0.2, "tiny": 5e-324})
