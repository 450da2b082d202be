"""What is handed out works where Potstill is not: the card's own lines, run with torch and safetensors alone."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from engine_runs import Engine, small
from safetensors.torch import load_file, save_file

from contract.model import ModelConfig
from distill.device import threads
from distill.networks import load, scaled

STUDENTS = {
    "mlp": {"arch": "mlp", "hidden": [8, 4], "dropout": 0.2},
    "cnn": {"arch": "cnn", "channels": [2, 3], "hidden": 8},
    "logistic": {"arch": "logistic"},
    "resnet": {"arch": "resnet", "channels": [2, 4], "blocks": 1},
}


@pytest.fixture(scope="module")
def students(tmp_path_factory):
    engine = Engine(tmp_path_factory.mktemp("students"))
    with threads(1):
        return {name: engine.run(small(student=student)).student for name, student in STUDENTS.items()}


# Runs in an empty interpreter: each card's block as it stands in the file, then one forward pass of the rows beside it.
STRANGER = """
import os, re, sys
for folder in sys.argv[1:]:
    os.chdir(folder)
    names = {}
    exec(re.search("```python\\n(.*?)```", open("README.md").read(), re.S).group(1), names)
    from safetensors.torch import load_file, save_file
    import torch
    with torch.no_grad():
        save_file({"logits": names["model"](load_file("x.safetensors")["x"])}, "logits.safetensors")
ours = {name.partition(".")[0] for name in sys.modules} & {"contract", "datafiles", "distill", "potstill", "models", "api", "worker"}
assert not ours, ours
"""


def test_the_lines_on_the_card_rebuild_every_architecture_without_potstill(students):
    """The promise of a student: a folder that outlives this project. Its logits must be those the report was made of."""
    x = torch.from_numpy(np.random.default_rng(0).random((5, 1, 8, 8), dtype=np.float32))
    for folder in students.values():
        save_file({"x": x}, folder / "x.safetensors")
    done = subprocess.run([sys.executable, "-I", "-c", STRANGER, *map(str, students.values())], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for name, folder in students.items():
        network, _ = load(folder)
        with torch.no_grad():
            torch.testing.assert_close(load_file(folder / "logits.safetensors")["logits"], network(x), rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("name", STUDENTS)
def test_the_card_says_what_it_is_how_good_and_what_goes_in(students, name):
    card = (students[name] / "README.md").read_text()
    network, config = load(students[name])
    report = json.loads((students[name].parent / "report.json").read_text())
    count = sum(p.numel() for p in network.parameters())
    assert card.startswith("---\n")
    assert f"{count:,} parameters · 10 classes: 0, 1, 2" in card
    assert report["verdict"] in card
    assert f"| accuracy | {report['arms']['model']['metrics']['accuracy']['mean']:.4f} |" in card
    assert "Raw pixels go in as `x / 16`" in card
    assert config.input.divide == 16


def test_the_card_of_a_table_says_how_to_standardise(engine, npz):
    """Following its words by hand gives the network's own inputs."""
    draw = np.random.default_rng(0)
    path = npz(x_train=draw.normal(5, 3, (40, 3)), y_train=np.arange(40) % 2)
    data = {"train": {"path": path}, "max_train_samples": None, "validation": 0.25}
    folder = engine.run(small(task="tabular-classification", data=data)).student
    assert "(x - subtract) / divide" in (folder / "README.md").read_text()
    said = json.loads((folder / "config.json").read_text())["input"]
    x = draw.normal(5, 3, (4, 3)).astype(np.float32)
    _, config = load(folder)
    by_hand = (x - np.array(said["subtract"], dtype=np.float32)) / np.array(said["divide"], dtype=np.float32)
    torch.testing.assert_close(scaled(torch.from_numpy(x), config.input), torch.from_numpy(by_hand))


def test_a_distilled_student_is_tagged_as_one_and_a_trained_model_is_not(engine, teacher, students):
    assert "knowledge-distillation" in (engine.run(small(teacher)).student / "README.md").read_text()
    assert "knowledge-distillation" not in (students["mlp"] / "README.md").read_text()


def test_classes_of_the_card_are_the_classes_of_the_data(engine, npz):
    path = npz(x_train=np.random.default_rng(0).random((40, 3)), y_train=np.array(["maybe", "no"] * 20))
    data = {"train": {"path": path}, "max_train_samples": None, "validation": 0.25}
    folder = engine.run(small(task="tabular-classification", data=data)).student
    config = ModelConfig.model_validate_json((folder / "config.json").read_text())
    assert config.classes == ["maybe", "no"]
    assert re.search(r"2 classes: maybe, no", (folder / "README.md").read_text())


def test_the_hub_reads_the_figures_from_the_card(engine):
    """Through its own library."""
    from huggingface_hub import ModelCard

    ran = engine.run(small())
    results = ModelCard.load(ran.student / "README.md").data.eval_results
    expected = {name: found["mean"] for name, found in ran.report["arms"]["model"]["metrics"].items()}
    assert {result.metric_type: result.metric_value for result in results} == pytest.approx(expected, rel=1e-5)
    assert {result.task_type for result in results} == {"image-classification"}
    assert all(result.dataset_name.startswith("test, 360 rows, sha256 ") for result in results)
