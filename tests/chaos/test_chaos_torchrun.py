"""One training on two machines by torchrun: the student of two devices of one machine, also when one machine has died meanwhile."""

import os
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest
from chaos_network import Network, network, refusal

TORCHRUN = Path(sys.executable).with_name("torchrun")
POTSTILL = Path(sys.executable).with_name("potstill")
SPEC = """
kind: train
task: image-classification
data: {train: digits, max_train_samples: 500, validation: 0.1}
student: {arch: mlp, hidden: [16], dropout: 0.2}
training: {epochs: EPOCHS, batch_size: 16, checkpoint_every_seconds: 0.5}
resources: {devices: 2}
"""


@pytest.fixture
def machines():
    if (why := refusal()) is not None:
        pytest.skip(why)
    with network(["a", "b"]) as found:
        yield found


def start(machines: Network, spec: Path, out: Path, port: int) -> list[subprocess.Popen[bytes]]:
    """On both, which share this disk."""
    found = []
    for number, host in enumerate(machines.hosts):
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": "eth0", "OMP_NUM_THREADS": "1", "POTSTILL_HOME": str(out.parent / host)}
        meeting = ["--node-rank", str(number), "--master-addr", machines.at(machines.hosts[0]), "--master-port", str(port)]
        command = [str(TORCHRUN), "--nnodes", "2", "--nproc-per-node", "1", *meeting, "-m", "potstill", "run", str(spec), "--out", str(out)]
        with (out.parent / "said").open("ab") as said:
            found.append(subprocess.Popen([*machines.inside(host), *command], env=environment, stderr=said))
    return found


def weights(out: Path) -> str:
    return sha256((out / "student" / "model.safetensors").read_bytes()).hexdigest()


def test_two_machines_train_what_two_devices_do_also_when_one_dies(machines: Network, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.replace("EPOCHS", "30"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "POTSTILL_HOME": str(tmp_path / "here")}
    subprocess.run([POTSTILL, "run", str(spec), "--out", str(tmp_path / "one")], check=True, env=environment, timeout=300)
    out = tmp_path / "two"
    both = start(machines, spec, out, 29500)
    end = time.monotonic() + 120
    while not list(out.glob("checkpoints/[0-9]*")):
        assert time.monotonic() < end and all(process.poll() is None for process in both)
        time.sleep(0.05)
    machines.kill("b")
    assert both[0].wait(120) != 0, "the other must not wait for ever, nor say that all is well"
    assert "Another process of this training has ended." in (tmp_path / "said").read_text()
    both[1].wait()
    assert not (out / "report.json").exists()
    again = start(machines, spec, out, 29501)
    assert [process.wait(300) for process in again] == [0, 0]
    assert weights(out) == weights(tmp_path / "one")
