"""Which checkpoint a run goes on from, and what it says when one cannot be used."""

import json
import shutil

import numpy as np
import pytest
import torch
from engine_runs import digest, small, stopped_twice

from contract.check import parse_spec
from contract.events import LogLine, Resumed
from distill.errors import CheckpointInvalidError
from distill.loop import asked
from distill.manifest import verify
from distill.networks import load, save

SPEC = small(student={"arch": "mlp", "hidden": [8], "dropout": 0.3}, training={"early_stopping": {"patience": 50}})


def flip_a_bit(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)


def truncate(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])


def remove(folder, name):
    (folder / name).unlink()


def forget(folder, name):
    """Out of the manifest: a file nobody vouches for."""
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"][name]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def lie(folder, name):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))


def invalid(step):
    """What a warning about the checkpoint of this step says to programs; step 0 is the beginning."""
    return {"code": "checkpoint_invalid", "step": step}


FILES = ("model.safetensors", "optimizer.safetensors", "rng.safetensors", "best.safetensors", "state.json")
DAMAGE = [(harm, name) for name in FILES for harm in (flip_a_bit, truncate, remove, forget, lie)]
DAMAGE += [(harm, "manifest.json") for harm in (truncate, remove)]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    return stopped_twice(tmp_path_factory.mktemp("stopped"), SPEC)


@pytest.fixture
def candidates(stopped, tmp_path):
    """Copies to damage."""
    return [shutil.copytree(folder, tmp_path / "candidates" / folder.name) for folder in stopped[0]]


def test_the_newest_is_taken(engine, candidates, stopped):
    ran = engine.run(SPEC, resume=candidates)
    assert ran.of(Resumed) == [Resumed(step=13, inexact=None)]
    assert ran.warnings == []
    assert ran.weights == stopped[1]


@pytest.mark.parametrize(("harm", "name"), DAMAGE, ids=[f"{harm.__name__}-{name}" for harm, name in DAMAGE])
def test_a_damaged_one_is_named_and_the_one_before_it_used(engine, candidates, stopped, harm, name):
    """Disks tear and flip: resuming from half a checkpoint would hand out a student that nobody trained."""
    harm(candidates[0], name)
    with pytest.raises(CheckpointInvalidError):
        verify(candidates[0])
    ran = engine.run(SPEC, resume=candidates)
    assert ran.of(Resumed) == [Resumed(step=7, inexact=None)]
    (warning,) = [line for line in ran.of(LogLine) if line.level == "warning"]
    assert warning.message.startswith("checkpoint not used: 13")
    assert warning.data == invalid(13)
    assert ran.weights == stopped[1]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": []}', '{"files": {}}', "\x00" * 100, '{"files": {"../../x": "0"}}'])
def test_a_manifest_that_says_nothing_vouches_for_nothing(engine, candidates, content):
    (candidates[0] / "manifest.json").write_text(content)
    assert engine.run(SPEC, resume=candidates).of(Resumed) == [Resumed(step=7, inexact=None)]


def test_with_none_left_it_starts_again_and_ends_the_same(engine, candidates, stopped):
    for folder in candidates:
        flip_a_bit(folder, "model.safetensors")
    ran = engine.run(SPEC, resume=candidates)
    assert ran.of(Resumed) == []
    assert [line.data for line in ran.of(LogLine) if line.level == "warning"] == [invalid(13), invalid(7), invalid(0)]
    assert ran.warnings[-1] == "no checkpoint could be used: training starts again at step 0"
    assert ran.curve()[0][0] == 1
    assert ran.weights == stopped[1]


def test_a_folder_that_is_gone_is_one_more_that_cannot_be_used(engine, candidates, stopped):
    shutil.rmtree(candidates[0])
    ran = engine.run(SPEC, resume=candidates)
    assert ran.of(Resumed) == [Resumed(step=7, inexact=None)]
    assert ran.weights == stopped[1]


