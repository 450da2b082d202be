"""Freeing bytes while somebody stores the same ones: what a row refers to is there, whoever was faster."""

import hashlib
import multiprocessing
import uuid
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from store_hammer import Hammer, dataset, hammer
from store_world import World

from contract.errors import Unavailable
from models import cleaning, orphans, teardown
from models.blobs import Blobs
from models.dataset import Dataset
from models.settings import StoreSettings
from models.teardown import let_go, release, storing


@pytest.fixture(params=["file", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return Blobs((tmp_path / "artifacts").as_uri() if request.param == "file" else f"memory://{uuid.uuid4().hex}")


def refer(world: World, sha256: str) -> None:
    with world.database.write() as session:
        session.add(dataset(world.project_id, sha256))


def forget(world: World) -> None:
    with world.database.write() as session:
        session.execute(sa.delete(Dataset))


def stored(world: World, blobs: Blobs, source: Path) -> str:
    with storing(world.database, blobs) as put:
        sha256, _ = put(source)
        refer(world, sha256)
    return sha256


def whole(blobs: Blobs, sha256: str) -> bool:
    """In its place, not only to be found."""
    if not blobs.fs.exists(blobs.path(sha256)):
        return False
    with blobs.fs.open(blobs.path(sha256)) as file:
        return hashlib.sha256(file.read()).hexdigest() == sha256


def files(blobs: Blobs) -> list[str]:
    return sorted(blobs.fs.find(blobs.root))


class Watched(Blobs):
    """Calls somebody at the two moments between which a blob is moved."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.before: Callable[[], object] = lambda: None
        self.after: Callable[[], object] = lambda: None

    def lay_aside(self, sha256: str) -> str | None:
        self.before()
        aside = super().lay_aside(sha256)
        self.after()
        return aside


def test_only_what_nobody_refers_to_is_freed(world, blobs, tmp_path):
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    kept, loose = stored(world, blobs, tmp_path / "a"), blobs.put(tmp_path / "b")[0]
    assert release(world.database, blobs, [kept, loose, loose, "0" * 64]) == [loose]
    assert [whole(blobs, kept), whole(blobs, loose)] == [True, False]
    assert files(blobs) == [blobs.path(kept)]


def test_bytes_freed_between_storing_and_committing_are_stored_again(world, blobs, source):
    with storing(world.database, blobs) as put:
        sha256, _ = put(source)
        assert release(world.database, blobs, [sha256]) == [sha256]
        refer(world, sha256)
        assert not whole(blobs, sha256)
    assert whole(blobs, sha256)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_bytes_that_find_a_row_while_they_are_being_freed_come_back(world, source, tmp_path, moment):
    """Between the first look and the second, on either side of the move, somebody stores them and is done."""
    blobs = Watched((tmp_path / "artifacts").as_uri())
    sha256, _ = blobs.put(source)
    setattr(blobs, moment, lambda: stored(world, Blobs((tmp_path / "artifacts").as_uri()), source))
    assert release(world.database, blobs, [sha256]) == []
    assert whole(blobs, sha256)
    assert files(blobs) == [blobs.path(sha256)]


def test_bytes_whose_deletion_cannot_be_decided_come_back(world, blobs, source, monkeypatch):
    sha256, _ = blobs.put(source)
    real, looks = teardown.unreferenced, []

    def away(session, candidates):
        looks.append(1)
        if len(looks) == 2:
            raise Unavailable("The database did not answer.")
        return real(session, candidates)

    monkeypatch.setattr(teardown, "unreferenced", away)
    with pytest.raises(Unavailable):
        release(world.database, blobs, [sha256])
    assert files(blobs) == [blobs.path(sha256)]


@pytest.mark.parametrize("away", [OSError("the bucket is gone"), Unavailable("The database did not answer.")])
def test_for_whom_freeing_is_an_afterthought_nothing_fails_and_it_is_done_later(world, blobs, source, monkeypatch, tmp_path, away):
    sha256, _ = blobs.put(source)
    with monkeypatch.context() as patched:

        def refuse(*_: object) -> None:
            raise away

        patched.setattr(*((blobs, "lay_aside") if isinstance(away, OSError) else (teardown, "unreferenced")), refuse)
        with pytest.raises(type(away)):
            release(world.database, blobs, [sha256])
        let_go(world.database, blobs, [sha256])
    assert whole(blobs, sha256)
    cleaning.collect(world.database, blobs, StoreSettings(home=tmp_path / "home"), grace=0, strangers=True)
    assert files(blobs) == []


@pytest.mark.parametrize("needed", [True, False])
def test_a_deletion_that_was_killed_halfway_is_finished_by_the_collector(world, source, tmp_path, needed):
    blobs = Blobs((tmp_path / "artifacts").as_uri())
    sha256, size = blobs.put(source)
    blobs.lay_aside(sha256)  # and here the process died
    if needed:
        refer(world, sha256)
    found = cleaning.collect(world.database, blobs, StoreSettings(home=tmp_path / "home"))
    assert whole(blobs, sha256) is needed
    assert files(blobs) == ([blobs.path(sha256)] if needed else [])
    assert sum(one.size_bytes for one in found) == (0 if needed else size)


def test_in_a_store_that_copies_to_move_the_collector_waits_for_who_may_still_be_at_it(world, source, tmp_path):
    blobs = Blobs(f"memory://{uuid.uuid4().hex}")
    sha256 = stored(world, blobs, source)
    aside = blobs.root + f"/aside/{sha256}.{uuid.uuid4().hex}"
    blobs.fs.makedirs(blobs.root + "/aside", exist_ok=True)
    blobs.fs.cp_file(blobs.path(sha256), aside)  # the second half of the move is still to come
    found = orphans.listing(blobs)
    assert orphans.finish_deletions(world.database, blobs, found, dry_run=False) == []
    assert blobs.fs.exists(aside)


def test_rows_that_did_not_come_about_leave_no_bytes(world, blobs, source):
    with pytest.raises(ZeroDivisionError), storing(world.database, blobs) as put:
        put(source)
        raise ZeroDivisionError
    assert files(blobs) == []


def test_bytes_that_others_refer_to_survive_a_storing_that_failed(world, blobs, source):
    sha256 = stored(world, blobs, source)
    with pytest.raises(ZeroDivisionError), storing(world.database, blobs) as put:
        put(source)
        raise ZeroDivisionError
    assert files(blobs) == [blobs.path(sha256)]


def test_when_nobody_knows_whether_the_commit_went_through_the_bytes_stay(world, blobs, source):
    """It may still go through after we were told that the connection is lost."""
    with pytest.raises(Unavailable), storing(world.database, blobs) as put:
        sha256, _ = put(source)
        release(world.database, blobs, [sha256])
        raise Unavailable("The database did not answer.")
    assert whole(blobs, sha256)


def test_processes_and_threads_that_store_and_free_the_same_bytes_lose_none(world, tmp_path):
    """Two processes of three threads each, and a collector without grace in both."""
    artifacts = (tmp_path / "artifacts").as_uri()
    tools = [Hammer(world.url, artifacts, tmp_path / str(i), world.project_id, 4.0, seed=i) for i in range(2)]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        done = list(pool.map(hammer, tools))
    assert [tool.wrong for tool in done] == [[], []]
    assert all(tool.stored > 10 and tool.freed > 5 for tool in done), "they did not meet"
    blobs = Blobs(artifacts)
    with world.database.read() as session:
        rows = set(session.scalars(sa.select(Dataset.sha256)))
    assert all(whole(blobs, sha256) for sha256 in rows)
    cleaning.collect(world.database, blobs, StoreSettings(home=tmp_path / "home"), grace=0)
    assert files(blobs) == sorted(blobs.path(sha256) for sha256 in rows)
