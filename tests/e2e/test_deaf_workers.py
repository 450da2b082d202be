"""A worker that the broker's messages do not reach finds its jobs by looking, and says that it is deaf."""

import contextlib
import os
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis as redis_client
import structlog
from kombu.transport.redis import MultiChannelPoller
from servers import Process, free_port, redis_executable, until

import migrations
from models.service import Worker
from models.session import Database
from potstill import Client
from worker.doorbell import Doorbell
from worker.settings import Settings

KEY = "psk_" + "k" * 40
SHORT: dict[str, Any] = {
    "kind": "train",
    "task": "image-classification",
    "data": {"train": "digits"},
    "student": {"arch": "logistic"},
    "training": {"epochs": 1},
}


class Redis:
    """A server that can be killed and come back at its address."""

    def __init__(self) -> None:
        self.port = free_port()
        self.start()

    def start(self) -> None:
        command = [redis_executable(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = psutil.Popen(command, stdout=subprocess.DEVNULL)
        until(self._listens, what="Redis")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def keys(self) -> dict[str, int]:
        """Name → milliseconds it is kept; -1 for ever."""
        with redis_client.Redis(port=self.port) as client:
            return {name.decode(): client.pttl(name) for name in client.keys("*")}


@pytest.fixture
def broker() -> Iterator[Redis]:
    server = Redis()
    yield server
    with contextlib.suppress(psutil.NoSuchProcess):
        server.kill()


def test_a_deaf_worker_says_so_finds_its_jobs_and_hears_again(tmp_path: Path, broker: Redis) -> None:
    environment = {"POTSTILL_HOME": str(tmp_path / "home"), "POTSTILL_KEY": KEY, "POTSTILL_BROKER_URL": broker.url}
    assert Process(tmp_path, "migrate", **environment).popen.wait(60) == 0
    port = free_port()
    api = Process(tmp_path, "api", "--port", str(port), **environment)
    worker = Process(tmp_path, "worker", **environment, POTSTILL_DOORBELL_SECONDS="0.5", POTSTILL_LOG_FORMAT="console")

    def check() -> str:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            assert answer.status == 200
            return str(answer.read())
        return "no answer"

    try:
        until(lambda: '"workers":"ok"' in check(), 60, "a worker that hears")
        until(lambda: " ready " in worker.said(), 10, "its word that it is")
        assert '"event"' not in worker.said(), "its log is as POTSTILL_LOG_FORMAT says"
        with Client(url=f"http://127.0.0.1:{port}", key=KEY) as client:
            for failing in ("killed", "stopped"):
                broker.kill() if failing == "killed" else broker.process.suspend()
                until(lambda: "it finds jobs by looking" in check(), 20, "a word of deafness")
                (view,) = client.workers.list()
                assert view.alive and view.deaf_since is not None
                job = client.jobs.submit(SHORT)
                until(lambda found=job: client.jobs.get(found.id).status in ("running", "succeeded"), 5, "the job's start")
                broker.start() if failing == "killed" else broker.process.resume()
                until(lambda: '"workers":"ok"' in check(), 45, f"a worker that hears again after Redis was {failing}")
                (view,) = client.workers.list()
                assert view.deaf_since is None
        assert worker.said().count("deaf to the broker") == worker.said().count("hears the broker again") == 2, worker.said()
        worker.kill()
        kept = {name: left for name, left in broker.keys().items() if "wrk_" in name}
        assert all(0 < left <= 60_000 for left in kept.values()), kept
    finally:
        worker.kill()
        api.kill()


@pytest.fixture
def bell(tmp_path: Path, broker: Redis, request: pytest.FixtureRequest) -> Iterator[tuple[Doorbell, threading.Event]]:
    """In this process; the event is set by a ring. The broker is Redis, or files where the test says so."""
    files = getattr(request, "param", "redis") == "files"
    settings = Settings(home=tmp_path, broker_url="" if files else broker.url, doorbell_seconds=0.2)
    migrations.upgrade(settings.database())
    database = Database(settings.database())
    with database.write() as session:
        session.add(Worker(id="wrk_1", host="h", version="1", devices=[], slots=1))
    rung = threading.Event()
    made = Doorbell(settings, database, "wrk_1", rung.set)
    with structlog.testing.capture_logs():
        yield made, rung
        made.stop()
    database.dispose()


@pytest.mark.parametrize("fate", ["hangs", "dies"])
def test_a_consumer_that_fails_is_replaced(bell: tuple[Doorbell, threading.Event], monkeypatch: pytest.MonkeyPatch, fate: str) -> None:
    doorbell, rung = bell
    released, get = threading.Event(), MultiChannelPoller.get

    def failing(self: MultiChannelPoller, *arguments: Any, **options: Any) -> Any:
        if threading.current_thread() is not first:
            return get(self, *arguments, **options)
        released.wait(60 if fate == "hangs" else 0)
        raise ValueError("something that Celery does not recover from")

    doorbell.start()
    (first,) = doorbell._threads
    monkeypatch.setattr(MultiChannelPoller, "get", failing)
    until(lambda: doorbell._threads[-1] is not first, 20, "another consumer")
    assert first.is_alive() == (fate == "hangs")
    replaced_at = time.monotonic()
    until(lambda: doorbell._heard_at > replaced_at, 20, "a ping")
    doorbell._ringer.send_task("potstill.look", args=["job_1"], queue="potstill", ignore_result=True)
    assert rung.wait(10)
    released.set()
    until(lambda: not first.is_alive(), 20, "the end of the one that hung")


@pytest.mark.parametrize("bell", ["files"], indirect=True)
def test_a_message_cut_short_is_a_lost_ring_and_no_more(bell: tuple[Doorbell, threading.Event], tmp_path: Path) -> None:
    """Files are not written at a stroke: a consumer may read one before it is complete."""
    doorbell, rung = bell
    doorbell.start()
    torn = tmp_path / "doorbell" / "1_x.potstill.msg"
    torn.write_text("")
    until(lambda: not torn.exists(), 20, "a look at it")
    doorbell._ringer.send_task("potstill.look", args=["job_1"], queue="potstill", ignore_result=True)
    assert rung.wait(10)
    assert len(doorbell._threads) == 1 and doorbell._threads[0].is_alive()


@pytest.mark.parametrize("bell", ["redis", "files"], indirect=True)
def test_rings_are_heard_and_nothing_is_left_after_leaving(bell: tuple[Doorbell, threading.Event], broker: Redis, tmp_path: Path) -> None:
    doorbell, rung = bell
    if (tmp_path / "doorbell").is_dir():
        killed = tmp_path / "doorbell" / "1_x.potstill.wrk_0.msg"
        killed.touch()
        os.utime(killed, (1, 1))
    doorbell.start()
    before = time.monotonic()
    until(lambda: doorbell._heard_at > before, 20, "the first ping")
    doorbell._ringer.send_task("potstill.look", args=["job_1"], queue="potstill", ignore_result=True)
    assert rung.wait(5)
    assert not doorbell.deaf
    doorbell.stop()
    until(lambda: not [name for name in list(broker.keys()) if "wrk_" in name], 5, "an empty broker")
    assert not list((tmp_path / "doorbell").glob("*.wrk_*")), "nor files"