def test_a_vouched_for_file_that_cannot_be_read_leaves_nothing_behind(engine, candidates, stopped):
    """Found only after network and optimiser were already loaded: the fresh start must not begin with those."""
    for folder in candidates:
        (folder / "rng.safetensors").write_bytes(b"no random state")
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["files"]["rng.safetensors"] = digest(folder / "rng.safetensors")
        (folder / "manifest.json").write_text(json.dumps(manifest))
    ran = engine.run(SPEC, resume=candidates)
    assert len(ran.warnings) == 3
    assert ran.weights == stopped[1]


def test_other_rows_or_another_teacher_behind_the_same_path_are_noticed(engine, npz, tmp_path, teacher):
    """A path in a spec says nothing of what lies there now; going on would mix two jobs into one student."""
    x, y = np.random.default_rng(0).random((40, 8, 8)), np.arange(40) % 10
    start = shutil.copytree(teacher, tmp_path / "start")
    data = {"train": {"path": npz(x_train=x, y_train=y, x_test=x, y_test=y)}, "max_train_samples": None, "validation": 0.25}
    spec = small(start, data=data)
    cut = engine.run(spec, stop_after=2)
    assert engine.run(spec, stop_after=1, resume=cut.checkpoints).of(Resumed)

    for row in range(0, 40, 3):  # rows held out for validation among them
        npz(x_train=x, y_train=np.where(np.arange(40) == row, (y + 1) % 10, y), x_test=x, y_test=y)
        assert not engine.run(spec, stop_after=1, resume=cut.checkpoints).of(Resumed)

    npz(x_train=x, y_train=y, x_test=x, y_test=y)
    network, config = load(start)
    with torch.no_grad():
        network[-1].bias += 1e-3
    save(network, config, start)
    assert not engine.run(spec, stop_after=1, resume=cut.checkpoints).of(Resumed)


@pytest.mark.parametrize(
    "other",
    [
        small(student={"arch": "mlp", "hidden": [9]}),
        small(training={"seed": 7}),
        small(training={"optimizer": {"name": "sgd", "lr": 0.1}}),
        small(data={"max_train_samples": 99}),
        small(training={"epochs": 4}),
    ],
    ids=["student", "seed", "optimiser", "data", "epochs"],
)
def test_one_of_another_spec_is_not_used(engine, candidates, other):
    """Even where the tensors would fit."""
    ran = engine.run(other, resume=candidates)
    assert ran.of(Resumed) == []
    assert all("belongs to another spec" in warning for warning in ran.warnings[:-1])
    assert len(ran.warnings) == 3
    assert ran.weights == engine.run(other).weights


def test_a_version_with_more_fields_goes_on_from_checkpoints_of_one_with_fewer():
    """A run is known by its spec as it stands here to the letter: a new field is None when not said, or runs of the version before begin
    anew after an upgrade. What cannot change bits is not in it."""
    spec = parse_spec(
        {
            "kind": "distill",
            "name": "any",
            "task": "image-classification",
            "data": {"train": "digits", "test": "digits"},
            "teacher": {"path": "t"},
            "student": {"arch": "mlp", "hidden": [8]},
            "priority": 3,
            "resources": {"labels": ["any"]},
        }
    )
    told = {
        "version": 1,
        "kind": "distill",
        "task": "image-classification",
        "data": {"train": {"dataset": "digits", "columns": {}}, "test": {"dataset": "digits", "columns": {}}},
        "teacher": {"path": "t"},
        "student": {"arch": "mlp", "hidden": [8], "dropout": 0.0},
        "objective": [
            {"weight": 0.7, "loss": "kl", "temperature": 4.0},
            {"weight": 0.30000000000000004, "loss": "cross_entropy", "label_smoothing": 0.0},
        ],
        "teacher_outputs": "auto",
        "training": {
            "epochs": 10,
            "batch_size": 64,
            "gradient_checkpointing": False,
            "optimizer": {"name": "adam", "lr": 0.001, "weight_decay": 0.0},
            "schedule": {"name": "constant", "warmup": 0.0},
            "seed": 42,
            "precision": "auto",
            "compile": "auto",
            "checkpoint_every_seconds": 300.0,
            "keep": {"last": 2, "best": 1},
        },
        "evaluation": {"control": False, "seeds": 1, "compare": []},
    }
    assert asked(spec) == json.dumps(told, separators=(",", ":"))
