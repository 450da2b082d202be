"""Networks of the Hub, from a server here that speaks its protocol, through the real client: fetched, pinned, kept, and every refusal."""

from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from engine_hub import COMMIT, OLD, Hub, run, run_all, serving
from engine_runs import Engine
from engine_texts import STUDENTS, texts, write_texts

from contract.spec import JobSpec
from distill.device import threads

OFFLINE, NOBODY = {"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("texts") / "rows.jsonl")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, file: Path) -> Iterator[ThreadingHTTPServer]:
    with threads(1):
        folder = Engine(tmp_path_factory.mktemp("published")).run(texts(file, student=STUDENTS["bert"])).student
    (folder / "pytorch_model.bin").write_bytes(b"never fetched")
    with serving({"models/org/reader": folder}, {"main": COMMIT, OLD: OLD}) as server:
        yield server


def reading(file: Path, ref: dict[str, str]) -> JobSpec:
    return texts(file, student=ref, training={"epochs": 1})


def test_it_is_fetched_pinned_and_found_again_without_the_hub(tmp_path: Path, hub: ThreadingHTTPServer, file: Path) -> None:
    Hub.fetched.clear()
    first = run(tmp_path, hub, reading(file, {"hub": "org/reader"}))
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "hf" / "hub" / "models--org--reader" / "snapshots" / COMMIT / "config.json").exists()
    assert {"a:config.json", "a:model.safetensors", "a:tokenizer.json"} <= set(Hub.fetched)
    assert not any("bin" in name or "README" in name for name in Hub.fetched)
    Hub.fetched.clear()
    (tmp_path / "out").rename(tmp_path / "before")
    again = run(tmp_path, hub, reading(file, {"hub": "org/reader"}), HF_HUB_OFFLINE="1")
    assert again.returncode == 0, again.stderr
    assert Hub.fetched == []
    (tmp_path / "out").rename(tmp_path / "again")
    pinned = run(tmp_path, hub, reading(file, {"hub": "org/reader", "revision": OLD}))
    assert pinned.returncode == 0, pinned.stderr
    assert (tmp_path / "hf" / "hub" / "models--org--reader" / "snapshots" / OLD / "config.json").exists()
    weights = [(tmp_path / name / "student" / "model.safetensors").read_bytes() for name in ("before", "again", "out")]
    assert weights[0] == weights[1] == weights[2]


REFUSED = [
    ({"hub": "org/raeder"}, {}, "there is no org/raeder at http://127.0.0.1", "Check the name"),
    ({"hub": "org/gated"}, {}, "org/gated is gated", "HF_TOKEN"),
    ({"hub": "org/reader", "revision": "v9"}, {}, "org/reader has no revision v9", "commit, tag or branch"),
    ({"hub": "org/reader"}, OFFLINE, "not in the cache of this machine, and HF_HUB_OFFLINE is set", "potstill models push"),
    ({"hub": "org/reader"}, NOBODY, "http://127.0.0.1:9 did not answer", "potstill models push"),
]


@pytest.mark.parametrize("environment", [{}, OFFLINE, NOBODY])
def test_what_is_not_there_is_said_with_what_to_set(
    tmp_path: Path, hub: ThreadingHTTPServer, file: Path, environment: dict[str, str]
) -> None:
    cases = [case for case in REFUSED if case[1] == environment]
    done = run_all(tmp_path, hub, [reading(file, ref) for ref, *_ in cases], **environment)
    for one, (*_, said, hint) in zip(done, cases, strict=True):
        words = " ".join(one.stderr.split())
        assert one.returncode != 0 and "Traceback" not in one.stderr
        assert said in words and hint in words
