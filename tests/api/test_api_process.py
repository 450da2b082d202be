"""The API as a process: fast to start, small, quick to leave, clear when it cannot start; and its health."""

import importlib.metadata
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from real_service import SETTINGS, Api, Running, problem, start

import migrations
from api import health
from api.queue import Bell
from api.serve import bind
from api.settings import Settings
from contract.errors import PotstillError
from models.base import REVISION, now
from models.project import ensure_key
from models.service import Worker
from models.session import Database

KEY = "psk_" + "k" * 43
PATIENCE = 3.0  # with a broker that says nothing
PROGRAM = """
import sys
from contract.errors import PotstillError
from api.serve import serve
from api.settings import Settings
try:
    serve(Settings(), lambda url: print(url, flush=True), schema_head=sys.argv[1] if len(sys.argv) > 1 else None)
except PotstillError as error:
    sys.exit(f"{error.detail} | {error.hint}")
print("left", flush=True)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A store with its tables and one key."""
    url = Settings(home=tmp_path, database_url="", artifacts_url="").database()
    migrations.upgrade(url)
    database = Database(url)
    with database.write() as session:
        ensure_key(session, KEY, "test")
    database.dispose()
    return tmp_path


Run = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def run(home: Path) -> Iterator[Run]:
    started: list[subprocess.Popen[str]] = []

    def go(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("POTSTILL_")}
        made = subprocess.Popen(
            [sys.executable, "-P", "-c", PROGRAM, *arguments],
            env={**clean, "POTSTILL_HOME": str(home), "POTSTILL_PORT": "0", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=home,
        )
        started.append(made)
        return made

    yield go
    for process in started:
        process.kill()
        process.communicate()


def address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url, process.communicate()
    return url


def memory(process: subprocess.Popen[str]) -> int:
    """Resident MiB."""
    line = next(line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024


def test_it_starts_fast_stays_small_and_leaves_at_once(run: Run) -> None:
    began = time.monotonic()
    process = run()
    url = address(process)
    assert httpx2.get(f"{url}/readyz", trust_env=False, verify=False).status_code == 200
    assert time.monotonic() - began < 4, "2 s on an idle machine"
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, verify=False) as http:
        spec = {"kind": "train", "task": "image-classification", "data": {"train": "digits"}, "student": {"arch": "logistic"}}
        for _ in range(20):
            assert http.post("/v1/jobs", json=spec).status_code == 202
        http.get("/openapi.json")
        job = http.get("/v1/jobs").json()["data"][0]["id"]
        assert memory(process) < 150
        with http.stream("GET", f"/v1/jobs/{job}/events/stream", timeout=20) as response:
            lines = response.iter_lines()
            next(lines)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            for _ in lines:
                pass
    out, err = process.communicate(timeout=5)
    assert out.strip() == "left" and process.returncode == 0, err
    assert time.monotonic() - began < 3
    assert '"path": "/v1/jobs"' in err and KEY not in err and "Traceback" not in err


def test_answers_do_not_wait_for_nagle(run: Run) -> None:
    """Sockets made by hand keep Nagle's algorithm on unless the protocol is named: each answer then takes 40 ms."""
    with httpx2.Client(base_url=address(run()), trust_env=False, verify=False) as http:
        http.get("/livez")
        began = time.monotonic()
        for _ in range(30):
            http.get("/livez")
        assert (time.monotonic() - began) / 30 < 0.02


def test_a_port_in_use_is_one_clear_line(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = run(POTSTILL_PORT=str(port))
        out, err = process.communicate(timeout=20)
    assert process.returncode == 1 and out == ""
    assert (
        err.strip()
        == f"Port {port} of 127.0.0.1 is in use by another program. | Stop that, or choose another: --port {port + 1} or POTSTILL_PORT."
    )


def test_a_host_of_somebody_else_is_refused() -> None:
    with pytest.raises(PotstillError, match=r"192\.0\.2\.1"):
        bind("192.0.2.1", 0)
    with pytest.raises(PotstillError, match="no address"):
        bind("no.such.host.invalid", 0)


def test_missing_tables_are_not_served(run: Run) -> None:
    process = run("9999")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1 and "9999" in err and "potstill migrate" in err


def test_readiness_follows_the_database(home: Path, tmp_path: Path) -> None:
    url = Settings(home=home, database_url="", artifacts_url="").database()
    head = migrations.ScriptDirectory.from_config(migrations.config(url)).get_current_head()
    for needed, status in ((head, 200), ("9999", 503)):
        made, stop = start(Settings(home=home, database_url=url, broker_url="", artifacts_url="", **SETTINGS), needed)
        answer = httpx2.get(f"{made.url}/readyz", trust_env=False, verify=False)
        assert answer.status_code == status, answer.text
        if status == 200:
            checks = {"database": "ok", "migrations": "ok", "workers": "none is alive; jobs wait until one starts", "broker": "ok"}
            assert answer.json() == {"status": "ready", "checks": checks}
        else:
            assert "potstill migrate" in problem(answer, "unavailable")["hint"]
        stop()
    gone = "postgresql://postgres@127.0.0.1:1/none"
    made, stop = start(Settings(home=home, database_url=gone, broker_url="", artifacts_url="", **SETTINGS), head)
    problem(httpx2.get(f"{made.url}/readyz", trust_env=False, verify=False), "unavailable")
    assert httpx2.get(f"{made.url}/livez", trust_env=False, verify=False).status_code == 200
    answer = httpx2.get(f"{made.url}/v1/jobs", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, verify=False)
    assert answer.status_code == 503 and answer.headers["retry-after"]
    stop()


TROUBLES: list[tuple[dict[str, Any], str]] = [
    ({}, "ok"),
    ({"deaf_since": now(-40)}, "has been deaf for 40 s; it finds jobs by looking"),
    ({"version": "0.0.1"}, "runs version 0.0.1, the API {version}: upgrade the older one"),
    ({"revision": "0000"}, "is made for tables 0000, not {revision}, and takes no jobs: upgrade it"),
    ({"revision": "9999"}, "is made for tables 9999, not {revision}, and takes no jobs: upgrade the API"),
    ({"version": "0.0.1", "last_heartbeat_at": now(-40)}, "none is alive; jobs wait until one starts"),
]


@pytest.mark.parametrize(("said", "trouble"), TROUBLES)
def test_readiness_names_workers_in_trouble(home: Path, said: dict[str, Any], trouble: str) -> None:
    version = importlib.metadata.version("potstill")
    database = Database(f"sqlite:///{home / 'potstill.db'}")
    with database.write() as session:
        session.add(Worker(**{"id": "wrk_1", "host": "box", "version": version, "devices": ["cpu"], "slots": 1, **said}))
    expected = trouble.format(version=version, revision=REVISION)
    found = health.workers(database, version)
    assert found.replace("41 s", "40 s") == (expected if expected == "ok" or "none" in expected else f"wrk_1 on host box {expected}")
    database.dispose()


def test_a_broker_that_is_away_keeps_nobody_waiting(home: Path) -> None:
    """It takes connections and never answers: the worst kind."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        broker = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        settings = Settings(home=home, database_url="", broker_url=broker, broker_timeout_seconds=PATIENCE, artifacts_url="", **SETTINGS)
        _submit_to_silence(*start(settings))


def _submit_to_silence(made: Running, stop: Callable[[], None]) -> None:
    spec = {"kind": "train", "task": "image-classification", "data": {"train": "digits"}, "student": {"arch": "logistic"}}
    with httpx2.Client(base_url=made.url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, verify=False) as http:
        began = time.monotonic()
        for _ in range(10):
            assert http.post("/v1/jobs", json=spec).status_code == 202
        assert time.monotonic() - began < PATIENCE, "ten answers within one broker timeout"
        ready = http.get("/readyz")
        assert ready.status_code == 200 and "not reachable" in ready.json()["checks"]["broker"]
    began = time.monotonic()
    stop()
    assert time.monotonic() - began < 5 + PATIENCE


def test_metrics_are_behind_a_key_on_other_addresses(home: Path) -> None:
    made, stop = start(Settings(home=home, database_url="", broker_url="", artifacts_url="", host="0.0.0.0", **SETTINGS))
    url = made.url.replace("0.0.0.0", "127.0.0.1")
    problem(httpx2.get(f"{url}/metrics", trust_env=False, verify=False), "missing_key")
    assert httpx2.get(f"{url}/metrics", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, verify=False).status_code == 200
    stop()


def test_metrics_name_routes_and_never_jobs(api: Api) -> None:
    spec = {"kind": "train", "task": "image-classification", "data": {"train": "digits"}, "student": {"arch": "logistic"}}
    job = api.submit(spec)["id"]
    api.get(f"/v1/jobs/{job}")
    api.get("/v1/made/up/path")
    text = api.get("/metrics").text
    assert 'potstill_jobs{status="queued"} 1.0' in text and 'potstill_jobs{status="failed"} 0.0' in text
    assert "potstill_queue_depth 1.0" in text
    assert 'potstill_http_requests_total{method="GET",route="/v1/jobs/{job_id}",status="200"}' in text
    assert 'route="unmatched"' in text and "made/up" not in text and job not in text
    assert "potstill_http_request_duration_seconds_bucket" in text


def test_the_bell_rings_after_the_commit(api: Api) -> None:
    """With the file broker a ring is a file that names the task and the job."""
    folder = api.running.settings.home_path() / "doorbell"
    spec = {"kind": "train", "task": "image-classification", "data": {"train": "digits"}, "student": {"arch": "logistic"}}
    job = api.submit(spec)["id"]
    deadline = time.monotonic() + 5
    while not any(job in path.read_text() for path in folder.glob("*.msg")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert any("potstill.look" in path.read_text() for path in folder.glob("*.msg"))


def test_the_bell_forgets_what_it_cannot_tell() -> None:
    bell = Bell(("redis://127.0.0.1:1/0", {}), 0.2)
    bell.start()
    began = time.monotonic()
    for i in range(5000):
        bell.ring(f"job_{i}")
    assert time.monotonic() - began < 0.5
    bell.stop()
    assert time.monotonic() - began < 5 and not bell.reachable()


def test_nothing_heavy_is_imported() -> None:
    heavy = ("torch", "pandas", "sklearn", "numpy", "pyarrow", "celery", "transformers", "distill")
    program = f"import sys, api.main, api.serve; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_reads_nothing(tmp_path: Path) -> None:
    program = "import api.main, api.serve"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "POTSTILL_PORT": "nonsense"}
    subprocess.run([sys.executable, "-P", "-c", program], env=environment, cwd=tmp_path, check=True)
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_killed_uploads_are_swept(tmp_path: Path) -> None:
    from api.multipart import sweep

    old, new = tmp_path / "upload-old", tmp_path / "upload-new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "0").write_bytes(b"x")
    slow = tmp_path / "upload-slow"
    slow.mkdir()
    (slow / "0").write_bytes(b"a byte came a moment ago")
    for path in (old / "0", old, slow):
        os.utime(path, (time.time() - 3 * 86_400,) * 2)
    sweep(tmp_path)
    sweep(tmp_path / "nowhere")
    assert [folder.exists() for folder in (old, new, slow)] == [False, True, True]
