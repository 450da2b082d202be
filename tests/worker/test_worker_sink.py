"""What the sink writes: each event once whatever the database does meanwhile, in order, bounded, under the fence."""

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from store_world import S, World

from contract.errors import Unavailable
from contract.events import CheckpointSaved, LogLine, PhaseChanged, RunEvent, Step
from contract.status import Phase
from models.blobs import Blobs
from models.claims import Claim, LeaseLostError
from models.results import Artifact, Checkpoint, MetricPoint
from worker import sink as sink_module
from worker.backlog import Backlog
from worker.sink import Sink, discard


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs((tmp_path / "artifacts").as_uri())


def made(world: World, blobs: Blobs, folder: Path, *events: RunEvent, claim: Claim | None = None) -> Sink:
    backlog = Backlog(folder / "spill", in_memory=50)
    for event in events:
        backlog.put(event)
    return Sink(world.database, blobs, claim or world.run(), backlog)


def step(number: int, **metrics: float) -> Step:
    return Step(step=number, total_steps=1000, epoch=1, metrics={"train/loss": 1.0 / number, **metrics})


def saved(folder: Path, number: int, dropped: tuple[int, ...] = ()) -> CheckpointSaved:
    place = folder / "checkpoints" / str(number)
    place.mkdir(parents=True)
    (place / "model.safetensors").write_bytes(b"weights %d" % number)
    return CheckpointSaved(step=number, folder=str(place), dropped=list(dropped))


def told(world: World, claim: Claim) -> list[tuple[str, str]]:
    return [(event.type, event.message) for event in world.events(claim.job_id) if event.type != "status"]


