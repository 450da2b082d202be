"""ENOSPC at the n-th write, for every n: a real file system that is full, page by page and name by name."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("engine_small_disk.py")
MOUNT = 'mount -t tmpfs -o size=4k small "$1" && shift && exec "$@"'
AS = (["unshare", "-Urm"], ["unshare", "-m"])  # as anybody where user namespaces are allowed, or as root


@cache
def namespace() -> list[str] | None:
    """What starts a command with mounts of its own; None where there is no way to have them."""
    for command in AS:
        try:
            if subprocess.run([*command, "mount", "-t", "tmpfs", "small", "/mnt"], capture_output=True, timeout=20).returncode == 0:
                return command
        except OSError:
            return None
    return None


@pytest.fixture(params=["size", "inodes", "honest"])
def trials(request, tmp_path, teacher):
    """Each trial of a disk of so many pages, or so many names; in the last kind nobody else takes the room that was looked for."""
    start = namespace()
    if start is None:
        pytest.skip("this machine allows no mount, neither as it is nor in a user namespace")
    folder = tmp_path / "small"
    folder.mkdir()
    command = [*start, "sh", "-c", MOUNT, "sh", folder]
    command += [sys.executable, SCRIPT, folder, teacher, request.param]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert ran.returncode == 0, ran.stderr
    return request.param, [json.loads(line) for line in ran.stdout.splitlines()]


def test_the_last_good_checkpoint_survives_and_the_run_ends_as_if_there_had_been_room(trials):
    how, found = trials
    *failed, enough = found
    assert enough["code"] is None
    for trial in found:
        assert trial["torn"] == [], trial  # whole, or not there
        assert trial["strange"] == [], trial
        assert trial["same"], trial
        assert set(trial["saved"]) <= set(trial["there"]), trial  # what was announced is there
    for trial in failed:
        assert trial["code"] in ("disk_full", "none"), trial
        assert not trial["result"], trial
    reached = {len(trial["saved"]) for trial in failed}
    assert reached == {0, 1, 2, 3}  # the disk was once full at each checkpoint, and at the result after the last
    if how == "honest":
        assert all(trial["there"] == trial["saved"] for trial in failed)
    else:
        assert any(trial["warned"] for trial in failed)  # the cache did not fit either, and that alone stopped nothing
        assert len(failed) > 20
