"""`python -m benchmarks.preflight`: what `validate` says of a job beside what it then took, for networks and data of every kind.

Time is that of the trainers, without what they waited for a core that other programs used. MNIST is there where POTSTILL_TEST_DATA names
its folder.
"""

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from benchmarks.service import running, until
from contract.machine import Estimate
from contract.status import JobStatus
from potstill import Client

Spec = dict[str, Any]
LOOK_SECONDS = 0.02


class Taken(NamedTuple):
    """What a job took; seconds: of its trainers, who shared the slots."""

    seconds: float
    memory_bytes: int
    disk_bytes: int
    parameters: int


class Watch(threading.Thread):
    """Looks at the trainers below a process while they live: the most memory each had, and how long it has lived without waiting for a
    core."""

    def __init__(self, above: psutil.Process) -> None:
        super().__init__(daemon=True)
        self.above, self.ended = above, threading.Event()
        self.memory: dict[int, int] = {}
        self.seconds: dict[int, float] = {}

    def run(self) -> None:
        while not self.ended.wait(LOOK_SECONDS):
            for process in self.above.children(recursive=True):
                with contextlib.suppress(psutil.Error, OSError, ValueError):
                    if all("forkserver" in " ".join(each.cmdline()) for each in (process, process.parent() or process)):
                        self._look(process.pid, process.create_time())

    def _look(self, pid: int, born: float) -> None:
        (peak,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
        self.memory[pid] = 1024 * int(peak.split()[1])
        waited = int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
        self.seconds[pid] = time.time() - born - waited


def measured(client: Client) -> None:
    """Returns once a worker has measured its machine."""
    until(lambda: any(worker.machine is not None for worker in client.workers.list()))


def compared(client: Client, above: psutil.Process, spec: Spec) -> tuple[Estimate, Taken, str]:
    """A job's estimate, what it took, and its id. above: the service's process."""
    estimate = client.jobs.validate(spec).estimate
    assert isinstance(estimate, Estimate) and estimate.machine is not None, estimate
    watch = Watch(above)
    watch.start()
    job = client.jobs.submit(spec).wait(timeout=600)
    watch.ended.set()
    watch.join()
    assert job.view.status == JobStatus.SUCCEEDED, job.view.error
    assert job.view.report is not None
    freed = client.transport.call("DELETE", f"/v1/jobs/{job.id}", params={"dry_run": True})["freed_bytes"]
    arms = job.view.report["arms"]
    return (
        estimate,
        Taken(
            sum(watch.seconds.values()) / min(estimate.machine.slots, estimate.runs),
            max(watch.memory.values()),
            freed,
            (arms.get("student") or arms["model"])["parameters"],
        ),
        job.id,
    )


def _specs(client: Client) -> dict[str, Spec]:
    def images(student: Spec, data: Any = "digits", **training: Any) -> Spec:
        rows = data if isinstance(data, dict) else {"train": data, "test": data, "validation": 0.1}
        return {"kind": "train", "task": "image-classification", "data": rows, "student": student, "training": training}

    def texts(student: Spec, task: str = "text-classification", length: int = 64) -> Spec:
        rows = {"train": "docstrings", "test": "docstrings", "max_length": length}
        return {"kind": "train", "task": task, "data": rows, "student": student, "training": {"epochs": 2}}

    found = {
        "mlp, digits": images({"arch": "mlp", "hidden": [64]}, epochs=40),
        "mlp of 1,024, digits": images({"arch": "mlp", "hidden": [1024, 1024]}, epochs=10),
        "cnn, digits": images({"arch": "cnn"}, epochs=10),
        "resnet, digits": images({"arch": "resnet"}, epochs=3),
        "textcnn, docstrings": texts({"arch": "textcnn"}),
        "lstm, docstrings": texts({"arch": "lstm"}),
        "gru of two layers, docstrings": texts({"arch": "gru", "layers": 2, "hidden": 64}, length=32),
        "bert of 64, docstrings": texts({"arch": "bert", "hidden": 64}),
        "bert of 128, docstrings": texts({"arch": "bert", "hidden": 128, "layers": 4}),
        "lstm, next token": texts({"arch": "lstm", "hidden": 64, "embedding": 64}, task="causal-lm"),
    }
    folder = os.environ.get("POTSTILL_TEST_DATA")
    if folder:
        mnist = client.datasets.upload(Path(folder) / "mnist" / "mnist.npz").id
        few = {"train": mnist, "max_train_samples": 12_000}
        found["mlp of 800, MNIST"] = images({"arch": "mlp", "hidden": [800]}, few, epochs=2)
        found["cnn, MNIST"] = images({"arch": "cnn"}, few, epochs=1)
    return found


def main() -> None:
    with running(slots=os.cpu_count() or 1, probe=True) as (client, above):
        measured(client)
        print(f"{'job':<30} {'time, s':>15} {'ratio':>6} {'memory, MB':>13} {'ratio':>6} {'disk, MB':>15} {'ratio':>6}")
        ratios = []
        for name, spec in _specs(client).items():
            estimate, taken, job_id = compared(client, above, spec)
            ratios.append(_told(name, estimate, taken))
            if name.startswith("mlp of 1,024"):
                student = {"arch": "mlp", "hidden": [16]}
                evaluation = {"control": True, "seeds": 3}
                distill = {**spec, "kind": "distill", "teacher": {"job": job_id}, "student": student, "evaluation": evaluation}
                ratios.append(_told("distilled, control, 3 seeds", *compared(client, above, distill)[:2]))
        print(f"time: {min(ratios):.2f} to {max(ratios):.2f} times what it took")


def _told(name: str, estimate: Estimate, taken: Taken) -> float:
    assert estimate.seconds is not None and estimate.memory is not None and estimate.disk is not None
    disk = estimate.disk.students + estimate.disk.checkpoints
    pairs = (
        (estimate.seconds, taken.seconds),
        (estimate.memory.total / 1e6, taken.memory_bytes / 1e6),
        (disk / 1e6, taken.disk_bytes / 1e6),
    )
    cells = [
        f"{said:>{width}.{digits}f} {was:>6.{digits}f} {said / was:>6.2f}"
        for (said, was), width, digits in zip(pairs, (8, 6, 8), (1, 0, 2), strict=True)
    ]
    print(f"{name:<30} {' '.join(cells)}", flush=True)
    return estimate.seconds / taken.seconds


if __name__ == "__main__":
    main()
