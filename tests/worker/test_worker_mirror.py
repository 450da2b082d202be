"""Mirrors, each with the real library and read back by its own reader; and trackers that hang, are away or are not there."""

import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.events import Resumed, Step
from worker import mirror
from worker.mirror import Mirror, Mirrors
from worker.settings import Settings
from worker.trackers import Mirrored, figures, flat

SPEC = {"kind": "train", "name": None, "training": {"epochs": 3, "optimizer": {"lr": 0.01}}, "objective": [{"loss": "kl", "weight": 1.0}]}
REPORT = {"verdict": "One run: fine.", "arms": {"model": {"metrics": {"accuracy": {"mean": 0.9, "values": [0.9]}, "loss": {}}}}}


def steps(first: int, last: int) -> list[Step]:
    return [
        Step(step=i, total_steps=100, epoch=1, metrics={"train/loss": 1 / i, "validation/accuracy": i / 100})
        for i in range(first, last + 1)
    ]


def mirrors(folder: Path, *names: Any, attempt: int = 1, **settings: Any) -> tuple[Mirrors, list[str]]:
    said: list[str] = []
    run = Mirrored("job_1", "digits", "model", 42, attempt, SPEC, folder)
    return Mirrors(names, run, Settings(home=folder, **settings), said.append), said


def whole(made: Mirrors) -> None:
    made.hear(steps(1, 5))
    made.end(REPORT, succeeded=True)


def test_a_spec_is_flat_for_trackers_and_a_report_is_its_means() -> None:
    assert dict(flat(SPEC)) == {
        "kind": "train",
        "training.epochs": 3,
        "training.optimizer.lr": 0.01,
        "objective.0.loss": "kl",
        "objective.0.weight": 1.0,
    }
    assert figures(REPORT) == {"report/model/accuracy": 0.9} and figures(None) == {}


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing a library for the first time is slow on a busy machine, and no fault of a mirror's."""
    monkeypatch.setattr(mirror, "END_SECONDS", 100.0)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


def test_tensorboard_reads_back_what_was_said_of_both_attempts(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first, said = mirrors(tmp_path, "tensorboard")
    first.hear(steps(1, 8))
    first.end(None, succeeded=False)
    second, said_again = mirrors(tmp_path, "tensorboard", attempt=2)
    second.hear([Resumed(step=5), *steps(6, 9)])
    second.end(REPORT, succeeded=True)
    assert said == said_again == []
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    points = [(point.step, point.value) for point in found.Scalars("train/loss")]
    assert [step for step, _ in points] == list(range(1, 10)), "steps that came twice stand once"
    assert points[2][1] == pytest.approx(1 / 3)
    assert found.Scalars("report/model/accuracy")[0].value == pytest.approx(0.9)
    texts = {tag: found.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in found.Tags()["tensors"]}
    assert texts["verdict/text_summary"] == "One run: fine." and "training.optimizer.lr | 0.01" in texts["spec/text_summary"]


def test_mlflow_has_one_run_for_both_attempts(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    store = f"{(tmp_path / 'artifacts').as_uri()}"
    MlflowClient(tracking_uri=uri).create_experiment("potstill", artifact_location=store)
    first, said = mirrors(tmp_path, "mlflow", mlflow_tracking_uri=uri)
    first.hear(steps(1, 3))
    first.end(None, succeeded=False)
    second, said_again = mirrors(tmp_path, "mlflow", attempt=2, mlflow_tracking_uri=uri)
    second.hear(steps(4, 5))
    second.end(REPORT, succeeded=True)
    assert said == said_again == []
    client = MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("potstill").experiment_id])
    assert (
        run.info.status == "FINISHED" and run.data.tags["potstill.job"] == "job_1" and run.data.tags["potstill.verdict"] == "One run: fine."
    )
    assert run.data.params["training.optimizer.lr"] == "0.01" and run.data.metrics["report/model/accuracy"] == 0.9
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "train/loss")] == [(i, 1 / i) for i in range(1, 6)]
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["report.json"]


def leveldb_log(content: bytes) -> Iterator[bytes]:
    """The records of such a file: blocks of 32 KiB, each piece with checksum, length, and whether it is whole, first, middle or last."""
    assert content[:4] == b":W&B"
    at, parts = 7, b""
    while at + 7 <= len(content):
        if (left := -at % 32_768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield parts
            parts = b""


def test_wandb_without_a_key_leaves_a_file_that_its_own_reader_takes(tmp_path: Path) -> None:
    from wandb.proto.wandb_internal_pb2 import Record

    made, said = mirrors(tmp_path, "wandb")
    whole(made)
    assert said == []
    (file,) = (tmp_path / "wandb").rglob("*.wandb")
    records = [Record.FromString(data) for data in leveldb_log(file.read_bytes())]
    history = [
        {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]
    assert [(int(row["_step"]), float(row["train/loss"])) for row in history] == [(i, pytest.approx(1 / i)) for i in range(1, 6)]
    (run,) = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    assert run.run_id == "job_1" and run.project == "potstill"


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_tracker_that_hangs_costs_the_run_nothing_and_its_end_a_moment(
    tmp_path: Path, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "END_SECONDS", 2.0)
    import torch.utils.tensorboard  # noqa: F401 - a second of importing is no part of what is measured

    made, said = mirrors(tmp_path, "mlflow", "tensorboard", mlflow_tracking_uri=silent)
    began = time.monotonic()
    made.hear(steps(1, 500))
    made.hear(steps(501, 2000))
    assert time.monotonic() - began < 10, "mlflow itself would wait for minutes"
    made.end(REPORT, succeeded=True)
    assert time.monotonic() - began < 20
    assert any("mlflow was too slow for the end" in words for words in said)
    ended = time.monotonic()
    made.end(REPORT, succeeded=True)
    assert time.monotonic() - ended < 2.0, "an end that is written again does not wait again"


def test_one_that_falls_behind_says_how_much_it_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        def __init__(self, *_: Any) -> None:
            self.seen = 0

        def points(self, *_: Any) -> None:
            time.sleep(0.01)

        def end(self, *_: Any) -> None: ...

    monkeypatch.setitem(mirror.TRACKERS, "tensorboard", Slow)
    said: list[str] = []
    run = Mirrored("job_1", "digits", "model", 42, 1, SPEC, tmp_path)
    slow = Mirror("tensorboard", run, Settings(home=tmp_path), said.append, room=10)
    for step in steps(1, 100):
        slow.hear(step)
    slow.end(None, True, time.monotonic() + 20)
    (words,) = said
    assert "steps are not there" in words and 80 <= int(words.split(";")[1].split()[0]) <= 90


def test_one_that_is_away_is_a_warning(tmp_path: Path) -> None:
    made, said = mirrors(tmp_path, "mlflow", mlflow_tracking_uri="http://127.0.0.1:9")
    whole(made)
    assert len(said) == 1 and said[0].startswith("report_to: mlflow is told no more of this run")


def test_one_that_is_not_there_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, said = mirrors(tmp_path, "mlflow")
    whole(made)
    assert said == ["report_to: mlflow is not told of this run: POTSTILL_MLFLOW_TRACKING_URI is not set here"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    made, said = mirrors(tmp_path, "wandb")
    whole(made)
    assert said == ["report_to: wandb is not told of this run: wandb is not installed here: pip install 'potstill[wandb]'"]


def test_a_run_that_is_lost_leaves_no_thread_behind(tmp_path: Path) -> None:
    made, _ = mirrors(tmp_path, "tensorboard")
    made.hear(steps(1, 3))
    made.leave()
    (one,) = made._mirrors
    one._thread.join(60)
    assert not one._thread.is_alive()
