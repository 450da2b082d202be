"""A model on disk: what is saved comes back, and what was tampered with is refused and never half-loaded."""

import json
import shutil

import numpy as np
import pytest
import torch
from engine_runs import digest, small
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from contract.errors import ErrorCode, InvalidSpec, JobError, PotstillError
from contract.model import ModelConfig, Scaling
from contract.registry import Cnn, Logistic, Mlp, Resnet
from contract.shapes import DataShape
from distill.networks import build, count_parameters, load, save

share = st.sampled_from([0.0, 0.25])
architectures = st.one_of(
    st.just(Logistic()),
    st.builds(Mlp, hidden=st.lists(st.integers(1, 12), min_size=1, max_size=3), dropout=share),
    st.builds(Cnn, channels=st.lists(st.integers(1, 4), min_size=1, max_size=3), hidden=st.integers(1, 12), dropout=share),
    st.builds(Resnet, channels=st.lists(st.integers(1, 4), min_size=1, max_size=2), blocks=st.integers(1, 2)),
)
numbers = st.floats(0.1, 100)
scalings = st.one_of(
    st.builds(Scaling, subtract=numbers, divide=numbers),
    st.builds(Scaling, subtract=st.lists(numbers, min_size=64, max_size=64), divide=st.lists(numbers, min_size=64, max_size=64)),
)


@settings(max_examples=40, deadline=None)
@given(architectures, scalings, st.lists(st.text(min_size=1, max_size=5), min_size=2, max_size=5, unique=True))
def test_a_saved_network_comes_back_with_its_weights_config_and_scaling(tmp_path_factory, architecture, scaling, classes):
    folder = tmp_path_factory.mktemp("model")
    made_for = DataShape(shape=(1, 8, 8), classes=classes)
    network = build(architecture, made_for.shape, len(classes))
    config = ModelConfig.of(architecture, "image-classification", made_for, scaling)
    save(network, config, folder)
    again, read = load(folder)
    assert read == config
    assert (read.architecture, read.made_for, read.input) == (architecture, made_for, scaling)
    assert read.parameters == count_parameters(again)
    assert not again.training
    before, after = network.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    assert all(before[name].equal(after[name]) for name in before)


def test_saving_the_same_network_twice_gives_the_same_bytes(tmp_path, teacher):
    """Content addresses, exact resume and the tests here compare files."""
    network, config = load(teacher)
    for name in ("a", "b"):
        save(network, config, tmp_path / name)
    for file in ("model.safetensors", "config.json"):
        assert digest(tmp_path / "a" / file) == digest(tmp_path / "b" / file) == digest(teacher / file)


@pytest.fixture
def copy(teacher, tmp_path):
    return shutil.copytree(teacher, tmp_path / "tampered")


def config(**changes):
    def change(folder):
        document = json.loads((folder / "config.json").read_text())
        document.update(changes)
        (folder / "config.json").write_text(json.dumps(document))

    return change


def content(name, data):
    return lambda folder: (folder / name).write_bytes(data)


def weights(change):
    def rewrite(folder):
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return rewrite


TAMPERED = {
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "no config": lambda folder: (folder / "config.json").unlink(),
    "empty weights": content("model.safetensors", b""),
    "pickled weights": content("model.safetensors", b"\x80\x04\x95" + b"\x00" * 100),
    "half the weights": lambda folder: content("model.safetensors", (folder / "model.safetensors").read_bytes()[:900])(folder),
    "a tensor missing": weights(lambda tensors: tensors.popitem()),
    "a tensor too many": weights(lambda tensors: tensors.update(extra=torch.zeros(1))),
    "a tensor of another shape": weights(lambda tensors: tensors.update({"1.weight": torch.zeros(3, 3)})),
    "config is no JSON": content("config.json", b"{"),
    "config is no text": content("config.json", b"\xff\xfe\x00"),
    "config is a list": content("config.json", b"[]"),
    "unknown architecture": config(arch="transformer"),
    "an import path": config(arch="os.system"),
    "another width": config(hidden=[33]),
    "a width of nothing": config(hidden=[0]),
    "an unknown field": config(code="import os"),
    "one class": config(classes=["0"]),
    "a class too many": config(classes=[str(i) for i in range(11)]),
    "another shape": config(shape=[1, 8, 9]),
    "a negative shape": config(shape=[1, -8, -8]),
    "no shape": config(shape=[]),
    "an architecture for images and a flat shape": config(arch="cnn", shape=[64], hidden=32, channels=[4]),
    "a stranger's scaling": config(input={"subtract": [1.0, 2.0], "divide": 16.0}),
    "division by nothing": config(input={"divide": 0.0}),
}


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED)
def test_tampered_files_are_refused_by_name(copy, tamper):
    tamper(copy)
    with pytest.raises(JobError) as caught:
        load(copy)
    assert caught.value.code == ErrorCode.INVALID_MODEL
    assert caught.value.detail.startswith("tampered is not a model Potstill can load: ")
    assert caught.value.hint


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED)
@pytest.mark.parametrize("place", ["teacher", "student to measure", "student to start from"])
def test_a_job_with_a_tampered_model_ends_before_anything_is_trained(engine, copy, tamper, place):
    """With an error of ours: anything else would be counted as a crash and tried three times."""
    tamper(copy)
    start = {"path": str(copy)}
    spec = {"teacher": small(copy), "student to measure": small(kind="evaluate", student=start)}.get(place, small(student=start))
    events = []
    with pytest.raises(PotstillError) as caught:
        engine.run(spec, emit=events.append)
    assert caught.value.code in (ErrorCode.INVALID_MODEL, ErrorCode.DOES_NOT_FIT)
    assert not {"training", "evaluating"} & {getattr(event, "phase", None) for event in events}


def test_a_model_for_other_rows_or_classes_is_refused_with_both_sides(engine, teacher, npz):
    path = npz(x_train=np.zeros((20, 4, 4), dtype=np.uint8), y_train=np.arange(20) % 10)
    with pytest.raises(InvalidSpec, match=r"teacher: it was made for rows of shape \[1, 8, 8\]; data\.train has \[1, 4, 4\]"):
        engine.run(small(teacher, data={"train": {"path": path}}))
    path = npz(x_train=np.zeros((20, 8, 8), dtype=np.uint8), y_train=np.arange(20) % 3)
    with pytest.raises(InvalidSpec, match="teacher: it knows 10 classes"):
        engine.run(small(teacher, data={"train": {"path": path}}))
