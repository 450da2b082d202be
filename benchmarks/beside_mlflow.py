"""`python -m benchmarks.beside_mlflow`: the service beside MLflow's tracking server, each on a database of its own in one Postgres.

Both are asked by this process in turn, each the way that is faster for it: ours over a connection that stays open, MLflow's over new ones.
MLflow's server runs as it comes (`mlflow server` with a Postgres as its store), in a Python of its own: --python names one that has mlflow
and psycopg, else a virtual environment is made. MLflow gets its points over HTTP, a thousand in a batch, which is the most it takes; ours
go the way of a trainer's: a process, its pipe, the backlog and the sink.
"""

import argparse
import contextlib
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import sqlalchemy as sa

from benchmarks import figures, rows, stored
from benchmarks.service import until
from contract.events import RUN_EVENT, Step
from models import claims
from models.blobs import Blobs
from models.results import MetricPoint
from models.session import Database
from worker.backlog import Backlog
from worker.sink import Sink

ROUNDS, EACH = 7, 100
POINTS, BATCH = 20_000, 1000
NAMES = ["train/loss", "train/accuracy", "lr", "steps_per_second"]
PARAMS = [{"key": f"param-{i}", "value": "0.1"} for i in range(10)]


class Mlflow:
    """Its tracking server. Asked over a new connection each time, which is better for it: on one that stays open its answers leave in two
    packets, the second of which waits 40 ms for the acknowledgement of the first."""

    def __init__(self, python: Path, url: str, folder: Path) -> None:
        self.port = stored.free_port()
        command = [str(python), "-m", "mlflow", "server", "--backend-store-uri", url, "--port", str(self.port)]
        command += ["--default-artifact-root", str(folder / "artifacts")]
        self.log = (folder / "mlflow.log").open("wb")
        self.process = subprocess.Popen(command, cwd=folder, stdout=self.log, stderr=self.log, start_new_session=True)
        self.connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        until(self._ready, 180)

    def _ready(self) -> bool:
        try:
            self.connection.request("GET", "/health")
            return self.connection.getresponse().read() == b"OK"
        except OSError:
            self.connection.close()
            return False

    def ask(self, method: str, path: str, **body: Any) -> tuple[float, Any]:
        started = time.perf_counter()
        content, headers = (json.dumps(body).encode(), {"Content-Type": "application/json"}) if body else (None, {})
        self.connection.request(method, f"/api/2.0/mlflow/{path}", content, headers)
        response = self.connection.getresponse()
        answer = response.read()
        taken = time.perf_counter() - started
        self.connection.close()
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {answer[:300]!r}")
        return taken, json.loads(answer or b"{}")

    def new_run(self) -> tuple[float, str]:
        taken, answer = self.ask("POST", "runs/create", experiment_id="0", start_time=round(1000 * time.time()), tags=[])
        return taken, answer["run"]["info"]["run_id"]

    def log_points(self, run: str, names: list[str], steps: int) -> float:
        """Seconds for all of them."""
        started = time.perf_counter()
        each = BATCH // len(names)
        for first in range(0, steps, each):
            moment = round(1000 * time.time())
            batch = [
                {"key": name, "value": 1.0 / (1 + step), "timestamp": moment, "step": step}
                for step in range(first, first + each)
                for name in names
            ]
            self.ask("POST", "runs/log-batch", run_id=run, metrics=batch)
        return time.perf_counter() - started

    def stop(self) -> None:
        self.connection.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 15)
        self.process.wait(30)


def _train(events: Connection, names: list[str], steps: int) -> None:
    """What a trainer does with its news (worker/trainer.py)."""
    for step in range(steps):
        news = Step(step=step, total_steps=steps, epoch=0, metrics=dict.fromkeys(names, 1.0 / (1 + step)))
        events.send_bytes(news.model_dump_json().encode())
    events.close()


def sink_seconds(database: Database, blobs: Blobs, folder: Path, names: list[str], steps: int) -> float:
    """From the first that a process emits until all are committed."""
    with database.write() as session:
        claim = claims.claim(session, "wrk_benchmark", 600)
    assert claim is not None
    backlog = Backlog(folder / f"{claim.job_id}.spill")
    sink = Sink(database, blobs, claim, backlog)
    incoming, outgoing = multiprocessing.Pipe(duplex=False)
    trainer = multiprocessing.get_context("fork").Process(target=_train, args=(outgoing, names, steps))

    def drain() -> None:
        with contextlib.suppress(EOFError):
            while True:
                backlog.put(RUN_EVENT.validate_json(incoming.recv_bytes()))
        backlog.end()

    started = time.perf_counter()
    trainer.start()
    outgoing.close()
    threading.Thread(target=drain).start()
    while backlog.wait(0.05):
        if sink.due():
            sink.flush()
    sink.flush()
    taken = time.perf_counter() - started
    trainer.join()
    with database.read() as session:
        kept = session.scalar(sa.select(sa.func.count()).where(MetricPoint.job_id == claim.job_id))
    assert kept == steps * len(names), kept
    return taken


