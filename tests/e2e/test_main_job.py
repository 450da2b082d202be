"""The whole path as a user walks it, over plain curl: data up, teacher, student, events, files, predictions."""

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import Service, until


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("home"))
    yield running
    assert running.stop() == 0


def curl(service: Service, *arguments: str) -> str:
    command = ["curl", "-sS", "--max-time", "120", "-H", f"Authorization: Bearer {service.key}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def post(service: Service, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(
        curl(service, "-X", "POST", "-H", "Content-Type: application/json", "-d", json.dumps(body), service.url + path)
    )
    return answer


def get(service: Service, path: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(curl(service, service.url + path))
    return answer


def finished(service: Service, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = until(
        lambda: (found := get(service, f"/v1/jobs/{job_id}"))["status"] in ("succeeded", "failed", "cancelled") and found, seconds=120
    )
    return job


def test_mnist_over_curl(service: Service, test_data: Path, tmp_path: Path) -> None:
    """Numbers by hand: a teacher of 12,730 parameters reaches 94 ± 1 % in three epochs."""
    upload = json.loads(curl(service, "-F", f"file=@{test_data}/mnist/mnist.npz", "-F", "name=mnist", f"{service.url}/v1/datasets"))
    assert upload["splits"] == {"train": {"rows": 60000}, "test": {"rows": 10000}}
    assert upload["classes"] == list("0123456789")

    training = {"epochs": 3, "batch_size": 64, "optimizer": {"name": "adam", "lr": 5e-3}}
    teacher_spec = {
        "kind": "train", "task": "image-classification", "data": {"train": upload["id"], "test": upload["id"]},
        "student": {"arch": "mlp", "hidden": [16]}, "training": training,
    }  # fmt: skip
    teacher = post(service, "/v1/jobs", teacher_spec)
    student = post(
        service,
        "/v1/jobs",
        {
            **teacher_spec,
            "kind": "distill",
            "data": {**teacher_spec["data"], "max_train_samples": 800},
            "teacher": {"job": teacher["id"]},
            "student": {"arch": "mlp", "hidden": [4]},
            "recipe": {"name": "hinton", "temperature": 4.0, "alpha": 0.8},
            "training": {**training, "epochs": 40},
        },
    )
    assert student["status"] == "waiting"

    stream = curl(service, "-N", f"{service.url}/v1/jobs/{student['id']}/events/stream")
    assert stream.count("event: metrics") >= 1
    assert stream.rstrip().split("event: done")[1].startswith("\ndata: ")

    teacher, student = finished(service, teacher["id"]), finished(service, student["id"])
    arm = teacher["report"]["arms"]["model"]
    assert arm["parameters"] == 12_730
    assert 0.92 <= arm["metrics"]["accuracy"]["mean"] <= 0.96
    arms = student["report"]["arms"]
    assert (arms["student"]["parameters"], arms["teacher"]["parameters"]) == (3_190, 12_730)
    outputs = student["report"]["teacher_outputs"]
    assert outputs == {"mode": "cached", "cache": "built", "rows": 800, "bytes": 800 * 10 * 4, "passes": 1}

    _resumed_download(service, student["id"], tmp_path)
    accuracy = _unpacked_and_used(service, student["id"], test_data / "mnist" / "mnist.npz", tmp_path)
    assert accuracy == pytest.approx(arms["student"]["metrics"]["accuracy"]["mean"], abs=1e-9)

    again = post(service, "/v1/jobs", {**student["spec"], "name": "again", "training": {**training, "epochs": 1, "seed": 7}})
    again = finished(service, again["id"])
    assert again["report"]["teacher_outputs"]["cache"] == "hit"


def _resumed_download(service: Service, job_id: str, tmp_path: Path) -> None:
    """A download that was cut goes on with Range and ends with the right SHA-256."""
    artifacts = get(service, f"/v1/jobs/{job_id}/artifacts")["data"]
    weights = next(artifact for artifact in artifacts if artifact["path"] == "student/model.safetensors")
    target = tmp_path / "weights"
    url = f"{service.url}/v1/artifacts/{weights['id']}"
    curl(service, "-r", "0-4999", "-o", str(target), url)
    assert target.stat().st_size == 5000
    curl(service, "-C", "-", "-o", str(target), url)
    import hashlib

    assert hashlib.sha256(target.read_bytes()).hexdigest() == weights["sha256"]


USE = """
import numpy, sys
{card}
found = numpy.load(sys.argv[1])
x = torch.from_numpy(found["x_test"]).float().unsqueeze(1) / 255
print((model(x).argmax(1).numpy() == found["y_test"]).mean())
"""


def _unpacked_and_used(service: Service, job_id: str, mnist: Path, tmp_path: Path) -> float:
    """The tar, unpacked; the lines of its card, run where nothing of ours is installed on the path."""
    curl(service, "-o", str(tmp_path / "student.tar"), f"{service.url}/v1/jobs/{job_id}/student")
    with tarfile.open(tmp_path / "student.tar") as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    (folder,) = {path.parent for path in (tmp_path / "unpacked").rglob("model.safetensors")}
    card = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    assert "potstill" not in card
    result = subprocess.run(
        [sys.executable, "-c", USE.format(card=card), str(mnist)], cwd=folder, check=True, capture_output=True, text=True
    )
    return float(result.stdout)
