"""Data of the Hub, from a server here that speaks its protocol, through the real client: its Parquet files, subsets, revisions, shards."""

import json
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from engine_hub import COMMIT, OLD, Hub, run, run_all, serving
from engine_texts import write_texts

from contract.check import parse_spec
from contract.errors import InvalidSpec
from contract.spec import JobSpec

CONVERTED = "refs/convert/parquet"


def reading(source: dict[str, Any], **more: Any) -> JobSpec:
    document = {
        "kind": "train",
        "task": "text-classification",
        "data": {"train": source, **more},
        "student": {"arch": "textcnn", "embedding": 8, "channels": 8},
        "training": {"epochs": 1},
    }
    return parse_spec(document)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreadingHTTPServer]:
    """`plain` has one subset, train in two files; `two` has two; `own` has JSON lines of its own and nothing else."""
    home = tmp_path_factory.mktemp("published")
    rows = [json.loads(line) for line in write_texts(home / "rows.jsonl").read_text().splitlines()]
    for repo, subsets in (("plain", ["default"]), ("single", ["en"]), ("two", ["de", "en"])):
        for subset in subsets:
            for split, parts in (("train", [rows[:40], rows[40:90]]), ("test", [rows[90:]]), ("unsupervised", [rows[:5]])):
                for number, part in enumerate(parts):
                    path = home / repo / subset / split / f"{number:04}.parquet"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    pq.write_table(pa.Table.from_pylist(part), path)
    (home / "own" / "data").mkdir(parents=True)
    for name, part in (("train-00000-of-00001", rows[:90]), ("dev", rows[90:])):
        (home / "own" / "data" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    for subset, part in (("de", [{"other": 1}]), ("en", rows)):
        (home / "many" / subset).mkdir(parents=True)
        (home / "many" / subset / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    (home / "own" / "load.py").write_text("raise SystemExit('never run')")
    folders = {f"datasets/org/{name}": home / name for name in ("plain", "single", "two", "own", "many")}
    with serving(folders, {"main": OLD, CONVERTED: COMMIT, OLD: OLD}) as server:
        yield server


def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out" / "report.json").read_text())
    return found


def test_the_hubs_own_files_are_read_in_all_their_parts(tmp_path: Path, hub: ThreadingHTTPServer) -> None:
    Hub.fetched.clear()
    sources = [{"hub": "org/plain"}, {"hub": "org/single"}, {"hub": "org/two", "subset": "en"}]
    done = run_all(tmp_path, hub, [reading(source) for source in sources])
    for number, (one, source) in enumerate(zip(done, sources, strict=True)):
        assert one.returncode == 0, one.stderr
        told = report(tmp_path / str(number))
        assert (told["split"], told["rows"]) == ("test", 40)
        assert "allow_patterns" not in one.stderr, "what is only looked for needs no warning"
        assert (tmp_path / "hf" / "hub" / f"datasets--{source['hub'].replace('/', '--')}" / "snapshots" / COMMIT).is_dir()
    assert Hub.fetched and not any("/de/" in f"/{name}" for name in Hub.fetched)


def test_it_is_found_again_without_the_hub(tmp_path: Path, hub: ThreadingHTTPServer) -> None:
    spec = reading({"hub": "org/plain"}, test={"hub": "org/plain", "split": "unsupervised"})
    assert run(tmp_path, hub, spec).returncode == 0
    (tmp_path / "out").rename(tmp_path / "before")
    Hub.fetched.clear()
    again = run(tmp_path, hub, spec, HF_HUB_OFFLINE="1")
    assert again.returncode == 0, again.stderr
    assert Hub.fetched == [] and report(tmp_path)["rows"] == 5
    weights = [(tmp_path / name / "student" / "model.safetensors").read_bytes() for name in ("before", "out")]
    assert weights[0] == weights[1]


def test_files_of_a_revision_of_its_own(tmp_path: Path, hub: ThreadingHTTPServer) -> None:
    source = {"hub": "org/own", "revision": "main"}
    done = run(tmp_path, hub, reading(source, test={**source, "split": "validation"}))
    assert done.returncode == 0, done.stderr
    assert report(tmp_path)["rows"] == 40
    assert not any(name.endswith(".py") for name in Hub.fetched)


def test_of_a_revision_of_its_own_one_subset(tmp_path: Path, hub: ThreadingHTTPServer) -> None:
    Hub.fetched.clear()
    sources = [{"hub": "org/many", "subset": subset, "revision": "main"} for subset in ("en", "fr")]
    done, refused = run_all(tmp_path, hub, [reading(source, validation=0.3) for source in sources])
    assert done.returncode == 0, done.stderr
    assert report(tmp_path / "0")["rows"] == 39
    assert not any("de/" in name for name in Hub.fetched)
    assert refused.returncode != 0 and "org/many has no files of the subset fr" in " ".join(refused.stderr.split())


REFUSED = [
    ({"hub": "org/nothing"}, "there is no org/nothing at http://127.0.0.1", "Check the name"),
    ({"hub": "org/two"}, "org/two has several subsets; there are de, en", "Name one"),
    ({"hub": "org/two", "subset": "fr"}, "org/two has no subset fr; there are de, en", "Name one"),
    ({"hub": "org/plain", "revision": "v9"}, "org/plain has no revision v9", "commit, tag or branch"),
    ({"hub": "org/plain", "split": "dev"}, "there is no split 'dev'; there are", ""),
]


def test_what_is_not_there_is_said(tmp_path: Path, hub: ThreadingHTTPServer) -> None:
    done = run_all(tmp_path, hub, [reading(source) for source, *_ in REFUSED])
    for one, (_, said, hint) in zip(done, REFUSED, strict=True):
        words = " ".join(one.stderr.split())
        assert one.returncode != 0 and "Traceback" not in one.stderr
        assert said in words and hint in words


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"hub": "org/a", "dataset": "digits"}, "give exactly one of"),
        ({"dataset": "digits", "subset": "x"}, "only `hub` has a subset"),
        ({"hub": "../etc"}, "hub"),
        ({"hub": "org/a", "subset": ".."}, "subset"),
        ({"hub": "org/a", "subset": "a/../b"}, "subset"),
        ({"hub": "org/a", "revision": "../../x"}, "revision"),
        ({"hub": "org/a", "revision": "a/.."}, "revision"),
        ({"hub": "org/a", "revision": "/etc"}, "revision"),
    ],
)
def test_what_makes_no_sense_or_leads_out_of_the_cache_is_refused(source: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidSpec, match=said):
        reading(source)
