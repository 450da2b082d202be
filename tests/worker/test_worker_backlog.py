"""The queue between trainer and database: nothing is lost or turned round, however much waits and however full the disk is."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.events import LogLine, RunEvent, Stopped
from worker.backlog import Backlog


def line(number: int) -> LogLine:
    return LogLine(message=f"line {number} ü\n", data={"number": number})


def numbers(events: list[RunEvent]) -> list[int]:
    return [event.data["number"] for event in events if isinstance(event, LogLine)]


def test_what_memory_does_not_hold_waits_in_a_file_in_order(tmp_path: Path) -> None:
    spill = tmp_path / "spill"
    backlog = Backlog(spill, in_memory=10)
    for number in range(1000):
        backlog.put(line(number))
    assert len(backlog) == 1000
    assert spill.stat().st_size > 0
    found: list[int] = []
    while events := backlog.first(7):
        found += numbers(events)
        backlog.drop(len(events))
    assert found == list(range(1000))
    assert not spill.exists()


def test_reading_takes_nothing_away(tmp_path: Path) -> None:
    backlog = Backlog(tmp_path / "spill", in_memory=2)
    for number in range(5):
        backlog.put(line(number))
    assert numbers(backlog.first(10)) == numbers(backlog.first(10)) == [0, 1]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-6, 6), max_size=60), st.integers(1, 5))
def test_any_mixture_of_putting_and_taking_keeps_the_order(tmp_path_factory: pytest.TempPathFactory, moves: list[int], limit: int) -> None:
    backlog = Backlog(tmp_path_factory.mktemp("backlog") / "spill", in_memory=limit)
    put = 0
    found: list[int] = []
    for move in [*moves, *[-limit] * 400]:
        for _ in range(move):
            backlog.put(line(put))
            put += 1
        if move < 0:
            events = backlog.first(-move)
            found += numbers(events)
            backlog.drop(len(events))
    assert found == list(range(put))
    assert len(backlog) == 0


def test_the_last_word_is_kept_apart(tmp_path: Path) -> None:
    backlog = Backlog(tmp_path / "spill")
    backlog.put(Stopped(step=3))
    assert backlog.outcome == Stopped(step=3)
    assert len(backlog) == 0


def test_waiting_ends_with_the_trainer(tmp_path: Path) -> None:
    backlog = Backlog(tmp_path / "spill")
    assert backlog.wait(0.01)
    threading.Timer(0.05, backlog.end).start()
    while backlog.wait(10):
        pass
    assert not backlog.wait(10)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk without room")
def test_on_a_full_disk_the_writer_waits_and_nothing_is_lost(tmp_path: Path) -> None:
    os.symlink("/dev/full", tmp_path / "spill")
    backlog = Backlog(tmp_path / "spill", in_memory=5)

    def speak() -> None:
        for number in range(50):
            backlog.put(line(number))
        backlog.end()

    writer = threading.Thread(target=speak)
    writer.start()
    writer.join(0.2)
    assert writer.is_alive()
    assert len(backlog) == 5
    found: list[int] = []
    while len(found) < 50:
        events = backlog.first(5)
        found += numbers(events)
        backlog.drop(len(events))
    writer.join(10)
    assert found == list(range(50))