def measure(ours: stored.Api, theirs: Mlflow, database: Database, folder: Path) -> list[dict[str, Any]]:
    blobs = Blobs((folder / "artifacts").as_uri())
    spec = json.dumps(rows.TRAIN).encode()
    job = json.loads(ours.ask("GET", "/v1/jobs?kind=distill&status=succeeded&limit=1")[1])["data"][0]["id"]
    history = json.loads(ours.ask("GET", "/v1/jobs?name=history")[1])["data"][0]["id"]
    _, run = theirs.new_run()
    theirs.ask("POST", "runs/log-batch", run_id=run, params=PARAMS)
    theirs.log_points(run, ["loss"], POINTS)
    asked = f"run_id={run}&metric_key=loss&max_results={POINTS}"
    raw, thinned = f"metrics/get-history?{asked}", f"metrics/get-history-bulk-interval?run_ids={run}&metric_key=loss&max_results=500"
    points = len(theirs.ask("GET", raw)[1]["metrics"])
    assert points == POINTS, points

    def get(path: str) -> Callable[[], float]:
        return lambda: ours.ask("GET", path)[0]

    def their(path: str) -> Callable[[], float]:
        return lambda: theirs.ask("GET", path)[0]

    # what; how many in a round; ours; theirs; which ratio is asked for
    compared: list[tuple[str, int, Callable[[], float], Callable[[], float], float]] = [
        ("poll one job · get-run", EACH, get(f"/v1/jobs/{job}"), their(f"runs/get?run_id={run}"), 5),
        ("submit · create-run", EACH, lambda: ours.ask("POST", "/v1/jobs", spec)[0], lambda: theirs.new_run()[0], 3),
        ("20,000 points out, raw · get-history", 4, get(f"/v1/jobs/{history}/metrics"), their(raw), 5),
        ("20,000 points out, 500 of them · get-history", 4, get(f"/v1/jobs/{history}/metrics?max_points=500"), their(raw), 50),
        ("20,000 points out, 500 of them · its own sampling", 4, get(f"/v1/jobs/{history}/metrics?max_points=500"), their(thinned), 1),
        (
            "20,000 points in, emit to committed · log-batch",
            1,
            lambda: sink_seconds(database, blobs, folder, NAMES, POINTS // len(NAMES)),
            lambda: theirs.log_points(theirs.new_run()[1], NAMES, POINTS // len(NAMES)),
            10,
        ),
    ]
    found = []
    for what, each, our, other, target in compared:
        times: dict[str, list[list[float]]] = {"ours": [], "theirs": []}
        for _ in range(ROUNDS):
            times["ours"].append([our() for _ in range(each)])
            times["theirs"].append([other() for _ in range(each)])
        ratios = [median(b) / median(a) for a, b in zip(times["ours"], times["theirs"], strict=True)]
        pooled = {name: figures.spread(list(itertools.chain(*all_))) for name, all_ in times.items()}
        tails = pooled["theirs"]["p99"] / pooled["ours"]["p99"]
        ratio = {"median": median(ratios), "low": min(ratios), "high": max(ratios), "p99": tails}
        found.append({"what": what, **pooled, "ratio": ratio, "target": target})
        print(f"{what:52} {pooled}  {ratio['median']:.2f} ({min(ratios):.2f} to {max(ratios):.2f}), p99 {tails:.2f}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, help="A Python that has mlflow and psycopg.")
    parser.add_argument("--data", type=Path, help="Folder where the filled server stays.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="potstill-bench-") as temporary:
        folder = Path(temporary)
        python = given.python or _venv(folder / "mlflow")
        its = subprocess.run([python, "-c", "import mlflow; print(mlflow.__version__)"], check=True, capture_output=True, text=True).stdout
        with stored.postgres((given.data or folder) / "pg") as server:
            url = stored.database(server, "beside", lambda url: rows.fill(url, folder, 1000, {"history": (1, POINTS)}))
            its_url = stored.database(server, f"mlflow_{time.time_ns()}", lambda url: None)
            ours, theirs, database = stored.Api(url, folder / "home"), Mlflow(python, its_url, folder), Database(url)
            try:
                found = measure(ours, theirs, database, folder)
            finally:
                ours.stop()
                theirs.stop()
                database.dispose()
    figures.write("beside-mlflow", "python -m benchmarks.beside_mlflow", rounds=ROUNDS, mlflow=its.strip(), rows=found)


def _venv(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "mlflow>=3.5,<4", "psycopg[binary]"], check=True)
    return python


if __name__ == "__main__":
    main()
