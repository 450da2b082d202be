"""Deleting: rows first and all of them, then the bytes that nothing refers to any more."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from store_world import S, World, file

from models import lifecycle, points, teardown
from models.blobs import Blobs
from models.dataset import Dataset
from models.ids import new_id
from models.results import MetricPoint, Model
from models.tables import Base

A, B, C, D = ("abcd"[i] * 64 for i in range(4))


def model(world: World, job_id: str | None, **files: str) -> Model:
    held = {name: {"sha256": sha256, "size_bytes": 5} for name, sha256 in files.items()}
    fields = {"name": "x", "task": "t", "config": {}, "parameters": 1, "size_bytes": 5 * len(held), "meta": {}}
    return Model(id=new_id("mdl"), project_id=world.project_id, job_id=job_id, files=held, **fields)


def add(world: World, *rows: Base) -> None:
    with world.database.write() as session:
        session.add_all(rows)


def dataset(world: World, sha256: str) -> Dataset:
    fields = {"name": "d", "format": "npz", "size_bytes": 5, "splits": {"train": 1}, "columns": [], "classes": {}, "meta": {}}
    return Dataset(id=new_id("ds"), project_id=world.project_id, sha256=sha256, **fields)


def full_job(world: World, **hashes: str) -> str:
    """A succeeded job with rows in every table that knows jobs."""
    teacher = world.in_status(S.SUCCEEDED)
    with world.database.write() as session:
        job_id = lifecycle.create(session, world.new(priority=2000), [teacher]).id
    claim = world.take()
    assert claim.job_id == job_id
    world.checkpoint(claim, 1, [file(f"checkpoints/1/{name}", sha256) for name, sha256 in hashes.items()])
    with world.database.write() as session:
        points.add(session, job_id, "model", 1, {("loss", 1): 0.5})
    world.finish(claim, [file("student/model", C)], model(world, job_id, model=C))
    return job_id


def mentions(world: World, job_id: str) -> dict[str, int]:
    return {name: found for name, rows in world.rows().items() if (found := sum(job_id in map(str, row) for row in rows))}


def ask(world: World, question: object, *arguments: object) -> object:
    with world.database.read() as session:
        return question(session, *arguments)  # type: ignore[operator]


def test_a_deleted_job_leaves_no_row_behind(world):
    job_id, other = full_job(world, a=A), full_job(world, b=B)
    assert set(mentions(world, job_id)) == {
        "jobs",
        "job_dependencies",
        "events",
        "artifacts",
        "checkpoints",
        "metric_points",
        "metric_spans",
        "models",
    }
    before = mentions(world, other)
    assert sorted(world.delete(job_id)) == [A]
    assert mentions(world, job_id) == {}
    assert mentions(world, other) == before


def test_every_table_that_knows_jobs_is_one_the_deletion_knows(world):
    """A new table with a job_id that nobody deletes from would make every DELETE an error, or leave rows for ever."""
    knowing = {name for name, table in Base.metadata.tables.items() if any(key.column.table.name == "jobs" for key in table.foreign_keys)}
    assert knowing == {"jobs", "job_dependencies", "events", "artifacts", "checkpoints", "metric_points", "metric_spans", "models"}


def test_those_who_needed_a_deleted_job_remember_how_it_ended(world):
    teacher = world.in_status(S.SUCCEEDED)
    student = world.submit(teacher)
    world.delete(teacher)
    need = world.job(student).needs[0]
    assert (need.needs_id, need.needs_status) == (teacher, "succeeded")


def test_a_job_holds_its_artifacts_and_the_files_of_its_model(world):
    claim = world.run()
    world.finish(claim, [file("report.json", A, 10)], model(world, claim.job_id, weights=B))
    assert ask(world, teardown.job_blobs, claim.job_id) == {A: 10, B: 5}


def test_what_another_job_holds_too_is_not_freed(world):
    first, second = world.run(), world.run()
    world.checkpoint(first, 1, [file("checkpoints/1/a", A, 10), file("checkpoints/1/b", B, 20)])
    world.checkpoint(second, 1, [file("checkpoints/1/a", A, 10)])
    assert ask(world, teardown.job_blobs, first.job_id) == {B: 20}
    assert ask(world, teardown.job_blobs, second.job_id) == {}
    for claim in (first, second):
        world.finish(claim)
    assert world.delete(first.job_id) == [B]
    assert ask(world, teardown.job_blobs, second.job_id) == {A: 10}
    assert world.delete(second.job_id) == [A]


def test_what_a_dataset_or_an_uploaded_model_holds_is_in_use(world):
    claim = world.run()
    world.finish(claim, [file("a", A), file("b", B), file("c", C)], None)
    add(world, dataset(world, A), model(world, None, weights=B))
    world.delete(claim.job_id)
    assert ask(world, teardown.unreferenced, [A, B, C, D]) == [C, D]


def test_what_an_artifact_holds_is_in_use(world):
    claim = world.run()
    world.checkpoint(claim, 1, [file("checkpoints/1/a", A)])
    assert ask(world, teardown.unreferenced, [A]) == []
    assert ask(world, teardown.unreferenced, []) == []
    assert ask(world, teardown.unreferenced, [D, D]) == [D]


def test_bytes_go_last_and_only_those_that_nobody_needs(world, tmp_path: Path):
    blobs = Blobs((tmp_path / "artifacts").as_uri())
    for name in "ab":
        (tmp_path / name).write_text(name)
    kept, gone = (blobs.put(tmp_path / name)[0] for name in "ab")
    first, second = world.run(), world.run()
    world.checkpoint(first, 1, [file("checkpoints/1/a", kept, 1), file("checkpoints/1/b", gone, 1)])
    world.checkpoint(second, 1, [file("checkpoints/1/a", kept, 1)])
    world.finish(first)
    loose = world.delete(first.job_id)
    assert blobs.exists(gone, 1), "the rows are gone, the commit may still fail"
    teardown.release(world.database, blobs, loose)
    assert blobs.exists(kept, 1)
    assert not blobs.exists(gone, 1)


def test_a_deletion_that_fails_deletes_nothing(world):
    job_id = full_job(world, a=A)
    before = world.rows()
    with pytest.raises(RuntimeError), world.database.write() as session:
        teardown.delete_job(session, lifecycle.locked(session, job_id))
        raise RuntimeError
    assert world.rows() == before


def test_foreign_keys_hold_also_where_the_database_has_to_be_asked_for_it(world):
    """SQLite checks them only if told to."""
    with pytest.raises(sa.exc.IntegrityError):
        add(world, MetricPoint(job_id="job_0", arm="model", seed=1, name="loss", step=1, value=0.5))
