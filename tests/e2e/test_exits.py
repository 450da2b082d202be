"""How the processes leave, asked or killed: nothing of theirs stays behind, and nothing of it is in the way of the next start.

What becomes of the jobs is for test_killed_workers.py and tests/chaos.
"""

import contextlib
import http.client
import json
import os
import pty
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from servers import CLI, Process, Service, trainers, until
from sqlalchemy import select

from models.job import Event
from models.session import Database
from potstill.errors import PotstillError

PATIENCE = 60  # an idle machine needs a tenth of it
ENDLESS: dict[str, Any] = {
    "kind": "train",
    "task": "image-classification",
    "data": {"train": "digits", "test": "digits"},
    "student": {"arch": "mlp", "hidden": [8]},
    "training": {"epochs": 100_000, "checkpoint_every_seconds": 0.5},
}


def there(processes: list[psutil.Process]) -> list[str]:
    """Those that still are; a zombie is only a line in its parent's book."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[-80:])
    return found


def gone(processes: list[psutil.Process], seconds: float) -> None:
    end = time.monotonic() + seconds
    while left := there(processes):
        assert time.monotonic() < end, left
        time.sleep(0.02)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all these tests, each of which leaves it running; a lease of six seconds, so that five of them can be waited out."""
    running = Service(tmp_path_factory.mktemp("exits") / "home", POTSTILL_LEASE_SECONDS="6", POTSTILL_RENEW_SECONDS="1")
    with running.client() as client:
        client.jobs.submit(ENDLESS)
    yield running
    if there([running.process.ps]):
        running.stop()


def state(service: Service) -> tuple[str, int]:
    """Of its only job: status and attempt. None while the API is away."""
    with contextlib.suppress(PotstillError), service.client() as client:
        (job,) = client.jobs.page().data
        return job.status, job.attempt
    return "unknown", 0


def below(service: Service) -> dict[str, psutil.Process]:
    """Everything of `up`, once the job runs."""
    found: dict[str, psutil.Process] = {}

    def complete() -> bool:
        worker = service.worker()
        with contextlib.suppress(psutil.NoSuchProcess, StopIteration, IndexError):
            found["fork server"] = next(p for p in worker.children() if "forkserver" in " ".join(p.cmdline()))
            found["trainer"] = trainers(worker)[0]
            found["api"], found["worker"] = service.process.child("--host"), worker
            return state(service)[0] == "running"
        return False

    until(complete, PATIENCE, "a running job")
    return found


VICTIMS = [("trainer", set()), ("fork server", {"trainer"}), ("api", set()), ("worker", {"fork server", "trainer"})]


@pytest.mark.parametrize(("victim", "heirs"), VICTIMS, ids=[victim for victim, _ in VICTIMS])
def test_what_is_killed_below_up_takes_its_own_with_it_and_comes_back(service: Service, victim: str, heirs: set[str]) -> None:
    before = below(service)
    attempt = state(service)[1]
    before[victim].kill()
    gone([before[name] for name in {victim, *heirs}], 1)
    others = before.keys() - {victim, *heirs}
    assert len(there([before[name] for name in others])) == len(others)
    if victim == "api":
        until(lambda: state(service) == ("running", attempt), PATIENCE, "the API again, and a job that has not noticed")
    else:
        until(lambda: state(service) == ("running", attempt + 1), PATIENCE, "the next attempt")
    if victim in ("api", "worker"):
        assert f"the {victim} died (signal 9); starting it again" in service.process.said()


def test_a_stopped_worker_loses_its_trainer_before_its_lease(service: Service) -> None:
    """At 25 of 30 seconds with the default lease; here at 5 of 6."""
    running = below(service)
    running["worker"].suspend()
    began = time.monotonic()
    gone([running["trainer"]], 5.2)
    assert time.monotonic() - began > 3.5, "not before it had to: the last beat was a second old"
    running["worker"].kill()  # it would not hear SIGTERM
    gone([running["fork server"]], 1)


