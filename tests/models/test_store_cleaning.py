"""Collecting: what crashes left and what is too old goes, what is in use or may be about to be stays, and a dry run only counts."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from store_hammer import dataset
from store_world import World, file

from models import audit, cleaning
from models.base import now
from models.blobs import Blobs
from models.project import Project, RetiredSecret, add_key
from models.service import IdempotencyRecord, Worker
from models.settings import StoreSettings
from models.teardown import storing

HOUR, DAY = 3600.0, 24 * 3600.0


@pytest.fixture
def settings(tmp_path: Path) -> StoreSettings:
    return StoreSettings(home=tmp_path / "home", cache_bytes=1000)


@pytest.fixture
def blobs(settings: StoreSettings) -> Blobs:
    return Blobs(settings.artifacts())


def put(blobs: Blobs, folder: Path, text: str) -> str:
    """Bytes without a row."""
    path = folder / "source"
    path.write_text(text)
    sha256, _ = blobs.put(path)
    path.unlink()
    return sha256


def known(world: World, blobs: Blobs, folder: Path, text: str = "known") -> str:
    sha256 = put(blobs, folder, text)
    with world.database.write() as session:
        session.add(dataset(world.project_id, sha256, len(text)))
    return sha256


def collected(world: World, blobs: Blobs, settings: StoreSettings, **options: object) -> dict[str, tuple[int, int]]:
    """What went, by kind; a dry run before it must have said the same, and must have changed nothing."""
    before = sorted(settings.home_path().rglob("*")), world.rows()
    said = cleaning.collect(world.database, blobs, settings, dry_run=True, **options)  # type: ignore[arg-type]
    assert (sorted(settings.home_path().rglob("*")), world.rows()) == before
    done = cleaning.collect(world.database, blobs, settings, **options)  # type: ignore[arg-type]
    assert said == done
    again = cleaning.collect(world.database, blobs, settings, **options)  # type: ignore[arg-type]
    assert [one.count for one in again] == [0] * len(again), "it takes one go"
    return {one.what: (one.count, one.size_bytes) for one in done if one.count}


def test_a_new_service_has_nothing_to_collect(world, blobs, settings):
    assert collected(world, blobs, settings) == {}


def test_bytes_without_a_row_go_after_the_grace(world, blobs, settings, tmp_path):
    kept, loose = known(world, blobs, tmp_path), put(blobs, tmp_path, "nobody's")
    assert collected(world, blobs, settings) == {}
    assert blobs.exists(loose, 8)
    assert collected(world, blobs, settings, now=time.time() + HOUR + 1) == {"files that nothing refers to": (1, 8)}
    assert [blobs.exists(kept, 5), blobs.exists(loose, 8)] == [True, False]


def test_of_many_workers_the_eldest_looks_through_the_store(world, blobs, settings, tmp_path):
    with world.database.write() as session:
        session.add_all([Worker(id=f"wrk_{n}", host="here", version="0", devices=["cpu"], slots=1) for n in (1, 2, 3)])
        session.flush()
        session.execute(sa.update(Worker).where(Worker.id == "wrk_1").values(last_heartbeat_at=now(-60)))
    assert [cleaning.eldest(world.database, f"wrk_{n}") for n in (1, 2, 3)] == [False, True, False], "the first is silent"
    known(world, blobs, tmp_path)
    put(blobs, tmp_path, "an orphan")
    assert collected(world, blobs, settings, grace=0, shared=False) == {}
    assert collected(world, blobs, settings, grace=0) == {"files that nothing refers to": (1, 9)}


def test_all_that_rows_refer_to_stays(world, blobs, settings, tmp_path):
    """Datasets, artifacts, and the files of models that came by upload."""
    from test_store_teardown import add, model

    known(world, blobs, tmp_path)
    artifact, weights = put(blobs, tmp_path, "artifact"), put(blobs, tmp_path, "weights")
    world.finish(world.run(), [file("report.json", artifact, 8)])
    add(world, model(world, None, **{"model.safetensors": weights}))
    assert collected(world, blobs, settings, grace=0) == {}
    assert blobs.exists(artifact, 8)
    assert blobs.exists(weights, 7)


def test_a_database_that_knows_no_file_of_the_store_is_not_believed(world, blobs, settings, tmp_path):
    """POSTGRES in the environment and the files of another service in the home folder: everything would go."""
    loose = put(blobs, tmp_path, "somebody else's")
    (found,) = [one for one in cleaning.collect(world.database, blobs, settings, grace=0) if one.note]
    assert "none of the 1 files" in found.note
    assert "right one?" in found.note
    assert blobs.exists(loose, 15)
    assert collected(world, blobs, settings, grace=0, strangers=True) == {"files that nothing refers to": (1, 15)}


def test_files_of_others_in_the_folder_stay(world, blobs, settings, tmp_path):
    known(world, blobs, tmp_path)
    for name in ("README", "ab/notes.txt", "aside/notes.txt"):
        path = blobs.local / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    assert collected(world, blobs, settings, grace=0, now=time.time() + 9 * DAY) == {}


def test_a_half_written_file_goes_after_an_hour_whatever_the_grace(world, blobs, settings, tmp_path):
    sha256 = known(world, blobs, tmp_path)
    half = Path(blobs.path(sha256)).with_name(f".{sha256}.{'0' * 32}")
    half.write_text("kno")
    assert collected(world, blobs, settings, grace=0) == {}
    assert collected(world, blobs, settings, now=time.time() + HOUR + 1) == {"half-written files": (1, 3)}


def attempt(settings: StoreSettings, job_id: str, number: int) -> Path:
    folder = settings.work_folder() / job_id / f"attempt-{number}"
    (folder / "checkpoints" / "10").mkdir(parents=True)
    (folder / "checkpoints" / "10" / "model.safetensors").write_bytes(b"x" * 100)
    return folder


def test_folders_of_attempts_that_ended_go_and_those_of_running_ones_stay(world, blobs, settings):
    claim, lost = world.run(), world.run()
    world.reap("wrk_1")
    claim, lost = world.take(), world.take()  # the second attempt of each
    world.finish(lost)
    running, earlier, ended = (attempt(settings, *a) for a in ((claim.job_id, 2), (claim.job_id, 1), (lost.job_id, 2)))
    assert collected(world, blobs, settings) == {}, "one that has just ended may still be at it"
    later = time.time() + 2 * DAY
    assert collected(world, blobs, settings, now=later)["folders of attempts that ended"] == (2, 200)
    assert [path.exists() for path in (running, earlier, ended)] == [True, False, False]


def test_a_claim_between_the_two_looks_does_not_cost_an_attempt_its_folder(world, settings, monkeypatch):
    """Folders are looked for first and the database is asked then: in the other order the folder would be that of no claim."""
    job_id = world.submit()
    claims: list[object] = []
    real_attempts, real_read = cleaning.leftovers.attempts, world.database.read

    def claim() -> None:
        if not claims:
            claims.append(None)
            claims.append(world.take())
            attempt(settings, job_id, 1)

    def attempts(work: Path) -> dict[Path, tuple[str, int]]:
        found = real_attempts(work)
        claim()
        return found

    @contextlib.contextmanager
    def read():
        with real_read() as session:
            yield session
        claim()

    monkeypatch.setattr(cleaning.leftovers, "attempts", attempts)
    monkeypatch.setattr(world.database, "read", read)
    assert cleaning._dead_attempts(world.database, settings.work_folder(), time.time() + DAY) == []
    assert len(claims) == 2


def test_a_folder_of_a_job_that_nobody_knows_goes_after_a_day(world, blobs, settings):
    """Its job was deleted; but it may also be of a service with another database."""
    folder = attempt(settings, "job_gone", 1)
    assert collected(world, blobs, settings, now=time.time() + DAY - HOUR) == {}
    assert collected(world, blobs, settings, now=time.time() + DAY + HOUR) == {"folders of attempts that ended": (1, 100)}
    assert not folder.parent.exists(), "empty, and the third go is hours later too"


def test_bytes_of_an_attempt_that_the_store_holds_too_are_not_counted_as_freed(world, blobs, settings):
    claim = world.run()
    folder = attempt(settings, claim.job_id, 1)
    with storing(world.database, blobs) as keep:
        sha256, size = keep(folder / "checkpoints" / "10" / "model.safetensors")
        world.checkpoint(claim, 10, [file("checkpoints/10/model.safetensors", sha256, size)])
    world.finish(claim)
    found = collected(world, blobs, settings, now=time.time() + 2 * DAY)
    assert found["folders of attempts that ended"] == (1, 0)
    assert blobs.exists(sha256, size)


def test_uploads_go_when_no_byte_came_for_a_day(world, blobs, settings):
    upload = settings.uploads_path() / "upload-abc"
    upload.mkdir(parents=True)
    (upload / "0").write_text("half of it")
    os.utime(upload, (0, 0))
    assert collected(world, blobs, settings) == {}, "its folder is old, but bytes still come"
    assert collected(world, blobs, settings, now=time.time() + DAY + 1) == {"uploads cut off": (1, 10)}


def test_teacher_outputs_go_oldest_use_first_down_to_the_limit(world, blobs, settings):
    folder = settings.cache_folder() / "ab"
    folder.mkdir(parents=True)
    for age, name in enumerate(("newest", "middle", "oldest")):
        (folder / f"{name}.safetensors").write_bytes(b"x" * 450)
        os.utime(folder / f"{name}.safetensors", (time.time() - age * 100,) * 2)
    assert collected(world, blobs, settings) == {"teacher outputs beyond cache_bytes": (1, 450)}
    assert sorted(path.name for path in folder.iterdir()) == ["middle.safetensors", "newest.safetensors"]
    (folder / ".middle.0").mkdir()
    assert collected(world, blobs, settings, now=time.time() + HOUR + 1) == {"teacher outputs beyond cache_bytes": (1, 0)}


def test_lock_files_go_a_day_after_what_was_made_under_them(world, blobs, settings):
    folder = settings.cache_folder() / "ab"
    folder.mkdir(parents=True)
    for name in ("here.safetensors", "here.lock", "gone.lock", "held.lock"):
        (folder / name).write_bytes(b"")
    assert collected(world, blobs, settings) == {}
    with (folder / "held.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert collected(world, blobs, settings, now=time.time() + DAY + 1) == {"lock files of outputs that are gone": (1, 0)}
    assert sorted(path.name for path in folder.iterdir()) == ["held.lock", "here.lock", "here.safetensors"]


def test_workers_that_were_silent_for_a_day_go_unless_they_hold_their_lock(world, blobs, settings):
    run = settings.run_folder()
    run.mkdir(parents=True)
    with world.database.write() as session:
        for name, seconds in (("wrk_dead", DAY + 60), ("wrk_deaf", DAY + 60), ("wrk_well", 60)):
            beat = session.scalar(sa.select(now(-seconds)))
            session.add(Worker(id=name, host="here", version="1", devices=["cpu"], slots=1, last_heartbeat_at=beat))
    for name in ("wrk_dead", "wrk_deaf", "wrk_young"):
        (run / f"{name}.lock").touch()
    for name in ("wrk_dead", "wrk_deaf"):
        os.utime(run / f"{name}.lock", (time.time() - DAY - 60,) * 2)
    with (run / "wrk_deaf.lock").open("r+") as held:  # it could not reach the database
        fcntl.flock(held, fcntl.LOCK_EX)
        found = collected(world, blobs, settings)
    assert found == {"workers silent for a day": (1, 0), "lock files of dead workers": (1, 0)}
    assert sorted(path.stem for path in run.iterdir()) == ["wrk_deaf", "wrk_young"]
    assert [row[0] for row in world.rows()["workers"]] == ["wrk_deaf", "wrk_well"]


def test_kept_answers_go_after_a_week(world, blobs, settings):
    with world.database.write() as session:
        for key, days in (("old", 7.1), ("young", 6.9)):
            fields = {"fingerprint": "f", "status_code": 201, "headers": {}, "body": "{}"}
            made = session.scalar(sa.select(now(-days * DAY)))
            session.add(IdempotencyRecord(project_id=world.project_id, key=key, created_at=made, **fields))
    assert collected(world, blobs, settings) == {"kept answers older than a week": (1, 0)}
    assert [row[1] for row in world.rows()["idempotency_records"]] == ["young"]


def test_secrets_rotated_away_go_a_week_after_their_end(world, blobs, settings):
    """Until then whoever still uses one is told that it was rotated, and not that nobody knows it."""
    with world.database.write() as session:
        key = add_key(session, session.get_one(Project, world.project_id), "ci", "psk_" + "x" * 40)
        for name, days in (("old", 7.1), ("young", 6.9)):
            session.add(RetiredSecret(secret_sha256=name, key_id=key.id, until=session.scalar(sa.select(now(-days * DAY)))))
    assert collected(world, blobs, settings) == {"secrets rotated away a week ago": (1, 0)}
    assert [row[0] for row in world.rows()["retired_secrets"]] == ["young"]


def test_audit_events_go_after_their_days(world, blobs, settings):
    with world.database.write() as session:
        for name, days in (("old", 365.1), ("young", 364.9)):
            audit.record(session, audit.Actor(world.project_id), "job.deleted", name)
            session.flush()
            made = session.scalar(sa.select(now(-days * DAY)))
            session.execute(sa.update(audit.AuditEvent).where(audit.AuditEvent.subject == name).values(created_at=made))
    assert collected(world, blobs, settings) == {"audit events older than audit_days": (1, 0)}
    assert [row[4] for row in world.rows()["audit_events"]] == ["young"]


def used(folder: Path) -> int:
    return int(subprocess.run(["du", "-s", "--block-size=1", str(folder)], check=True, capture_output=True, text=True).stdout.split()[0])


def test_the_bytes_are_free_on_the_disk(world, blobs, settings, tmp_path):
    known(world, blobs, tmp_path)
    before = used(settings.home_path())
    (tmp_path / "big").write_bytes(os.urandom(3 << 20))
    blobs.put(tmp_path / "big")
    shutil.copy(tmp_path / "big", settings.home_path() / "artifacts" / f".{'0' * 64}.{'0' * 32}")
    assert used(settings.home_path()) - before >= 6 << 20
    (tmp_path / "big").unlink()
    found = collected(world, blobs, settings, grace=0, now=time.time() + DAY)
    assert sum(size for _, size in found.values()) == 6 << 20
    assert used(settings.home_path()) - before < 32 << 10, "folders at most"
