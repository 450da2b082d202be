"""`potstill up` where something is in its way, and the commands where the user's folder looks like ours."""

import contextlib
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from servers import CLI, TINY, Process, Service, free_port, small_disk, until

import migrations
from models.base import REVISION
from potstill import Client
from potstill.errors import WaitTimeout


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


def _no_database(home: Path) -> None:
    (home / "potstill.db").write_bytes(b"this is no database" * 300)


def _truncated(home: Path) -> None:
    migrations.upgrade(f"sqlite:///{home / 'potstill.db'}")
    os.truncate(home / "potstill.db", 20_000)


def _emptied(home: Path) -> None:
    (home / "potstill.db").touch()
    (home / "artifacts").mkdir()
    (home / "artifacts" / "blob").touch()


def _put_at(home: Path, revision: str) -> None:
    """As if a migration had brought it there that breaks all code from before."""
    with contextlib.closing(sqlite3.connect(home / "potstill.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
        connection.execute("UPDATE compatibility SET oldest = ?", [revision])


def _newer(home: Path) -> None:
    migrations.upgrade(f"sqlite:///{home / 'potstill.db'}")
    _put_at(home, "9999")


def _key(text: str, mode: int) -> Callable[[Path], None]:
    def write(home: Path) -> None:
        (home / "key").write_text(text)
        (home / "key").chmod(mode)

    return write


SPOILT = {
    "no database": (_no_database, "file is not a database", "Put a copy of potstill.db back"),
    "truncated": (_truncated, "malformed", "Put a copy of potstill.db back"),
    "emptied": (_emptied, "is empty, but there are files of jobs", "Put a copy of it back"),
    "newer": (_newer, f"at revision 9999; this version needs {REVISION}", "upgrade this one"),
    "no key": (_key("", 0o600), "holds no key", "remove the file"),
    "open key": (_key("psk_" + "k" * 40, 0o644), "can be read by others", "chmod 600"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_home_is_one_error_with_its_cure_and_stays_as_it_was(tmp_path: Path, case: str) -> None:
    spoil, error, cure = SPOILT[case]
    spoil(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    said = refused(up("--home", str(tmp_path), "--port", "0", cwd=tmp_path))
    assert error in said and cure in said
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert (tmp_path / "up.lock").read_text() == "", "the next start finds nothing in its way"


@pytest.mark.parametrize(("options", "error"), [("size=64k", "is full"), ("ro", "cannot be written: Read-only file system")])
def test_a_full_or_read_only_disk_is_refused(tmp_path: Path, options: str, error: str) -> None:
    """A disk of its own, in a namespace of its own: gone with the process."""
    home = tmp_path / "home"
    home.mkdir()
    command = [*small_disk(home, options), *CLI, "up", "--home", str(home), "--port", "0"]
    said = refused(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60))
    assert error in said and "--home" in said


def test_of_two_started_at_once_one_serves_and_the_other_names_it(tmp_path: Path) -> None:
    started = [Process(tmp_path, "up", "--home", str(tmp_path / "home"), "--port", "0", "--slots", "1") for _ in range(2)]
    try:
        until(lambda: any(one.popen.poll() is not None for one in started), 60, "the loser's end")
        (loser,) = (one for one in started if one.popen.poll() is not None)
        (winner,) = (one for one in started if one is not loser)
        assert loser.popen.returncode == 1 and "Traceback" not in loser.said()
        assert f"already served by process {winner.popen.pid} at http://127.0.0.1:" in " ".join(loser.said().split())
        until(lambda: "✓ ready" in winner.said(), 60, "the winner")
        assert winner.stop() == 0
    finally:
        for one in started:
            one.kill()


@pytest.mark.parametrize(("found", "cure"), [("9999", "upgrade this one"), ("0000", "potstill migrate")])
def test_a_worker_and_an_api_of_another_version_than_the_database_refuse_to_start(tmp_path: Path, found: str, cure: str) -> None:
    migrations.upgrade(f"sqlite:///{tmp_path / 'potstill.db'}")
    _put_at(tmp_path, found)
    started = [Process(tmp_path, name, POTSTILL_HOME=str(tmp_path), POTSTILL_PORT="0") for name in ("worker", "api")]
    for process in started:
        assert process.popen.wait(60) == 1
        said = " ".join(process.said().split())
        assert f"The database is at revision {found}; this version needs {REVISION}." in said and cure in said
        assert "Traceback" not in said


def test_a_worker_and_an_api_on_a_damaged_database_say_so_in_one_line(tmp_path: Path) -> None:
    _no_database(tmp_path)
    started = [Process(tmp_path, name, POTSTILL_HOME=str(tmp_path), POTSTILL_PORT="0") for name in ("worker", "api")]
    for process in started:
        assert process.popen.wait(60) == 1
        said = " ".join(process.said().split())
        assert "potstill.db cannot be used: file is not a database." in said and "Put a copy of it back" in said
        assert "Traceback" not in said


def test_a_running_worker_takes_nothing_more_once_another_version_has_migrated(tmp_path: Path) -> None:
    """And goes on as soon as the tables are its own again: a migration that is rolled back strands nobody."""
    service = Service(tmp_path / "home")
    try:
        with service.client() as client:
            assert client.jobs.submit({**TINY, "name": "before"}).wait(timeout=60).status == "succeeded"
            _put_at(service.home, "9999")
            until(lambda: "taking no more jobs" in service.process.said(), 30, "the worker's word")
            assert f"The database is at revision 9999; this version needs {REVISION}." in service.process.said()
            job = client.jobs.submit({**TINY, "name": "meanwhile"})
            with pytest.raises(WaitTimeout):
                job.wait(timeout=5)
            assert job.refresh().status == "queued"
            _put_at(service.home, REVISION)
            assert job.wait(timeout=60).status == "succeeded"
    finally:
        service.stop()


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
