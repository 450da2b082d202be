"""The command line as a process: what it loads, how fast it helps, pipes, terminals and signals."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path

import pytest
from fake_service import KEY, Service, ended, event, job

from potstill.cli.app import COMMANDS

ROOT = Path(__file__).parents[2]
POTSTILL = [sys.executable, "-c", "from potstill.cli import main; main()"]


@pytest.fixture
def surroundings(service: Service, tmp_path: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    ours = {
        "POTSTILL_URL": service.url,
        "POTSTILL_KEY": KEY,
        "POTSTILL_HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm-256color",
    }
    return kept | ours


def loaded(code: str, surroundings: dict[str, str]) -> set[str]:
    code += "; import sys, json; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    ran = subprocess.run([sys.executable, "-c", code], env=surroundings, capture_output=True, text=True, check=True)
    return set(json.loads(ran.stdout.splitlines()[-1]))


def test_the_client_brings_in_neither_torch_nor_a_server(surroundings: dict[str, str]) -> None:
    heavy = {
        "torch",
        "transformers",
        "numpy",
        "pyarrow",
        "fastapi",
        "celery",
        "sqlalchemy",
        "api",
        "worker",
        "distill",
        "models",
        "datafiles",
    }
    assert not loaded("import potstill; potstill.Client", surroundings) & heavy
    assert not loaded("import potstill", surroundings) & (heavy | {"pydantic", "httpx2", "contract"})


def test_a_command_loads_what_it_needs_and_not_all_there_is_to_ask_for(surroundings: dict[str, str]) -> None:
    """Every loss, recipe and network is a pydantic class: building them takes longer than a request."""
    without = "import sys; assert not {'contract.registry', 'yaml', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", f"import potstill.cli.jobs, potstill.client; {without}"], env=surroundings, check=True)
    assert not loaded("import potstill.cli.jobs, potstill.cli.submit", surroundings) & {"pydantic", "httpx2", "rich"}


def test_help_loads_no_command(surroundings: dict[str, str]) -> None:
    """It must come at once: a person is waiting, and shells ask for completions the same way."""
    helped = "import sys; sys.argv = ['potstill', '--help']\ntry:\n  from potstill.cli import main; main()\nexcept SystemExit: pass\n0"
    assert not loaded(helped, surroundings) & {"rich", "httpx2", "pydantic", "contract", "yaml"}


def test_every_command_of_the_table_has_its_function() -> None:
    for name, entry in COMMANDS.items():
        module, _, attribute = entry.where.partition(":")
        assert callable(getattr(import_module(module), attribute)), name


def test_spec_from_standard_input(surroundings: dict[str, str], service: Service) -> None:
    for raw in ("kind: train\ntask: image-classification\n", '{"kind": "train", "task": "image-classification"}'):
        ran = subprocess.run([*POTSTILL, "submit", "-"], input=raw, env=surroundings, capture_output=True, text=True)
        assert ran.returncode == 0
        assert ran.stdout.strip() in service.jobs
    ran = subprocess.run([*POTSTILL, "submit", "-"], input="{", env=surroundings, capture_output=True, text=True)
    assert (ran.returncode, "standard input is not valid JSON" in ran.stderr) == (1, True)


def test_interrupted_watch_detaches(surroundings: dict[str, str], service: Service) -> None:
    forever, id_ = threading.Event(), service.add(job())
    service.streams[id_].append([event(1, "status", "running", to="running"), forever])
    watching = subprocess.Popen([*POTSTILL, "watch", id_], env=surroundings, stderr=subprocess.PIPE, text=True)
    assert watching.stderr is not None
    assert "is queued" in watching.stderr.readline()
    assert "running" in watching.stderr.readline()
    time.sleep(0.2)  # out of the print that was just read, into the wait for the next event
    watching.send_signal(signal.SIGINT)
    said = watching.stderr.read()
    assert watching.wait(10) == 130
    assert said == f"detached; the job goes on — potstill watch {id_}\n"
    forever.set()


def test_reader_that_leaves_early_is_no_error(surroundings: dict[str, str], service: Service) -> None:
    for number in range(1, 101):
        service.add(job(number))
    command = f"{sys.executable} -c 'from potstill.cli import main; main()' jobs -n 100 | head -n 1"
    ran = subprocess.run(command, shell=True, env=surroundings, capture_output=True, text=True)
    assert ran.stdout.startswith("ID")
    assert "Traceback" not in ran.stderr


def test_terminal_that_knows_only_ascii(surroundings: dict[str, str], service: Service) -> None:
    id_ = service.add(ended("succeeded"))
    ran = subprocess.run([*POTSTILL, "watch", id_], env=surroundings | {"PYTHONIOENCODING": "ascii"}, capture_output=True)
    assert (ran.returncode, ran.stdout[:12]) == (0, b"? succeeded ")


def on_a_terminal(arguments: list[str], surroundings: dict[str, str], columns: int = 120) -> tuple[int, str]:
    pid, master = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [*POTSTILL, *arguments], surroundings | {"COLUMNS": str(columns)})
    said, deadline = b"", time.monotonic() + 20
    while time.monotonic() < deadline:
        if not select.select([master], [], [], 0.1)[0]:
            continue
        try:
            chunk = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        said += chunk
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode()


@pytest.mark.parametrize("columns", [50, 80, 160])
def test_lists_fit_the_terminal_and_keep_every_id_whole(surroundings: dict[str, str], service: Service, columns: int) -> None:
    ids = [service.add(job(number, name="a name that is rather long, \x1b[2J and says so")) for number in (1, 2)]
    service.add(ended("succeeded", 3))
    for command in (["jobs"], ["compare", *ids], ["show", ids[0]]):
        code, said = on_a_terminal(command, surroundings | {"NO_COLOR": "1"}, columns)
        lines = re.sub(r"\x1b\[[0-9;]*m", "", said).replace("\r", "").split("\n")
        assert code == 0
        assert max(map(len, (line for line in lines if not line.startswith("next: ")))) <= columns, lines
        assert all(any(id_ in line for line in lines) for id_ in ids[: len(command) or None] if id_ in command or command == ["jobs"])
        assert "\x1b[2J" not in said


def test_a_table_that_fits_is_one_and_a_narrow_terminal_gets_paragraphs(surroundings: dict[str, str], service: Service) -> None:
    service.add(job())
    assert "KIND" in on_a_terminal(["jobs"], surroundings, 80)[1]
    assert "kind distill" in on_a_terminal(["jobs"], surroundings, 50)[1]


def watched_on_a_terminal(service: Service) -> str:
    pause, id_ = threading.Event(), service.add(job())
    threading.Timer(0.7, pause.set).start()
    numbers = {"phase": "training", "step": 500, "total_steps": 2000, "steps_per_second": 910.0, "eta_seconds": 61.0}
    steps = [event(seq, "metrics", "", **numbers, metrics={"train/loss": 2.0 / seq}) for seq in range(3, 20)]
    warning = event(20, "warning", "careful \x1b[2J", level="warning")
    service.streams[id_].append([event(1, "status", "", to="running"), *steps, warning, pause, ended("succeeded")])
    return id_


def test_live_panel_on_a_terminal(surroundings: dict[str, str], service: Service) -> None:
    code, said = on_a_terminal(["watch", watched_on_a_terminal(service)], surroundings)
    assert code == 0
    for piece in (
        "training",
        "━",
        " 25%",
        "step 500/2,000 · 910 it/s · ETA 1:01",
        "loss 0.105 █",
        "careful \\x1b[2J",
        "succeeded",
        "97 % of the teacher",
    ):
        assert piece in said
    assert "\x1b[2J" not in said


def test_no_color_is_honoured_and_a_dumb_terminal_gets_lines(surroundings: dict[str, str], service: Service) -> None:
    _, said = on_a_terminal(["watch", watched_on_a_terminal(service)], surroundings | {"NO_COLOR": "1"})
    assert "\x1b[3" not in said
    service.jobs.clear()
    _, said = on_a_terminal(["watch", watched_on_a_terminal(service)], surroundings | {"TERM": "dumb"})
    assert "\x1b" not in said
    assert "25% · step 500/2,000" in said
