"""`potstill sweeps …` as it is typed, against a real service: what it prints where, its exit codes, and that --json is JSON."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import CLI, Service

Run = Callable[..., "subprocess.CompletedProcess[str]"]
SWEEP = """
name: widths
job:
  kind: train
  task: image-classification
  data: {train: digits, validation: 0.1, test: digits, max_train_samples: 200}
  training: {epochs: 12}
space:
  student: [{arch: mlp, hidden: [4]}, {arch: mlp, hidden: [32]}]
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("home"))
    yield running
    assert running.stop() == 0


@pytest.fixture
def potstill(service: Service, tmp_path: Path) -> Run:
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    variables = {"POTSTILL_URL": service.url, "POTSTILL_KEY": service.key, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}

    def run(*arguments: str, given: str | None = None) -> "subprocess.CompletedProcess[str]":
        command = [*CLI, "sweeps", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=variables, input=given, capture_output=True, text=True, timeout=120)

    return run


def only(found: Any) -> Any:
    (one,) = found
    return one


def test_from_the_file_to_nothing_left(potstill: Run) -> None:
    empty = potstill("ls")
    assert (empty.returncode, empty.stdout) == (0, "") and "no sweeps" in empty.stderr
    valid = potstill("validate", "sweep.yaml")
    assert valid.returncode == 0 and valid.stdout.startswith("✓ valid       2 trials · 72 steps")
    queued = potstill("add", "sweep.yaml")
    sweep_id = queued.stdout.strip()
    assert queued.returncode == 0 and sweep_id.startswith("swp_") and "\n" not in sweep_id
    assert "2 trials" in queued.stderr and f"next: potstill sweeps watch {sweep_id}" in queued.stderr
    watched = potstill("watch", sweep_id)
    assert watched.returncode == 0, watched.stderr
    assert watched.stderr.count("validation accuracy") == 2 and "2 of 2" in watched.stderr
    assert watched.stdout.splitlines()[0].split()[:3] == ["TRIAL", "student", "STATUS"]
    assert "worth their size" in watched.stdout and "✓ succeeded   Best of 2: trial" in watched.stdout
    assert potstill("show", sweep_id).stdout == watched.stdout
    listed = only(json.loads(potstill("ls", "--json").stdout))
    assert (listed["id"], listed["status"], listed["trials"]) == (sweep_id, "succeeded", None)
    assert sweep_id in potstill("ls").stdout
    shown = json.loads(potstill("show", sweep_id, "--json").stdout)
    assert [trial["status"] for trial in shown["trials"]] == ["succeeded", "succeeded"]
    assert json.loads(potstill("cancel", sweep_id, "--json").stdout)["status"] == "succeeded", "it has ended: nothing to cancel"
    assert "would free" in potstill("rm", sweep_id, "--dry-run").stdout
    assert potstill("rm", sweep_id).returncode == 0
    gone = potstill("show", sweep_id)
    assert gone.returncode == 1 and "There is no sweep" in gone.stderr


def test_from_standard_input_as_json_lines(potstill: Run) -> None:
    done = potstill("add", "-", "--watch", "--json", given=SWEEP)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and {line["object"] for line in lines} == {"sweep"}
    assert lines[-1]["status"] == "succeeded" and lines[-1]["best"] in (1, 2)
    assert done.stderr == ""


def test_exit_codes_say_how_it_ended(potstill: Run) -> None:
    long = SWEEP.replace("epochs: 12", "epochs: 100000")
    late = potstill("add", "-", "--watch", "--timeout", "2", given=long)
    sweep_id = late.stdout.split()[0]
    assert late.returncode == 7 and f"potstill sweeps watch {sweep_id}" in late.stderr
    assert potstill("cancel", sweep_id).returncode == 0
    assert potstill("watch", sweep_id).returncode == 6
    diverging = SWEEP.replace("epochs: 12", "epochs: 12, optimizer: {name: sgd, lr: 1.0e+6}")
    failed = potstill("add", "-", "--watch", given=diverging)
    assert failed.returncode == 5 and "✗ trial 1" in failed.stderr
    wrong = potstill("validate", "-", given=SWEEP.replace("hidden: [4]", "hiden: [4]"))
    assert wrong.returncode == 1 and "/space/student" in wrong.stderr
    assert potstill("add", "absent.yaml").returncode == 1
