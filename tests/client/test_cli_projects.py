"""`projects`: an operator makes a second one on the store, and its key opens it and nothing else."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers import CLI

import migrations
from models.project import of_secret
from models.session import Database

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The real command line on a store of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POTSTILL_")}
    environment = {**kept, "POTSTILL_HOME": str(tmp_path), "NO_COLOR": "1"}

    def typed(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([*CLI, *words], env=environment, capture_output=True, text=True, timeout=60, check=False)

    return typed


@pytest.fixture
def database(tmp_path: Path) -> Any:
    url = f"sqlite:///{tmp_path / 'potstill.db'}"
    migrations.upgrade(url)
    opened = Database(url)
    yield opened
    opened.dispose()


def test_a_project_is_made_with_a_key_that_is_shown_once(run: Run, database: Database) -> None:
    made = run("projects", "create", "research")
    assert made.returncode == 0 and made.stdout.startswith("psk_") and made.stdout.count("\n") == 1, made.stderr
    with database.read() as session:
        shown = of_secret(session, made.stdout.strip())
        assert shown is not None and shown.key.project.name == "research" and shown.key.scope == "admin"
    again = json.loads(run("projects", "create", "teaching", "--json").stdout)
    assert again["object"] == "project" and again["id"].startswith("prj_") and again["secret"].startswith("psk_")
    listed = run("projects", "ls")
    assert "research" in listed.stdout and "teaching" in listed.stdout and "psk_" not in listed.stdout
    assert [(one["name"], one["keys"]) for one in json.loads(run("projects", "ls", "--json").stdout)] == [("research", 1), ("teaching", 1)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("research", "there is a project 'research' already"),
        ("x" * 10_000, "at most 100"),
        ("a\x1b[2Jb", "that can be shown"),
        ("", "at least 1"),
    ],
)
def test_a_name_that_cannot_be_is_one_line_and_nothing_is_made(run: Run, database: Database, name: str, said: str) -> None:
    assert run("projects", "create", "research").returncode == 0
    refused = run("projects", "create", name)
    assert refused.returncode == 1 and said in refused.stderr and "name" in refused.stderr and "\x1b" not in refused.stderr
    assert len(json.loads(run("projects", "ls", "--json").stdout)) == 1


def test_without_a_store_it_says_where_it_looked(run: Run, tmp_path: Path) -> None:
    refused = run("projects", "ls")
    assert refused.returncode == 1 and f"There is no service in {tmp_path}" in refused.stderr and "POTSTILL_HOME" in refused.stderr
