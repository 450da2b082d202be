"""Checkpoints that are not what was written: refused without a crash, a wait or a trace, and the one before taken."""

import json
import os
import random
import shutil

import numpy as np
import pytest
import torch
from engine_runs import digest, small, stopped_twice
from safetensors.torch import load_file, save_file

from contract.errors import ErrorCode, JobError
from contract.events import LogLine, Resumed
from distill.errors import CheckpointInvalidError
from distill.manifest import verify

SPEC = small(student={"arch": "mlp", "hidden": [4], "dropout": 0.3}, training={"early_stopping": {"patience": 50}})
TENSORS = ("model", "optimizer", "rng", "best")
FILES = (*(f"{name}.safetensors" for name in TENSORS), "state.json", "manifest.json")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    return stopped_twice(tmp_path_factory.mktemp("stopped"), SPEC)


@pytest.fixture
def candidates(stopped, tmp_path):
    """Copies to damage."""
    return [shutil.copytree(folder, tmp_path / "candidates" / folder.name) for folder in stopped[0]]


def refused(folder):
    try:
        verify(folder)
    except CheckpointInvalidError:
        return True
    return False


@pytest.mark.parametrize("name", FILES)
def test_every_length_and_every_flipped_byte_is_noticed(candidates, name):
    """All of the manifest and some 250 places of the others; one bit, the highest or the lowest, of each."""
    path = candidates[0] / name
    whole = path.read_bytes()
    step = 1 if name == "manifest.json" else max(1, len(whole) // 250)
    for length in {*range(0, len(whole), step), len(whole) - 1}:
        path.write_bytes(whole[:length])
        assert refused(path.parent), f"cut to {length}"
    for place in {*range(0, len(whole), step), len(whole) - 1}:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1, 32, 128)[place % 3]]) + whole[place + 1 :])
        assert refused(path.parent), f"byte {place}"
    path.write_bytes(whole + b" ")
    assert refused(path.parent) == (name != "manifest.json")  # there, a blank at the end says nothing
    path.write_bytes(whole)
    verify(path.parent)


def swap(folders, name):
    mine, theirs = (folder / name for folder in folders)
    content = mine.read_bytes()
    mine.write_bytes(theirs.read_bytes())
    theirs.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
def test_files_swapped_between_two_checkpoints_are_noticed(engine, candidates, stopped, name):
    """Each is a good file. Both folders are refused, and the run starts again. (The best weights of both are those of step 6.)"""
    same = (candidates[0] / name).read_bytes() == (candidates[1] / name).read_bytes()
    assert same == (name == "best.safetensors")
    swap(candidates, name)
    ran = engine.run(SPEC, resume=candidates)
    assert len(ran.warnings) == (0 if same else 3)
    assert ran.weights == stopped[1]


def pipe(folder):
    os.mkfifo(folder / "more")


def pipe_for_the_manifest(folder):
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")