def lost_answers(world: World, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """The next commits go through and their answers get lost: an error that tells nobody which it was."""
    whole, left = world.database.write, [times]

    @contextmanager
    def write() -> Any:
        with whole() as session:
            yield session
        if left[0]:
            left[0] -= 1
            raise Unavailable("server closed the connection unexpectedly")

    monkeypatch.setattr(world.database, "write", write)


def test_order_and_kinds_as_they_came(world: World, blobs: Blobs, tmp_path: Path) -> None:
    events = [
        PhaseChanged(phase=Phase.TRAINING),
        LogLine(message="one"),
        saved(tmp_path, 5),
        LogLine(message="two"),
        step(6),
        saved(tmp_path, 7),
    ]
    sink = made(world, blobs, tmp_path, *events)
    sink.flush()
    assert told(world, sink.claim) == [
        ("phase", "training"),
        ("log", "one"),
        ("checkpoint", "checkpoint at step 5"),
        ("log", "two"),
        ("metrics", "step 6 of 1,000"),
        ("checkpoint", "checkpoint at step 7"),
    ]
    assert len(sink.backlog) == 0


def test_a_commit_whose_answer_is_lost_is_not_repeated(world: World, blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = made(world, blobs, tmp_path, LogLine(message="one"), step(1), saved(tmp_path, 1), LogLine(message="two"))
    lost_answers(world, monkeypatch, times=2)
    for _ in range(2):
        with pytest.raises(Unavailable):
            sink.flush()
        sink.backlog.put(LogLine(message="more"))  # the next try holds more than the one that went through
    sink.flush()
    found = told(world, sink.claim)
    assert found == [
        ("log", "one"),
        ("metrics", "step 1 of 1,000"),
        ("checkpoint", "checkpoint at step 1"),
        ("log", "two"),
        ("log", "more"),
        ("log", "more"),
    ]
    with world.database.read() as session:
        (artifact,) = session.scalars(sa.select(Artifact).where(Artifact.job_id == sink.claim.job_id))
    assert blobs.exists(artifact.sha256, artifact.size_bytes)


def test_the_local_folder_goes_once_the_store_has_the_checkpoint(world: World, blobs: Blobs, tmp_path: Path) -> None:
    """A link left behind would keep the bytes of a dropped checkpoint on the disk."""
    events = [saved(tmp_path, number, dropped=(number - 2,) if number > 2 else ()) for number in range(1, 9)]
    sink = made(world, blobs, tmp_path, *events)
    sink.flush()
    assert list((tmp_path / "checkpoints").iterdir()) == []
    with world.database.read() as session:
        assert list(session.scalars(sa.select(Checkpoint.step).order_by(Checkpoint.step))) == [7, 8]
    assert len([path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]) == 2


def test_what_was_replaced_before_its_turn_came_is_not_stored(world: World, blobs: Blobs, tmp_path: Path) -> None:
    """With a store that is slow or away the disk holds what the spec keeps, and no row goes before a newer one is there."""
    events = [saved(tmp_path, number, dropped=(number - 2,) if number > 2 else ()) for number in range(1, 9)]
    sink = made(world, blobs, tmp_path, *events[:4])
    sink.flush()

    def steps() -> list[int]:
        with world.database.read() as session:
            return list(session.scalars(sa.select(Checkpoint.step).order_by(Checkpoint.step)))

    assert steps() == [3, 4]
    for event in events[4:]:
        sink.backlog.put(event)
        discard(event)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["7", "8"]
    written = sink._commit
    seen: list[list[int]] = []
    sink._commit = lambda *given: (written(*given), seen.append(steps()))[0]  # type: ignore[method-assign]
    sink.flush()
    assert seen == [[3, 4], [3, 4], [7], [7, 8]]
    assert list((tmp_path / "checkpoints").iterdir()) == []
    assert len([path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]) == 2


def test_what_is_being_stored_is_not_discarded(world: World, blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A try whose answer was lost needs the files again."""
    sink = made(world, blobs, tmp_path, saved(tmp_path, 1))
    lost_answers(world, monkeypatch, times=1)
    with pytest.raises(Unavailable):
        sink.flush()
    discard(newer := saved(tmp_path, 2, dropped=(1,)))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["1.taken", "2"]
    sink.backlog.put(newer)
    sink.flush()
    with world.database.read() as session:
        assert list(session.scalars(sa.select(Checkpoint.step))) == [2]


def test_a_lost_lease_writes_nothing(world: World, blobs: Blobs, tmp_path: Path) -> None:
    sink = made(world, blobs, tmp_path, LogLine(message="one"), step(1))
    world.crash(sink.claim)
    before = world.rows()
    with pytest.raises(LeaseLostError):
        sink.flush()
    assert world.rows() == before


def test_the_next_attempt_counts_from_its_own_beginning(world: World, blobs: Blobs, tmp_path: Path) -> None:
    first = made(world, blobs, tmp_path / "1", *[LogLine(message=f"first {i}") for i in range(5)])
    first.flush()
    world.crash(first.claim)
    second = made(world, blobs, tmp_path / "2", *[LogLine(message=f"second {i}") for i in range(3)], claim=world.take())
    second.flush()
    assert [message for _, message in told(world, second.claim)] == [f"first {i}" for i in range(5)] + [f"second {i}" for i in range(3)]


def test_requests_are_heard_in_the_answer(world: World, blobs: Blobs, tmp_path: Path) -> None:
    sink = made(world, blobs, tmp_path, LogLine(message="one"))
    world.pause(sink.claim.job_id)
    sink.flush()
    assert sink.status is S.PAUSING


def test_a_thousand_points_are_one_event_and_all_points(world: World, blobs: Blobs, tmp_path: Path) -> None:
    sink = made(world, blobs, tmp_path, *[step(number, accuracy=0.5) for number in range(1, 1001)])
    sink.flush()
    assert len(told(world, sink.claim)) <= 1000 // 50 + 1  # the reader refills from the file in pieces of what memory holds
    with world.database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(MetricPoint)) == 2000


def test_log_lines_have_a_limit_that_is_said(world: World, blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_module, "LOG_LINES", 20)
    sink = made(world, blobs, tmp_path, *[LogLine(message=f"line {i}") for i in range(100)])
    sink.flush()
    found = told(world, sink.claim)
    assert [message for type_, message in found if type_ == "log"] == [f"line {i}" for i in range(20)]
    assert [message for type_, message in found if type_ == "warning"] == ["20 log lines are kept for a job; later ones are left out"]
    assert world.job(sink.claim.job_id).warnings == ["20 log lines are kept for a job; later ones are left out"]


def test_a_long_message_is_cut_and_says_so(world: World, blobs: Blobs, tmp_path: Path) -> None:
    sink = made(world, blobs, tmp_path, LogLine(message="x" * 50_000))
    sink.flush()
    ((_, message),) = told(world, sink.claim)
    assert len(message) < 10_100
    assert message.endswith("(40,000 more characters)")


def test_old_progress_is_forgotten_and_nothing_else(world: World, blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_module, "HISTORY", 30)
    monkeypatch.setattr(sink_module, "FORGET_EVERY", 10)
    sink = made(world, blobs, tmp_path, LogLine(message="the first line"))
    for number in range(1, 201):
        sink.backlog.put(step(number))
        sink.flush()
    events = world.events(sink.claim.job_id)
    assert len(events) < 50
    assert ("log", "the first line") in told(world, sink.claim)
    assert [event.data["to"] for event in events if event.type == "status"] == ["queued", "queued", "running"]
    with world.database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(MetricPoint)) == 200


def test_a_locked_database_takes_everything_afterwards(world: World, blobs: Blobs, tmp_path: Path) -> None:
    sink = made(world, blobs, tmp_path)
    locked, release = threading.Event(), threading.Event()

    def lock() -> None:
        with world.database.write() as session:
            postgres = world.database.dialect == "postgresql"
            session.execute(sa.text("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE" if postgres else "SELECT 1"))  # SQLite: the one write lock
            locked.set()
            release.wait(30)

    holder = threading.Thread(target=lock)
    holder.start()
    assert locked.wait(10)
    flushing = threading.Thread(target=in_turn(sink.flush, lambda: len(sink.backlog) == 0))
    sink.backlog.put(LogLine(message="before"))
    flushing.start()
    started = time.monotonic()
    for number in range(1, 5001):  # far more than memory holds
        sink.backlog.put(step(number))
    assert time.monotonic() - started < 5, "putting waited for the database"
    assert len(sink.backlog) == 5001
    release.set()
    holder.join(30)
    flushing.join(60)
    sink.flush()
    with world.database.read() as session:
        steps = session.scalars(sa.select(MetricPoint.step).where(MetricPoint.job_id == sink.claim.job_id).order_by(MetricPoint.step)).all()
    assert list(steps) == list(range(1, 5001))


def in_turn(flush: Callable[[], None], empty: Callable[[], bool]) -> Callable[[], None]:
    def run() -> None:
        while not empty():
            flush()

    return run
