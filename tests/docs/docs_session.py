"""Somebody who reads a page and types what it says: one shell and one Python for the whole page, so that variables stay."""

import json
import os
import re
import select
import subprocess
import sys
import uuid
from pathlib import Path

from docs_pages import Command
from servers import free_port

SECONDS = 60
RECEIVER_PORT = free_port()  # of the server that a page starts
READER = """
import contextlib, json, sys, traceback
names = {"__name__": "__main__"}
for request in sys.stdin:
    code, place, out = json.loads(request)
    with open(out, "w") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        try:
            exec(compile(code, place, "exec"), names)
            status = 0
        except BaseException:
            traceback.print_exc()
            status = 1
    print(status, file=sys.__stdout__, flush=True)
"""


class Session:
    """`run` types one command and gives back its exit status and what it printed on either stream."""

    def __init__(self, folder: Path, home: Path, url: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("POTSTILL_")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**kept, "HOME": str(home), "POTSTILL_URL": url, "PATH": path, "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
        self.folder, self.outputs = folder, home / "outputs"
        self.outputs.mkdir()
        self._processes: dict[str, subprocess.Popen[str]] = {}

    def run(self, command: Command) -> tuple[int, str]:
        out = self.outputs / uuid.uuid4().hex
        if command.language == "python":
            request = json.dumps([command.text, command.place, str(out)])
        else:
            strict, loose = ("set -e -o pipefail", "set +e +o pipefail") if command.strict else ("", "")
            request = f"{strict}\n{{ {command.text}\n}} </dev/null >{out} 2>&1; echo $?\n{loose}"
        process = self._process(command.language)
        assert process.stdin and process.stdout
        process.stdin.write(request + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], SECONDS)
        status = process.stdout.readline().strip() if ready else ""
        said = out.read_text("utf-8", "replace") if out.exists() else ""
        assert ready, f"{command.place}: no end within {SECONDS} s\n{command.text}\n{said}"
        assert status, f"{command.place}: this failed\n{command.text}\n{said}"
        return int(status), said

    def _process(self, language: str) -> "subprocess.Popen[str]":
        if language not in self._processes:
            program = [sys.executable, "-u", "-c", READER] if language == "python" else ["bash", "--noprofile", "--norc"]
            self._processes[language] = subprocess.Popen(
                program, cwd=self.folder, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        return self._processes[language]

    def close(self) -> None:
        for process in self._processes.values():
            assert process.stdin and process.stdout
            process.stdin.close()
            process.wait(10)
            process.stdout.close()


_IDS = re.compile(r"\b(job|swp|ds|mdl|art|key|prj|aud|req|psk)_[\w-]*…?")
_NUMBERS = re.compile(r"[-+−]?\d[\d,.:]*")
_CURVES = re.compile("[▁▂▃▄▅▆▇█]+")
_UNITS = re.compile(r"\b0 (k?B|MB|ms|s|min|h)\b")


def stable(line: str) -> str:
    """The part of a line that is the same on every machine and every day: ids, numbers and curves are not."""
    line = _CURVES.sub("", _NUMBERS.sub("0", _IDS.sub("ID", line)))
    return " ".join(_UNITS.sub("0", line).split())


def missing(says: list[str], output: str) -> str | None:
    """The first of the lines of `says` that `output` does not have, in that order. `…` stands for anything."""
    lines = [stable(line) for line in output.splitlines()]
    at = 0
    for expected in says:
        wanted = stable(expected)
        if wanted in ("", "…"):
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in wanted.split("…")))
        found = next((i for i in range(at, len(lines)) if pattern.fullmatch(lines[i])), None)
        if found is None:
            return expected
        at = found + 1
    return None