def device_for_a_file(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("/dev/zero")


def device_in_the_manifest(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["/dev/zero"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))


def huge_manifest(folder):
    with (folder / "manifest.json").open("ab") as file:
        file.truncate(1 << 40)


def deep_manifest(folder):
    (folder / "manifest.json").write_text("[" * 200_000)


STRANGE = {
    "a file more": lambda folder: (folder / "more").write_text("?"),
    "a folder more": lambda folder: (folder / "more").mkdir(),
    "nothing there": lambda folder: [path.unlink() for path in folder.iterdir()],
    "a file in its place": lambda folder: (shutil.rmtree(folder), folder.write_text("?")),
    "a pipe, never written to": pipe,
    "a pipe for the manifest": pipe_for_the_manifest,
    "a device without end": device_for_a_file,
    "a device without end, named": device_in_the_manifest,
    "a manifest of a terabyte": huge_manifest,
    "a manifest of brackets": deep_manifest,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("harm", STRANGE.values(), ids=STRANGE)
def test_strange_folders_neither_stop_nor_hold_up_the_run(engine, candidates, stopped, harm):
    harm(candidates[0])
    ran = engine.run(SPEC, resume=candidates)
    assert ran.of(Resumed) == [Resumed(step=7)]
    assert ran.weights == stopped[1]


def tensors(name, change):
    """Changes the tensors of a file: `change` gets {name: tensor}."""

    def edit(folder):
        path = folder / f"{name}.safetensors"
        found = load_file(path)
        found = change(found) or found
        save_file(found, path)

    return edit


def number(*path, value):
    """Sets a number of state.json."""

    def edit(folder):
        document = json.loads((folder / "state.json").read_text())
        place = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        (folder / "state.json").write_text(json.dumps(document))

    return edit


def content(name, value):
    return lambda folder: (folder / name).write_bytes(value)


def gone(name):
    return lambda folder: (folder / name).unlink()


def set_to(key, value):
    def change(found):
        found[key].view(-1)[0] = value

    return change


def without(key):
    return lambda found: {name: value for name, value in found.items() if name != key}


WEIGHT, MOMENT = "1.weight", "0.exp_avg"
NONSENSE = {
    "weights of another shape": tensors("model", lambda found: found | {WEIGHT: torch.zeros(4, 63)}),
    "weights of another type": tensors("model", lambda found: {name: value.double() for name, value in found.items()}),
    "a weight that is not a number": tensors("model", set_to(WEIGHT, float("nan"))),
    "an infinite weight": tensors("model", set_to(WEIGHT, float("inf"))),
    "weights missing": tensors("model", without(WEIGHT)),
    "weights more": tensors("model", lambda found: found | {"9.weight": torch.zeros(1)}),
    "a best weight that is not a number": tensors("best", set_to(WEIGHT, float("nan"))),
    "best weights of another shape": tensors("best", lambda found: found | {WEIGHT: torch.zeros(1)}),
    "no best weights": gone("best.safetensors"),
    "a moment that is not a number": tensors("optimizer", set_to(MOMENT, float("nan"))),
    "a moment of another shape": tensors("optimizer", lambda found: found | {MOMENT: torch.zeros(3)}),
    "a moment missing": tensors("optimizer", without(MOMENT)),
    "moments missing": tensors("optimizer", lambda found: {"0.step": found["0.step"]}),
    "moments of a parameter too many": tensors("optimizer", lambda found: found | {"99.step": torch.tensor(1.0)}),
    "moments without a parameter": tensors("optimizer", lambda found: found | {"step": torch.tensor(1.0)}),
    "no weights": gone("model.safetensors"),
    "no moments": gone("optimizer.safetensors"),
    "no state": gone("state.json"),
    "a short random state": tensors("rng", lambda found: found | {"torch": found["torch"][:100].clone()}),
    "a random state of noise": tensors("rng", lambda found: found | {"torch": torch.full_like(found["torch"], 255)}),
    "a random state of another type": tensors("rng", lambda found: found | {"torch": found["torch"].float()}),
    "a random state past its end": tensors("rng", lambda found: found | {"numpy_position": torch.tensor([9e9, 0, 0]).double()}),
    "a random state before its beginning": tensors("rng", lambda found: found | {"numpy_position": torch.tensor([-1.0, 0, 0])}),
    "a random state at no position": tensors("rng", lambda found: found | {"numpy_position": torch.tensor([float("nan"), 0, 0])}),
    "a random state of three numbers": tensors("rng", lambda found: found | {"numpy": torch.arange(3)}),
    "Python's random state past its end": number("python_random", value=[3, [*range(624), 99_999], None]),
    "Python's random state of words": number("python_random", value=[3, ["a"] * 625, None]),
    "Python's random state of another version": number("python_random", value=[9, list(range(625)), None]),
    "a step before the beginning": number("progress", "step", value=-1),
    "no step made": number("progress", "step", value=0),
    "a step past the end": number("progress", "step", value=19),
    "half a step": number("progress", "step", value=12.5),
    "a step of words": number("progress", "step", value="13"),
    "a step beyond all numbers": number("progress", "step", value=10**400),
    "the best step in the future": number("progress", "best_step", value=14),
    "more steps summed than made": number("progress", "summed_steps", value=14),
    "a sum that is not a number": number("progress", "sums", value={"train/loss": float("nan")}),
    "a sum of words": number("progress", "sums", value={"train/loss": "much"}),
    "an infinite best": number("progress", "best", value=float("inf")),
    "checkpoints kept of the future": number("progress", "saved", value={"13": 0.5, "99": 0.5}),
    "checkpoints kept without itself": number("progress", "saved", value={"12": 0.5}),
    "checkpoints kept of words": number("progress", "saved", value={"13": 0.5, "last": 0.5}),
    "a figure nobody knows": number("progress", "mood", value=1),
    "no progress": number("progress", value=None),
    "a fingerprint of words": number("identity", "fingerprint", value="mine"),
    "an empty state": content("state.json", b""),
    "a state of zeros": content("state.json", bytes(1000)),
    "a list for a state": content("state.json", b"[]"),
    "a state of brackets": content("state.json", b"[" * 200_000),
    "a state of bytes": content("state.json", b"\xff\xfe" * 100),
    "a state of 17 MB": content("state.json", b" " * (17 << 20) + b"{}"),
    "empty weights": content("model.safetensors", b""),
    "weights with a header of exabytes": content("model.safetensors", b"\xff" * 7 + b"\x0f" + b"{}"),
    "weights with an empty header": content("model.safetensors", b"\x02" + bytes(7) + b"{}"),
}


def fit(folder):
    """The manifest as if all that is there had been written so."""
    files = {path.name: digest(path) for path in folder.iterdir() if path.name != "manifest.json"}
    (folder / "manifest.json").write_text(json.dumps({"files": files}))


@pytest.mark.parametrize("harm", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_that_its_manifest_vouches_for_is_refused(engine, candidates, stopped, harm):
    """By a hand, or by a bug of ours: it must not be trained on, and must leave nothing of itself behind."""
    harm(candidates[0])
    fit(candidates[0])
    ran = engine.run(SPEC, resume=candidates)
    assert ran.of(Resumed) == [Resumed(step=7)]
    (warning,) = [line for line in ran.of(LogLine) if line.level == "warning"]
    assert warning.data == {"code": "checkpoint_invalid", "step": 13}
    assert len(warning.message) < 1000
    assert ran.weights == stopped[1]


def test_what_is_refused_has_changed_nothing(engine, candidates, stopped):
    """The very last thing that is read is wrong, and there is no other checkpoint: a fresh start must be one, of the random states too."""
    number("python_random", value=[3, [*range(624), 99_999], None])(candidates[0])
    fit(candidates[0])
    np.random.seed(5)
    random.seed(5)
    ran = engine.run(SPEC, resume=candidates[:1])
    assert ran.of(Resumed) == []
    assert ran.weights == stopped[1]
    assert ran.curve()[0][0] == 1
    after = np.random.random(), random.random()
    np.random.seed(5)
    random.seed(5)
    assert (np.random.random(), random.random()) == after


def test_bytes_changed_at_random_are_refused_or_harmless(engine, candidates, stopped):
    """With the manifest fitted to them, 100 times. What is left is a weight of another size, which nobody can tell from a good one;
    should the loss explode by it, the run says so."""
    draw = np.random.default_rng(0)
    whole = {path.name: path.read_bytes() for path in candidates[0].iterdir()}
    for turn in range(100):
        name = draw.choice([*FILES[:-1], "state.json"])
        changed = bytearray(whole[name])
        for _ in range(draw.integers(1, 4)):
            limit = len(changed) if turn % 2 else min(len(changed), 600)  # headers and the beginning of the JSON, half of the time
            changed[draw.integers(0, limit)] = draw.integers(0, 256)
        (candidates[0] / name).write_bytes(changed)
        fit(candidates[0])
        events = []
        try:
            engine.run(SPEC, resume=candidates, stop_after=1, emit=events.append)
        except JobError as error:
            assert error.code == ErrorCode.DIVERGED, (turn, name)
        (resumed,) = [event for event in events if isinstance(event, Resumed)]
        assert resumed.step in (7, 13), (turn, name)
        (candidates[0] / name).write_bytes(whole[name])
