"""`potstill up` where something is in its way, and the commands where the user's folder looks like ours."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from servers import CLI, Service, free_port

from potstill import Client


def up(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POTSTILL_")}
    return subprocess.run([*CLI, "up", *arguments], cwd=cwd, env={**kept, **environment}, capture_output=True, text=True, timeout=60)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def test_a_port_in_use_is_named_with_the_cure(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(up("--home", str(tmp_path / "home"), "--port", str(port), cwd=tmp_path))
    assert str(port) in said
    assert "--port" in said


def test_a_home_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = refused(up("--home", str(tmp_path / "file" / "home"), "--port", "0", cwd=tmp_path))
    assert "cannot be written" in said
    assert "--home" in said


@pytest.mark.skipif(not Path("/proc/sys").is_dir(), reason="needs /proc, a folder that even root cannot write")
def test_a_read_only_home_is_refused(tmp_path: Path) -> None:
    said = refused(up("--home", "/proc/potstill", "--port", "0", cwd=tmp_path))
    assert "cannot be written" in said


def test_one_home_is_served_once_and_folders_of_the_user_are_never_imported(tmp_path: Path) -> None:
    """Somebody's project with an api/, models/ and worker/ of its own is where people will start this."""
    for name in ("api", "models", "worker", "contract", "distill", "migrations", "datafiles", "potstill"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong one was imported')")
    home = tmp_path / "home"
    service = Service(home, cwd=tmp_path)
    try:
        with service.client() as client:
            spec = {"kind": "train", "task": "image-classification", "data": {"train": "digits"}, "student": {"arch": "logistic"}}
            assert client.jobs.submit({**spec, "training": {"epochs": 1}}).wait(timeout=60).status == "succeeded"
        said = refused(up("--home", str(home), "--port", str(free_port()), cwd=tmp_path))
        assert "already served" in said
        assert str(service.port) in said
        assert oct((home / "key").stat().st_mode)[-3:] == "600"
    finally:
        assert service.stop() == 0
    assert "the wrong one" not in service.process.said()


def test_the_console_script_is_safe_too(tmp_path: Path) -> None:
    (tmp_path / "contract").mkdir()
    (tmp_path / "contract" / "__init__.py").write_text("raise SystemExit('the wrong one was imported')")
    script = Path(sys.executable).with_name("potstill")
    done = subprocess.run([script, "validate", "-"], input="kind: train", cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert "wrong one" not in done.stderr + done.stdout


def test_a_client_with_the_wrong_key_or_address_is_told(tmp_path: Path) -> None:
    from potstill.errors import PotstillError, Unauthorized

    service = Service(tmp_path / "home")
    try:
        with Client(url=service.url, key="psk_" + "x" * 40) as client, pytest.raises(Unauthorized) as caught:
            client.jobs.page()
        assert caught.value.code == "invalid_key"
    finally:
        service.stop()
    with Client(url=service.url, key="psk_x") as client, pytest.raises(PotstillError, match=str(service.port)):
        client.jobs.page()
