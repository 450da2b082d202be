"""A full disk: said as what it is, with the last good checkpoint kept and nothing half-written beside it."""

import errno
import os
import resource
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from engine_runs import outputs_of, small

from contract.errors import ErrorCode, JobError
from contract.events import CheckpointSaved, Finished, Resumed
from distill import cache, checkpoint, disk
from distill.data import load
from distill.inputs import Inputs
from distill.manifest import verify

Usage = namedtuple("Usage", "total used free")
EVERY_STEP = small(training={"checkpoint_every_seconds": 0})
CALLS = 7  # four files, manifest, folder and its parent for each checkpoint


def full(number=errno.ENOSPC):
    return OSError(number, os.strerror(number))


def left(engine):
    """Everything below the attempt's folder."""
    return sorted(path.relative_to(engine.home / "attempt-1").as_posix() for path in (engine.home / "attempt-1").rglob("*"))


@pytest.mark.parametrize("call", range(1, CALLS + 1))
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT], ids=["full", "quota"])
def test_a_full_disk_ends_the_job_and_keeps_the_last_good_checkpoint(engine, monkeypatch, call, number):
    """At the n-th file of the second checkpoint: the error says what to do, the first one still verifies."""
    calls = 0

    def fsync(path):
        nonlocal calls
        calls += 1
        if calls == CALLS + call:
            raise full(number)

    monkeypatch.setattr(disk, "fsync", fsync)
    with pytest.raises(JobError, match=f"step 2 could not be written: {os.strerror(number)}") as caught:
        engine.run(EVERY_STEP)
    assert caught.value.code == ErrorCode.DISK_FULL
    assert caught.value.hint == "Free some space, then `potstill resume`; the last good checkpoint is kept."
    folder = engine.home / "attempt-1" / "checkpoints"
    whole = ["1", "2"] if call == CALLS else ["1"]  # the last call comes after the rename
    assert sorted(path.name for path in folder.iterdir()) == whole
    for name in whole:
        verify(folder / name)


def test_a_disk_that_is_full_in_the_middle_of_the_tensors_is_a_full_disk_too(engine):
    """safetensors writes by itself and raises no OSError: taken for a crash, the job would be tried again three times.
    The limit on the size of a file stands in for the full disk: it fails the same write in the same place."""
    limits, events = resource.getrlimit(resource.RLIMIT_FSIZE), []

    def emit(event):
        events.append(event)
        if isinstance(event, CheckpointSaved):
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))

    try:
        with pytest.raises(JobError, match="could not be written") as caught:
            engine.run(EVERY_STEP, emit=emit)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.code == ErrorCode.DISK_FULL
    verify(engine.home / "attempt-1" / "checkpoints" / "1")
    assert [event.step for event in events if isinstance(event, CheckpointSaved)] == [1]


def test_room_is_looked_for_before_the_first_byte(engine, monkeypatch):
    """Half a checkpoint of gigabytes would take the last room from everybody else on the disk."""
    asked = []

    def usage(path):
        asked.append(path)
        return Usage(10**9, 10**9 - 54_321, 54_321)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    monkeypatch.setattr(checkpoint, "save_file", pytest.fail)
    with pytest.raises(JobError) as caught:
        engine.run(EVERY_STEP)
    assert caught.value.code == ErrorCode.DISK_FULL
    assert str(engine.home / "attempt-1" / "checkpoints") in caught.value.detail
    assert "where 54,321 are free" in caught.value.detail
    assert asked[0] == engine.home / "attempt-1"  # of what will be made, what is there already
    assert left(engine) == []


def test_what_a_checkpoint_needs_is_known_before_it_is_written(engine, monkeypatch):
    """Exactly that much and the margin is room enough; one byte less is not. What was written fits into it."""
    needed = []
    real = disk.writing
    monkeypatch.setattr(disk, "writing", lambda what, folder, size: needed.append(size + disk.MARGIN) or real(what, folder, size))
    folder = engine.run(EVERY_STEP, stop_after=1).checkpoint(1)
    (first,) = needed
    assert sum(path.stat().st_size for path in folder.iterdir()) <= first <= 40_000 + disk.MARGIN
    for free, enough in ((first, True), (first - 1, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: Usage(10**9, 0, free))
        if enough:
            engine.run(EVERY_STEP, stop_after=1)
        else:
            with pytest.raises(JobError, match=f"needs {first:,} bytes"):
                engine.run(EVERY_STEP, stop_after=1)


def test_a_file_system_that_counts_nothing_is_not_a_full_one(engine, monkeypatch):
    """Some that lie behind a network or a program say that they have 0 bytes, 0 of them free."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 0))
    assert isinstance(engine.run(EVERY_STEP).outcome, Finished)


def test_another_failure_of_the_disk_is_not_called_a_full_one(engine, monkeypatch):
    """A job paused to have space freed would wait for ever; one that crashed is tried again, perhaps on another machine."""

    def fsync(path):
        raise full(errno.EIO)

    monkeypatch.setattr(disk, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output error"):
        engine.run(EVERY_STEP)
    assert left(engine) == ["checkpoints"]


@pytest.mark.parametrize(
    ("kind", "file"), [("train", "config.json"), ("train", "README.md"), ("train", "report.json"), ("evaluate", "report.json")]
)
def test_of_a_result_that_does_not_fit_nothing_stays_and_the_checkpoint_does(engine, teacher, monkeypatch, kind, file):
    spec = small() if kind == "train" else small(kind="evaluate", student={"path": str(teacher)})
    real = Path.write_text

    def half(path, text):
        real(path, text[: len(text) // 2] if path.name == file else text)
        if path.name == file:
            raise full()

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", half)
        with pytest.raises(JobError, match="could not be written: No space left") as caught:
            engine.run(spec)
    assert caught.value.code == ErrorCode.DISK_FULL
    assert not (engine.home / "attempt-1" / "result").exists()
    if kind == "train":
        resumed = engine.run(spec, resume=[engine.home / "attempt-1" / "checkpoints" / "18"])
        assert resumed.of(Resumed) == [Resumed(step=18)]
        assert resumed.weights == engine.run(spec).weights


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("where", ["mkdir", "save_file", "replace"])
def test_outputs_of_a_teacher_that_cannot_be_kept_stop_no_job(engine, teacher, monkeypatch, number, where):
    """They save work: without them the run is the same, from memory."""
    expected = engine.run(small(teacher))
    engine.cache = engine.home / "another"
    real = Path.mkdir

    def fail(*_, **__):
        raise full(number)

    def mkdir(path, *given, **named):
        return fail() if engine.cache in path.parents else real(path, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(*{"mkdir": (Path, "mkdir", mkdir), "replace": (os, "replace", fail)}.get(where, (cache, where, fail)))
        ran = engine.run(small(teacher))
    assert ran.weights == expected.weights
    assert ran.report["teacher_outputs"] == expected.report["teacher_outputs"]
    assert len(ran.warnings) == 2  # of the rows to train on and of the test rows
    assert all(os.strerror(number) in warning and "in memory" in warning for warning in ran.warnings)
    assert [path for path in engine.cache.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_outputs_of_a_teacher_without_room_are_not_begun(tmp_path, teacher, monkeypatch):
    warnings = []
    asked, _ = outputs_of(teacher, tmp_path / "cache")
    asked.warn = warnings.append
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, 3600 + disk.MARGIN - 1))
    monkeypatch.setattr(cache, "save_file", pytest.fail)
    spec = small()
    assert asked.outputs(load(spec, Inputs.local(spec, tmp_path)).train).built.how == "built"
    assert len(warnings) == 1