def test_kill_of_up_leaves_nothing_and_the_next_start_has_the_same_home_and_port(service: Service) -> None:
    below(service)
    family = service.process.ps.children(recursive=True)
    service.process.kill()
    service.start()  # at once, while the old API and the old worker are still leaving
    gone(family, 5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_up_leaves_in_order_when_asked(service: Service, number: signal.Signals) -> None:
    below(service)
    family = service.process.ps.children(recursive=True)
    group = [p for p in family if os.getpgid(p.pid) == os.getpgid(service.process.popen.pid)]
    for process in group if number == signal.SIGINT else []:  # a terminal tells everyone at once
        process.send_signal(number)
    leaving = re.findall(r"wrk_[0-9a-f]{32}", service.process.said())[-1]
    assert service.process.stop(number, 20) == 0
    gone(family, 1)
    assert (service.home / "up.lock").read_text() == ""
    assert not list((service.home / "doorbell").glob(f"*{leaving}*")), "something is left in the worker's own queue"
    assert "gave back" in service.process.said()
    service.start()


def test_a_second_ctrl_c_ends_up_at_once(service: Service) -> None:
    below(service)["trainer"].suspend()  # one that does not come to its next step
    family = service.process.ps.children(recursive=True)
    service.process.popen.send_signal(signal.SIGINT)
    until(lambda: "stopping" in service.process.said(), what="the farewell")
    with pytest.raises(subprocess.TimeoutExpired):
        service.process.popen.wait(1)
    assert service.process.stop(signal.SIGINT, 15) == 130
    gone(family, 5)


def test_a_closed_terminal_ends_up_in_order(service: Service) -> None:
    """Its words have nowhere to go any more, and that must not end the farewell."""
    if there([service.process.ps]):
        service.stop()
    child, terminal = pty.fork()
    if child == 0:
        os.environ["POTSTILL_HOME"] = str(service.home)
        os.execv(CLI[0], [*CLI, "up", "--port", "0", "--slots", "1"])
    said = b""
    while b"Ctrl-C stops" not in said or b"claimed" not in said:
        said += os.read(terminal, 4096)
    family = psutil.Process(child).children(recursive=True)
    os.close(terminal)
    assert os.waitpid(child, 0)[1] == 0
    gone(family, 1)
    assert (service.home / "up.lock").read_text() == ""
    with Database(f"sqlite:///{service.home / 'potstill.db'}").read() as session:
        last = session.scalar(select(Event.message).where(Event.type == "status").order_by(Event.seq.desc()).limit(1))
    assert last is not None and "the worker is shutting down" in last


@pytest.fixture
def store(tmp_path: Path) -> dict[str, str]:
    """A database with its tables and a key, for an API and a worker that are on their own."""
    environment = {"POTSTILL_HOME": str(tmp_path / "home"), "POTSTILL_PORT": "0", "POTSTILL_KEY": "psk_" + "k" * 40}
    assert Process(tmp_path, "migrate", **environment).popen.wait(30) == 0
    return environment


def test_a_worker_leaves_when_asked_while_it_starts(tmp_path: Path, store: dict[str, str]) -> None:
    early = Process(tmp_path, "worker", **store)
    until(lambda: early.ps.children(), what="the start of the fork server")
    family = early.ps.children(recursive=True)
    assert early.stop(signal.SIGTERM) == 0, early.said()
    gone([early.ps, *family], 1)


# ---- the API's farewell


@contextlib.contextmanager
def api(folder: Path, environment: dict[str, str]) -> Iterator[tuple[Process, int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = Process(folder, "api", "--port", str(port), **environment)
    try:
        until(lambda: _lives(port), what="the API")
        yield process, port
    finally:
        process.kill()


def _lives(port: int) -> bool:
    with contextlib.suppress(OSError):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    return False


def _ask(port: int, method: str, path: str, body: bytes | Iterator[bytes] | None = None) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"Authorization": "Bearer psk_" + "k" * 40, "Content-Type": "application/json"}
    connection.request(method, path, body, headers, encode_chunked=body is not None and not isinstance(body, bytes))
    return connection.getresponse()


SPEC = json.dumps({"kind": "train", "task": "image-classification", "data": {"train": "digits"}, "student": {"arch": "logistic"}}).encode()


def test_the_api_ends_streams_and_finishes_what_was_asked(tmp_path: Path, store: dict[str, str]) -> None:
    with api(tmp_path, store) as (process, port):
        job = json.loads(_ask(port, "POST", "/v1/jobs", SPEC).read())["id"]
        stream = _ask(port, "GET", f"/v1/jobs/{job}/events/stream")
        assert stream.readline()
        asked = threading.Event()

        def slowly() -> Iterator[bytes]:
            yield SPEC[:20]
            asked.wait(10)
            time.sleep(0.5)  # within the three seconds that requests have
            yield SPEC[20:]

        answers: list[tuple[int, bytes]] = []

        def submit() -> None:
            answer = _ask(port, "POST", "/v1/jobs", slowly())
            answers.append((answer.status, answer.read()))

        client = threading.Thread(target=submit)
        client.start()
        until(lambda: len(psutil.Process(process.popen.pid).net_connections()) >= 3, what="both connections")
        process.popen.send_signal(signal.SIGTERM)
        began = time.monotonic()
        asked.set()
        stream.read()  # to its proper end: a chunked body that is cut off raises IncompleteRead
        assert process.popen.wait(10) == 0
        assert time.monotonic() - began < 3
        client.join()
        (answer,) = answers
        assert answer[0] == 202 and json.loads(answer[1])["status"] == "queued"
        assert "Traceback" not in process.said()


def test_the_api_does_not_wait_for_those_who_never_end(tmp_path: Path, store: dict[str, str]) -> None:
    """A body that never comes: after three seconds it is refused, and not with half an answer."""
    with api(tmp_path, store) as (process, port), socket.create_connection(("127.0.0.1", port)) as silent:
        head = f"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer psk_{'k' * 40}\r\nContent-Type: application/json\r\n"
        silent.sendall(f"{head}Content-Length: 1000\r\n\r\n{{".encode())
        until(lambda: len(psutil.Process(process.popen.pid).net_connections()) >= 2, what="the connection")
        began = time.monotonic()
        assert process.stop(signal.SIGTERM, 10) == 0
        assert time.monotonic() - began < 6
        silent.settimeout(1)
        answer = b"".join(iter(lambda: silent.recv(65_536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ") and f"content-length: {len(body)}".encode() in head.lower(), answer
        assert json.loads(body)["detail"] == "The service is shutting down."


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_the_api_leaves_when_asked_otherwise(tmp_path: Path, store: dict[str, str], number: signal.Signals) -> None:
    with api(tmp_path, store) as (process, _):
        assert process.stop(number, 5) == 0
