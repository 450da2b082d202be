"""`python -m benchmarks`: what a checkpoint costs, submission to first step, the API's start and size."""

import os
import platform
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import datetime
from statistics import median
from typing import Any

import psutil

from benchmarks.checkpoints import checkpoint_overhead
from benchmarks.loss_memory import loss_memory
from benchmarks.service import CLI, running
from potstill import Client
from potstill.job import Job

SPEC: dict[str, Any] = {
    "kind": "train",
    "task": "image-classification",
    "data": {"train": "digits", "test": "digits"},
    "student": {"arch": "mlp", "hidden": [32]},
    "training": {"epochs": 3},
}
JOBS = 20


def submission_to_first_step() -> None:
    """`POST` sent → `created_at` of the first `metrics` event, jobs one after another on an idle warm worker."""
    with running() as (client, _):
        client.jobs.submit(SPEC).wait(timeout=60)  # the first one warms the doorbell
        found = []
        for _ in range(JOBS):
            sent = time.time()
            job = client.jobs.submit(SPEC)
            job.wait(timeout=60)
            first = next(event for event in client.jobs.events(job.id) if event.type == "metrics")
            found.append(first.created_at.timestamp() - sent)
            time.sleep(0.3)
    found.sort()
    print(f"submission → first step, {JOBS} jobs: median {median(found):.3f} s, min {found[0]:.3f}, max {found[-1]:.3f}")


def slots_beside_each_other() -> None:
    """Training speed of two jobs in two slots, each against one job alone in the same service."""
    spec = {
        **SPEC,
        "data": {"train": "digits", "test": "digits"},
        "student": {"arch": "mlp", "hidden": [512, 512]},
        "training": {"epochs": 150},
    }
    with running(slots=2) as (client, _):
        client.jobs.submit({**spec, "training": {"epochs": 5}}).wait(timeout=120)
        ratios = []
        for _ in range(3):
            alone = _speed(client, [client.jobs.submit(spec)])[0]
            both = _speed(client, [client.jobs.submit(spec), client.jobs.submit(spec)])
            ratios += [speed / alone for speed in both]
    print(f"two slots: each at {median(ratios):.2f} of one slot's speed (min {min(ratios):.2f}, max {max(ratios):.2f}), 3 rounds of 2 jobs")


def _speed(client: Client, jobs: list[Job]) -> list[float]:
    """Steps per second of each, between its first and last metric."""
    found = []
    for job in jobs:
        job.wait(timeout=300)
        points = client.jobs.metrics(job.id, name="train/loss")[0].points
        (first, _, began), (last, _, ended) = points[0], points[-1]
        found.append((last - first) / (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds())
    return found


def api_size() -> None:
    """Start of the process → first answer of /readyz, and its resident memory after a request of each kind."""
    starts, sizes = [], []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as home:
            environment = {**os.environ, "POTSTILL_HOME": home, "POTSTILL_KEY": "psk_" + "0" * 32}
            subprocess.run([sys.executable, "-P", "-c", CLI, "migrate"], env=environment, check=True, stdout=subprocess.DEVNULL)
            port = _free_port()
            started = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", CLI, "api", "--port", str(port)], env=environment, stderr=subprocess.DEVNULL
            )
            try:
                while not _answers(f"http://127.0.0.1:{port}/readyz"):
                    time.sleep(0.01)
                starts.append(time.monotonic() - started)
                sizes.append(psutil.Process(process.pid).memory_info().rss / 2**20)
            finally:
                process.terminate()
                process.wait(20)
    resident = f"resident {median(sizes):.0f} MiB (max {max(sizes):.0f})"
    print(f"API, 5 starts: ready after {median(starts):.2f} s (max {max(starts):.2f}), {resident}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    import torch

    print(f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}, torch {torch.__version__}")
    checkpoint_overhead()
    loss_memory()
    api_size()
    submission_to_first_step()
    slots_beside_each_other()
