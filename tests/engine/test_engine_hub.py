"""Networks of the Hub, from a server here that speaks its protocol, through the real client: fetched, pinned, kept, and every refusal."""

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from engine_runs import Engine
from engine_texts import STUDENTS, texts, write_texts
from servers import CLI

from distill.device import threads

COMMIT, OLD = "a" * 40, "b" * 40


class Hub(BaseHTTPRequestHandler):
    folder: Path
    fetched: list[str]

    def do_GET(self) -> None:
        self.answer(True)

    def do_HEAD(self) -> None:
        self.answer(False)

    def answer(self, body: bool) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/api/models/org/"):
            self.about(path.removeprefix("/api/models/org/"))
            return
        *_, commit, file = path.split("/", 5)
        content = (self.folder / file).read_bytes()
        if body:
            self.fetched.append(f"{commit[0]}:{file}")
        self.head(200, {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"', "Content-Length": str(len(content))})
        if body:
            self.wfile.write(content)

    def about(self, rest: str) -> None:
        name, _, revision = rest.partition("/revision/")
        if "/tree/" in rest:
            self.say([{"type": "file", "path": file.name, "size": file.stat().st_size, "oid": "0"} for file in self.folder.iterdir()])
        elif name == "gated":
            self.refuse(403, "GatedRepo")
        elif name != "reader":
            self.refuse(401, "RepoNotFound")
        elif revision not in ("main", OLD):
            self.refuse(404, "RevisionNotFound")
        else:
            self.say({"id": "org/reader", "sha": OLD if revision == OLD else COMMIT, "siblings": [], "private": False})

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


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("texts") / "rows.jsonl")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, file: Path) -> Iterator[ThreadingHTTPServer]:
    with threads(1):
        Hub.folder = Engine(tmp_path_factory.mktemp("published")).run(texts(file, student=STUDENTS["bert"])).student
    (Hub.folder / "pytorch_model.bin").write_bytes(b"never fetched")
    Hub.fetched = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def run(folder: Path, server: ThreadingHTTPServer, file: Path, ref: dict[str, str], **environment: str) -> subprocess.CompletedProcess[str]:
    """`potstill run` in a process of its own: where the Hub is, is read when its library is imported."""
    spec = texts(file, student=ref, training={"epochs": 1}).model_dump(mode="json", exclude_none=True)
    (folder / "spec.json").write_text(json.dumps(spec))
    place = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "POTSTILL_"))}
    command = [*CLI, "run", str(folder / "spec.json"), "--out", str(folder / "out")]
    environment = {**kept, **place, **environment, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=folder)


def test_it_is_fetched_pinned_and_found_again_without_the_hub(tmp_path: Path, hub: ThreadingHTTPServer, file: Path) -> None:
    Hub.fetched.clear()
    first = run(tmp_path, hub, file, {"hub": "org/reader"})
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "hf" / "hub" / "models--org--reader" / "snapshots" / COMMIT / "config.json").exists()
    assert {"a:config.json", "a:model.safetensors", "a:tokenizer.json"} <= set(Hub.fetched)
    assert not any("bin" in name or "README" in name for name in Hub.fetched)
    Hub.fetched.clear()
    (tmp_path / "out").rename(tmp_path / "before")
    again = run(tmp_path, hub, file, {"hub": "org/reader"}, HF_HUB_OFFLINE="1")
    assert again.returncode == 0, again.stderr
    assert Hub.fetched == []
    (tmp_path / "out").rename(tmp_path / "again")
    pinned = run(tmp_path, hub, file, {"hub": "org/reader", "revision": OLD})
    assert pinned.returncode == 0, pinned.stderr
    assert (tmp_path / "hf" / "hub" / "models--org--reader" / "snapshots" / OLD / "config.json").exists()
    weights = [(tmp_path / name / "student" / "model.safetensors").read_bytes() for name in ("before", "again", "out")]
    assert weights[0] == weights[1] == weights[2]


@pytest.mark.parametrize(
    ("ref", "environment", "said", "hint"),
    [
        ({"hub": "org/raeder"}, {}, "there is no org/raeder at http://127.0.0.1", "Check the name"),
        ({"hub": "org/gated"}, {}, "org/gated is gated", "HF_TOKEN"),
        ({"hub": "org/reader", "revision": "v9"}, {}, "org/reader has no revision v9", "commit, tag or branch"),
        (
            {"hub": "org/reader"},
            {"HF_HUB_OFFLINE": "1"},
            "not in the cache of this machine, and HF_HUB_OFFLINE is set",
            "potstill models push",
        ),
        ({"hub": "org/reader"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}, "http://127.0.0.1:9 did not answer", "potstill models push"),
    ],
)
def test_what_is_not_there_is_said_with_what_to_set(
    tmp_path: Path, hub: ThreadingHTTPServer, file: Path, ref: dict[str, str], environment: dict[str, str], said: str, hint: str
) -> None:
    done = run(tmp_path, hub, file, ref, **environment)
    words = " ".join(done.stderr.split())
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert said in words and hint in words
