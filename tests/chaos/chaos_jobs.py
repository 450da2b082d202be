"""The jobs that are broken, and the words to say what became of them."""

import functools
import hashlib
import json
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from chaos_faults import Trial, each
from chaos_servers import Postgres
from chaos_world import PYTHON, Deployment, Worker, living
from servers import until

from models.job import Job

EVERY = 0.1  # seconds between checkpoints
DATA = {"train": "digits", "test": "digits"}
JOB: dict[str, Any] = {
    "kind": "train",
    "task": "image-classification",
    "data": DATA,
    "student": {"arch": "mlp", "hidden": [32], "dropout": 0.1},
    "training": {
        "epochs": 120,
        "checkpoint_every_seconds": EVERY,
        "optimizer": {"lr": 1e-3},
        "schedule": {"name": "cosine", "warmup": 20},
    },
}
STEPS = 120 * 23


def job(**training: Any) -> dict[str, Any]:
    return {**JOB, "training": {**JOB["training"], **training}}


REFERENCE = """
import sys, pathlib
from worker.forkserver import prepare_environment
prepare_environment()
import torch
from contract.spec import JobSpec
from distill.inputs import Inputs
from distill.train import run
torch.set_num_threads(int(sys.argv[1]))
folder = pathlib.Path(sys.argv[2])
run(JobSpec.model_validate_json(sys.argv[3]), folder, lambda event: None, lambda: False, inputs=Inputs(folder / "cache", {}, {}))
"""


def undisturbed(spec: dict[str, Any], threads: int) -> str:
    """SHA-256 of the weights that this spec leads to without a service, and without anything happening."""
    return _undisturbed(json.dumps(spec), threads)


@functools.cache
def _undisturbed(spec: str, threads: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*PYTHON, REFERENCE, str(threads), folder, spec], check=True, capture_output=True)
        return hashlib.sha256((Path(folder) / "result" / "student" / "model.safetensors").read_bytes()).hexdigest()


class World(Deployment):
    """A deployment on SQLite or on a Postgres of its own, and what trials want of it."""

    def __init__(self, folder: Path, backend: str = "sqlite", address: str = "127.0.0.1", **more: Any) -> None:
        self.backend, self.threads = backend, max(1, len(os.sched_getaffinity(0)) // more.get("slots", 1))
        self.server = Postgres(address) if backend == "postgres" else None
        url = self.server.url(self.server.new_database()) if self.server is not None else ""
        try:
            super().__init__(folder, database_url=url, **more)
        except BaseException:
            self._close_server()
            raise

    def close(self) -> None:
        super().close()
        self._close_server()

    def _close_server(self) -> None:
        if self.server is not None:
            self.server.close()

    def weights(self, job_id: str) -> str:
        return next((a.sha256 for a in self.client.jobs.artifacts(job_id) if a.path == "student/model.safetensors"), "none")

    def step(self, job_id: str) -> int:
        return int(self.row(job_id).progress.get("step") or 0)

    def replace_the_dead(self) -> None:
        """A ready worker on each host again."""
        dead = [worker.host for worker in self.workers if not worker.alive]
        alive = {worker.host for worker in self.workers if worker.alive}
        for worker in [self.worker(host) for host in dict.fromkeys(dead) if host not in alive]:
            worker.ready()
        for worker in self.workers:
            worker.ready()

    def ends_well(self, trial: Trial, job_id: str, spec: dict[str, Any] | None = None, attempts: int = 1) -> Job:
        """It succeeds, exactly once, with the weights of an undisturbed run, after `attempts` or more."""
        row = self.wait(job_id, 240)
        trial.violations += self.check(job_id)
        trial.expect(row.status == "succeeded", f"it ended {row.status}: {row.error}")
        trial.expect(row.attempt >= attempts, f"nothing happened to it: attempt {row.attempt}")
        if spec is not None and row.status == "succeeded":
            trial.expect(self.weights(job_id) == undisturbed(spec, self.threads), "its weights are not those of an undisturbed run")
            trial.expect(not row.resumed_inexactly, "it is marked as resumed inexactly")
        trial.facts |= {"backend": self.backend, "attempts": row.attempt}
        return row

    def back_after(self, job_id: str, since: float, attempt: int, seconds: float = 120) -> float:
        """Waits until the attempt has been claimed; seconds from `since` until then, by the history's times."""

        def claimed() -> float | None:
            changes = [e for e in self.events(job_id, "status") if e.data["to"] == "running" and e.attempt >= attempt]
            return changes[0].created_at.timestamp() if changes else None

        return float(until(claimed, seconds, f"attempt {attempt}")) - since

    def kill(self, trial: Trial, worker: Worker) -> float:
        """kill -9 of a worker, and nothing of its family is left a second later; when it was killed."""
        family = worker.family()
        self.did("kill worker", worker=worker.id)
        at = time.time()
        worker.kill()
        self.no_orphans(trial, family)
        return at

    def no_orphans(self, trial: Trial, family: Iterable[Any], seconds: float = 5) -> None:
        began = time.monotonic()
        try:
            until(lambda: not living(list(family)), seconds)
        except TimeoutError:
            trial.violations.append(f"left behind: {[(p.ppid(), p.pid, p.status(), p.cmdline()[-1][:60]) for p in living(list(family))]}")
        trial.facts["orphans_gone"] = round(time.monotonic() - began, 3)


def on_both(
    name: str, folder: Path, seeds: Iterable[int], one: Callable[[World, random.Random, Trial], None], **more: Any
) -> Iterator[Trial]:
    """Even seeds on SQLite, odd ones on Postgres; one deployment each."""
    for number, backend in enumerate(("sqlite", "postgres")):
        mine = [seed for seed in seeds if seed % 2 == number]
        yield from each(name, mine, lambda backend=backend: World(_fresh(folder), backend, **more), one)  # type: ignore[misc]


def on_sqlite(
    name: str, folder: Path, seeds: Iterable[int], one: Callable[[World, random.Random, Trial], None], **more: Any
) -> Iterator[Trial]:
    yield from each(name, seeds, lambda: World(_fresh(folder), **more), one)


def _fresh(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=folder))
