"""Checkpoints on disk: whole or absent, at the steps asked for, and the right ones let go."""

import json

import numpy as np
import pytest
from engine_runs import STEPS, digest, small
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.events import CheckpointSaved
from contract.training import Keep
from distill import disk, evaluate
from distill.manifest import verify
from distill.state import retain

scores = st.lists(st.one_of(st.none(), st.floats(-10, 10)), min_size=1, max_size=30)


@settings(max_examples=200, deadline=None)
@given(scores, st.integers(1, 5), st.integers(0, 3), st.booleans())
def test_the_newest_and_the_best_are_kept(values, last, best, higher_is_better):
    """Against a plain statement of the rule, checkpoint by checkpoint as a run makes them."""
    saved, everything, gone = {}, {}, set()
    for step, value in enumerate(values, start=1):
        saved[str(step)] = everything[step] = value
        gone |= set(retain(saved, Keep(last=last, best=best), higher_is_better))
        left = [s for s in everything if s not in gone]
        assert sorted(map(int, saved)) == left
        assert left[-last:] == sorted(everything)[-last:]
        judged = [s for s in left if everything[s] is not None]
        top = sorted((v for v in everything.values() if v is not None), reverse=higher_is_better)[:best]
        kept = sorted((everything[s] for s in judged), reverse=higher_is_better)[:best]
        assert kept == top
        assert len(left) <= last + best


@pytest.mark.parametrize(("metric", "best"), [("accuracy", 12), ("loss", 6)])
def test_a_run_names_what_falls_out_by_the_metric_it_watches(engine, monkeypatch, metric, best):
    results = iter([{"accuracy": 0.1, "loss": 1.0}, {"accuracy": 0.9, "loss": 2.0}, {"accuracy": 0.2, "loss": 3.0}])
    monkeypatch.setattr(evaluate, "quick", lambda *_: next(results))
    stop = {"patience": 9, "metric": metric}
    ran = engine.run(small(training={"checkpoint_every_seconds": 0, "keep": {"last": 2, "best": 1}, "early_stopping": stop}))
    events = ran.of(CheckpointSaved)
    assert [event.step for event in events] == list(range(1, STEPS + 1))
    left = {event.step for event in events} - {step for event in events for step in event.dropped}
    assert left == {best, STEPS - 1, STEPS}
    assert len({step for event in events for step in event.dropped}) == sum(len(event.dropped) for event in events)  # each once


def test_the_event_comes_when_the_checkpoint_is_whole(engine):
    """Who hears of a checkpoint may take it at once: at that moment it verifies and nothing half-written lies beside it."""
    heard = []

    def emit(event):
        if isinstance(event, CheckpointSaved):
            folder = engine.home / "attempt-1" / "checkpoints" / str(event.step)
            assert str(folder) == event.folder
            verify(folder)
            heard.append(event.step)
            assert sorted(path.name for path in folder.parent.iterdir()) == sorted(map(str, heard))

    engine.run(small(training={"checkpoint_every_seconds": 0}), emit=emit)
    assert heard == list(range(1, STEPS + 1))


def test_a_checkpoint_is_safetensors_and_json_and_its_manifest_holds_every_hash(engine):
    """Never pickle: a checkpoint may come from a store that others can write to."""
    folder = engine.run(small()).checkpoint(STEPS)
    files = json.loads((folder / "manifest.json").read_text())["files"]
    assert files == {path.name: digest(path) for path in folder.iterdir() if path.name != "manifest.json"}
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}
    document = json.loads((folder / "state.json").read_text())
    assert {"torch", "cuda", "device", "threads", "world_size"} <= document["identity"]["fingerprint"].keys()


@pytest.mark.parametrize("minutes", [86_400, 300])
def test_a_short_run_leaves_one_checkpoint_of_its_end(engine, minutes):
    ran = engine.run(small(training={"checkpoint_every_seconds": minutes}))
    assert [event.step for event in ran.of(CheckpointSaved)] == [STEPS]


def test_every_file_reaches_the_disk_before_the_name_and_the_name_before_the_event(engine, monkeypatch):
    """A power cut after the rename must not leave a folder of the right name with empty files in it."""
    done, folder = [], engine.home / "attempt-1" / "checkpoints" / str(STEPS)
    monkeypatch.setattr(disk, "fsync", lambda path: done.append((path.name, folder.exists())))
    engine.run(small(), emit=lambda event: done.append(event.type))
    (event,) = [i for i, what in enumerate(done) if what == "checkpoint"]
    *files, parent = [what for what in done[:event] if isinstance(what, tuple)]
    written = {"model.safetensors", "optimizer.safetensors", "rng.safetensors", "state.json", "manifest.json", f".{STEPS}.tmp"}
    assert {name for name, _ in files} == written
    assert not any(renamed for _, renamed in files)
    assert parent == ("checkpoints", True)


def test_what_a_crash_left_half_written_is_no_obstacle_and_does_not_stay(engine):
    """The trainer died in the middle of writing, here twice: one such folder for each crash would fill the disk."""
    folder = engine.home / "attempt-1" / "checkpoints"

    def emit(event):
        for step in () if folder.exists() else (7, STEPS):
            (folder / f".{step}.tmp").mkdir(parents=True)
            (folder / f".{step}.tmp" / "model.safetensors").write_bytes(np.random.default_rng(0).bytes(100))

    engine.run(small(), emit=emit)
    verify(folder / str(STEPS))
    assert [path.name for path in folder.iterdir()] == [str(STEPS)]
