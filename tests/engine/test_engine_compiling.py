"""Compiled networks learn the same to rounding, are handed out as they were written, and say so when a resume is not exact."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_runs import SMALL, Engine, small
from engine_texts import language, write_texts

from contract.events import Resumed
from distill.compiling import compiles
from distill.networks import load

BERT = {"arch": "bert", "layers": 1, "hidden": 16, "heads": 2, "positions": 64, "dropout": 0.0}
COMPILER = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None, reason="there is no C++ compiler: apt install g++"
)


def test_auto_compiles_nothing_on_a_cpu(engine: Engine, tmp_path: Path) -> None:
    network = load(engine.run(language(write_texts(tmp_path / "t.jsonl"), "masked-lm", BERT)).student)[0]
    asked = {"auto": (torch.device("cpu"), 10**6), "off": (torch.device("cuda"), 10**6), "short": (torch.device("cuda"), 10)}
    assert not any(compiles(device, "off" if name == "off" else "auto", network, steps) for name, (device, steps) in asked.items())
    assert compiles(torch.device("cpu"), "on", network, 1)


@COMPILER
def test_a_compiled_network_learns_the_same(engine: Engine) -> None:
    plain, compiled = (engine.run(small(training={"compile": value})) for value in ("off", "on"))
    _alike(plain.curve(), compiled.curve())
    assert compiled.report["arms"]["model"]["metrics"].keys() == plain.report["arms"]["model"]["metrics"].keys()
    assert load(compiled.student)[0].state_dict().keys() == load(plain.student)[0].state_dict().keys()


@COMPILER
@pytest.mark.timeout(180)
def test_a_compiled_language_model_learns_the_same(engine: Engine, tmp_path: Path) -> None:
    """Its head is looked into from outside, by a hook that a compiled body must not swallow."""
    path = write_texts(tmp_path / "t.jsonl")
    runs = [
        engine.run(language(path, "masked-lm", BERT, training={"compile": value, "epochs": 1, "batch_size": 32})) for value in ("off", "on")
    ]
    _alike(runs[0].curve(), runs[1].curve())


@COMPILER
def test_shares_of_gradients_are_measured_of_it_too(engine: Engine, teacher: Path) -> None:
    """For which the graph has to be kept."""
    ran = engine.run(small(teacher, recipe="hinton", training={"compile": "on"}))
    assert set(ran.report["diagnosis"]["largest_gradient_share"]) == {"kl", "cross_entropy"}


@COMPILER
def test_a_resume_is_said_not_to_be_exact(engine: Engine) -> None:
    spec = small(training={"compile": "on"})
    half = engine.run(spec, stop_after=7)
    resumed = engine.run(spec, resume=half.checkpoints)
    assert "compiled" in str(resumed.of(Resumed)[0].inexact)


def test_without_a_compiler_the_field_is_named(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(json.dumps(SMALL | {"training": {"epochs": 1, "compile": "on"}}))
    command = [sys.executable, "-P", "-c", "from potstill.cli import main; main()", "run", str(tmp_path / "spec.json")]
    environment = {**os.environ, "CXX": "/no/such/compiler", "POTSTILL_HOME": str(tmp_path / "home")}
    ended = subprocess.run([*command, "--out", str(tmp_path / "out")], env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    said = ended.stdout + ended.stderr
    assert "training.compile: this machine cannot compile networks" in said and "g++" in said and "Traceback" not in said


def _alike(plain: list[tuple[int, dict[str, Any]]], compiled: list[tuple[int, dict[str, Any]]]) -> None:
    assert [step for step, _ in plain] == [step for step, _ in compiled] and len(plain) > 1
    for (_, mine), (_, theirs) in zip(plain, compiled, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-3)
