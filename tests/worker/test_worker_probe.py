"""A worker measures its machine: once, only while nothing else runs, in a process that leaves nothing behind."""

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from servers import until

from contract.machine import Machine
from worker import forkserver, probe
from worker.forkserver import ForkServer
from worker.probe import Probe
from worker.settings import Settings

Measuring = tuple[threading.Thread, threading.Event, threading.Event]


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    yield forkserver.start()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return Settings(home=tmp_path)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_machine_is_measured_and_remembered(server: ForkServer, settings: Settings, tmp_path: Path) -> None:
    busy, stopping = threading.Event(), threading.Event()
    machine = Probe(settings, server, None).look(busy, stopping)
    assert machine is not None
    assert (machine.threads, machine.torch) == (settings.threads(), torch.__version__)
    assert 0 < machine.kernel_seconds < 0.05 and 0 <= machine.step_seconds < 1 and 0.01 < machine.run_seconds < 30
    assert 1e8 < machine.flops < 1e15 and 1e8 < machine.bytes_per_second < 1e13
    assert 100e6 < machine.memory_bytes < 5e9
    kept = tmp_path / f"machine-{settings.threads()}.json"
    assert left(tmp_path) == [kept.name]

    before = time.monotonic()
    assert Probe(settings, server, None).look(busy, stopping) == machine
    assert time.monotonic() - before < probe.IDLE  # it did not even wait
    kept.write_text(Machine(**{**machine.model_dump(), "torch": "0.0"}).model_dump_json())
    assert Probe(settings, server, None)._known() is None


@pytest.fixture
def measuring(server: ForkServer, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measuring:
    """A probe in the middle of a measurement: its thread, `busy` and `stopping`."""
    monkeypatch.setattr(probe, "IDLE", 0.05)
    busy, stopping = threading.Event(), threading.Event()
    looking = threading.Thread(target=Probe(settings, server, None).look, args=(busy, stopping))
    looking.start()
    until(lambda: any(name.startswith("potstill-probe-") for name in left(tmp_path)), what="a measurement")
    return looking, busy, stopping


def test_a_job_ends_a_measurement_and_it_is_begun_again(measuring: Measuring, settings: Settings, tmp_path: Path) -> None:
    looking, busy, _stopping = measuring
    busy.set()
    until(lambda: left(tmp_path) == [], what="its end")
    time.sleep(0.3)
    assert left(tmp_path) == [] and looking.is_alive()
    busy.clear()
    until(lambda: left(tmp_path) == [f"machine-{settings.threads()}.json"], seconds=60, what="the next one's end")
    looking.join(10)
    assert not looking.is_alive()


def test_a_worker_that_leaves_takes_its_measurement_along(measuring: Measuring, settings: Settings, tmp_path: Path) -> None:
    looking, _busy, stopping = measuring
    stopping.set()
    looking.join(10)
    assert not looking.is_alive() and left(tmp_path) == []
    assert not any(process.status() == psutil.STATUS_ZOMBIE for process in psutil.Process().children())
