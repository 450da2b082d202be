"""A server here that speaks the Hub's protocol, for the real client: networks and data, pinned, gated, missing."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from servers import CLI

from contract.spec import JobSpec

COMMIT, OLD = "a" * 40, "b" * 40
OUTS = "stdout", "stderr"


class Hub(BaseHTTPRequestHandler):
    """folders: of each repository, models/org/name or datasets/org/name; revisions: those it knows, each with its commit."""

    folders: dict[str, Path]
    revisions: dict[str, str]
    fetched: list[str]

    def do_GET(self) -> None:
        self.answer(True)

    def do_HEAD(self) -> None:
        self.answer(False)

    def answer(self, body: bool) -> None:
        path = unquote(self.path.split("?")[0])
        if path.startswith("/api/"):
            self.about(path.removeprefix("/api/"))
            return
        kind = "datasets" if path.startswith("/datasets/") else "models"
        org, name, _, commit, file = path.removeprefix("/datasets").lstrip("/").split("/", 4)
        content = (self.folders[f"{kind}/{org}/{name}"] / file).read_bytes()
        if body:
            self.fetched.append(f"{commit[0]}:{file}")
        self.head(200, {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"', "Content-Length": str(len(content))})
        if body:
            self.wfile.write(content)

    def about(self, path: str) -> None:
        repo, _, rest = path.partition("/revision/")
        repo, _, tree = repo.partition("/tree/")
        folder = self.folders.get(repo)
        if folder is None:
            gated = repo.endswith("/gated")
            self.refuse(*((403, "GatedRepo") if gated else (401, "RepoNotFound")))
        elif tree:
            files = sorted(file for file in folder.rglob("*") if file.is_file())
            sizes = [(file.relative_to(folder).as_posix(), file.stat().st_size) for file in files]
            self.say([{"type": "file", "path": name, "size": size, "oid": "0"} for name, size in sizes])
        elif rest not in self.revisions:
            self.refuse(404, "RevisionNotFound")
        else:
            said = {"id": repo.split("/", 1)[1], "sha": self.revisions[rest], "siblings": [], "private": False}
            self.say(said)

    def say(self, answer: Any) -> None:
        said = json.dumps(answer).encode()
        self.head(200, {"Content-Type": "application/json", "Content-Length": str(len(said))})
        self.wfile.write(said)

    def refuse(self, status: int, code: str) -> None:
        self.head(status, {"X-Error-Code": code, "X-Error-Message": code, "Content-Length": "0"})

    def head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *given: Any) -> None:
        pass


@contextmanager
def serving(folders: dict[str, Path], revisions: dict[str, str]) -> Iterator[ThreadingHTTPServer]:
    Hub.folders, Hub.revisions, Hub.fetched = folders, revisions, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


# `potstill run` in each folder named, in copies of one process that has imported what it needs.
COPIES = """
import os, sys
import distill.train, transformers
from potstill.cli import main
for folder in sys.argv[1:]:
    if (child := os.fork()) == 0:
        os.chdir(folder)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), number)
        sys.argv = ["potstill", "run", "spec.json", "--out", "out"]
        main()
        os._exit(0)
    with open(os.path.join(folder, "code"), "w") as file:
        file.write(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
"""


def run_all(
    folder: Path, server: ThreadingHTTPServer, specs: Sequence[JobSpec], **environment: str
) -> list[subprocess.CompletedProcess[str]]:
    """What `run` does, for each spec; all with one environment, and one cache."""
    folders = [folder / str(number) for number in range(len(specs))]
    for place, spec in zip(folders, specs, strict=True):
        place.mkdir()
        (place / "spec.json").write_text(spec.model_dump_json(exclude_none=True))
    command = [sys.executable, "-P", "-c", COPIES, *map(str, folders)]
    subprocess.run(command, env=_environment(folder, server, environment), check=True, timeout=200)
    return [
        subprocess.CompletedProcess(["potstill", "run"], int((place / "code").read_text()), *((place / out).read_text() for out in OUTS))
        for place in folders
    ]


def run(folder: Path, server: ThreadingHTTPServer, spec: JobSpec, **environment: str) -> subprocess.CompletedProcess[str]:
    """`potstill run` in a process of its own: where the Hub is, is read when its library is imported."""
    (folder / "spec.json").write_text(spec.model_dump_json(exclude_none=True))
    command = [*CLI, "run", str(folder / "spec.json"), "--out", str(folder / "out")]
    environment = _environment(folder, server, environment)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=folder)


def _environment(folder: Path, server: ThreadingHTTPServer, more: dict[str, str]) -> dict[str, str]:
    place = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "POTSTILL_"))}
    return {**kept, **place, **more, "OMP_NUM_THREADS": "1"}
