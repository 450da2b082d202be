"""One training in several processes: the step of one process, exact resumes, ranks that die."""

import json
import re
from pathlib import Path

import engine_ranks
import pytest
import torch
from engine_runs import Engine, digest, small
from engine_texts import TRANSFORMER, language, texts, write_texts
from safetensors.torch import load_file

from contract.events import CheckpointSaved, Failed, Finished, LogLine, Resumed, Step, Stopped
from distill.device import threads

BERT = {"arch": "bert", **TRANSFORMER, "dropout": 0.0}
GPT = {"arch": "gpt2", **TRANSFORMER, "dropout": 0.0}
KL = {"loss": "kl", "temperature": 2.0}
STATES = [{"loss": "hidden_mse", "layers": [[2, 3]]}, {"loss": "attention_mse", "layers": [[2, 3]]}, {"loss": "embedding_mse"}]
COMPARED = {"cached": (2, 4), "few": (4,), "live": (2,), "parts": (2,), "inside": (2,), "tokens": (2, 4), "odd": (2,)}


def same(spec):
    return {"spec": json.loads(spec.model_dump_json(exclude_unset=True))}


def divided(spec, *what):
    resources = {"devices": 2} | dict.fromkeys(what or ("sharded",), True)
    live = {"teacher_outputs": "live"} if "teacher_sharded" in what else {}
    return {"spec": same(spec)["spec"] | {"resources": resources} | live}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory, teacher):
    """Steps of 16 rows, of which the last has 10; steps of 3, so that of four ranks one has none; in parts; of tokens."""
    folder = tmp_path_factory.mktemp("before")
    rows, lines = write_texts(folder / "rows.jsonl", rows=70), write_texts(folder / "lines.jsonl", rows=60)
    with threads(1):
        engine = Engine(folder / "engine")
        reads = engine.run(texts(rows, student=BERT, training={"epochs": 1})).student
        speaks = engine.run(language(lines, "causal-lm", GPT, training={"epochs": 1})).student
    cached = {"data": {"validation": 0.0}, "training": {"epochs": 1, "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}}}
    few = {"objective": [KL, {"loss": "cross_entropy", "weight": 0.3}], "training": {"epochs": 1, "batch_size": 8}}
    known = {
        "cached": small(teacher, objective=[KL], **cached),
        "live": small(teacher, objective=[KL, {"loss": "cross_entropy"}], teacher_outputs="live", **cached),
        "few": small(teacher, data={"max_train_samples": 21, "validation": 0.0}, objective=[KL], training={"epochs": 1, "batch_size": 3}),
        "parts": small(teacher, objective=[KL], training={"epochs": 1, "micro_batch_size": 3}, data={"validation": 0.0}),
        "inside": texts(
            rows, student=BERT | {"layers": 2, "hidden": 24}, teacher=reads, objective=STATES, training={"epochs": 1, "batch_size": 8}
        ),
        "tokens": language(lines, "causal-lm", GPT | {"layers": 1}, speaks, **few),
        "odd": language(
            lines, "causal-lm", GPT | {"layers": 1}, speaks, objective=[KL], training={"epochs": 1, "batch_size": 5, "micro_batch_size": 2}
        ),
    }
    found = {f"{name} {world}": {**same(known[name]), "world": world} for name, worlds in COMPARED.items() for world in (1, *worlds)}
    changed = {"layers": 1, "dropout": 0.3}
    dropout = language(
        lines, "causal-lm", GPT | changed, speaks, **few | {"training": {"epochs": 1, "batch_size": 8, "micro_batch_size": 2}}
    )
    dropped = same(small(student={"arch": "mlp", "hidden": [8], "dropout": 0.3}, training={"epochs": 3}))
    stopping = small(training={"epochs": 30, "optimizer": {"lr": 0.5}, "early_stopping": {"patience": 1}})
    found |= {
        "whole": {**dropped, "world": 2},
        "stopped": {**dropped, "world": 2, "stop_after": 7},
        "resumed": {**dropped, "world": 2, "resume": "stopped"},
        "on three": {**dropped, "world": 3, "resume": "stopped"},
        "alone": {**dropped, "world": 1, "resume": "stopped"},
        "killed": {**dropped, "world": 2, "kill": 5},
        "tokens divided": {**divided(known["tokens"]), "world": 2},
        "inside divided": {**divided(known["inside"]), "world": 2},
        "odd divided": {**divided(known["odd"]), "world": 2},
        "tokens teacher": {**divided(known["tokens"], "teacher_sharded"), "world": 2},
        "inside teacher": {**divided(known["inside"], "teacher_sharded"), "world": 2},
        "odd both": {**divided(known["odd"], "sharded", "teacher_sharded"), "world": 2},
        "divided": {**divided(dropout), "world": 2},
        "divided, stopped": {**divided(dropout), "world": 2, "stop_after": 2},
        "divided, resumed": {**divided(dropout), "world": 2, "resume": "divided, stopped"},
        "early": {**same(stopping), "world": 2},
        "exploding": {**same(small(training={"optimizer": {"name": "sgd", "lr": 1e6}})), "world": 2},
    }
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def ran(folder, jobs):
    return engine_ranks.run(folder, jobs)


def curve(ran, name):
    """Loss, each term and the gradient's norm at each step."""
    points = [event for event in ran[name]["events"] if isinstance(event, Step)]
    return [{k: v for k, v in p.metrics.items() if k.startswith("train/") or k == "gradient_norm"} for p in points]


def weights(folder: Path, name: str) -> str:
    return digest(folder / name / "result" / "student" / "model.safetensors")


@pytest.mark.parametrize(("name", "world"), [(name, world) for name, worlds in COMPARED.items() for world in worlds])
def test_the_step_of_ranks_is_that_of_one_process(ran, name, world):
    alone, together = curve(ran, f"{name} 1"), curve(ran, f"{name} {world}")
    assert len(alone) == len(together) > 3
    assert "gradient_norm" in alone[0]
    for mine, theirs in zip(alone, together, strict=True):
        assert theirs == pytest.approx(mine, rel=2e-4, abs=1e-6)


def test_a_resume_on_as_many_ranks_is_exact(ran, folder):
    assert isinstance(ran["stopped"]["outcome"][0], Stopped)
    assert [event for event in ran["resumed"]["events"] if isinstance(event, Resumed)] == [Resumed(step=7, inexact=None)]
    assert weights(folder, "resumed") == weights(folder, "whole")
    assert curve(ran, "stopped") + curve(ran, "resumed") == curve(ran, "whole")


@pytest.mark.parametrize(("name", "world"), [("on three", 3), ("alone", 1)])
def test_a_resume_on_another_number_goes_on_and_says_so(ran, name, world):
    (resumed,) = [event for event in ran[name]["events"] if isinstance(event, Resumed)]
    assert resumed == Resumed(step=7, inexact=f"world_size 2 → {world}")
    assert isinstance(ran[name]["outcome"][0], Finished)


@pytest.mark.parametrize(("name", "how"), [*((name, "divided") for name in ("tokens", "inside", "odd")), ("odd", "both")])
def test_a_divided_student_makes_the_same_steps(ran, folder, name, how):
    """Of an odd number of rows one rank has more, and then more parts."""
    for mine, theirs in zip(curve(ran, f"{name} 1"), curve(ran, f"{name} {how}"), strict=True):
        assert theirs == pytest.approx(mine, rel=2e-4, abs=1e-6)
    whole, put_together = (load_file(folder / f"{name} {of}" / "result" / "student" / "model.safetensors") for of in ("1", how))
    assert whole.keys() == put_together.keys()
    assert all(torch.allclose(whole[key], put_together[key], atol=1e-4) for key in whole)


def test_a_divided_student_resumes_exactly(ran, folder):
    assert [event for event in ran["divided, resumed"]["events"] if isinstance(event, Resumed)] == [Resumed(step=2, inexact=None)]
    assert weights(folder, "divided, resumed") == weights(folder, "divided")


@pytest.mark.parametrize("name", ["tokens", "inside"])
def test_a_divided_teacher_says_what_a_whole_one_says(ran, name):
    assert curve(ran, f"{name} teacher") == curve(ran, f"{name} 2")
    (said,) = [e.message for e in ran[f"{name} teacher"]["events"] if isinstance(e, LogLine) and "is divided among 2" in e.message]
    part, all_of_it = map(float, re.findall(r"([\d.]+) kB", said))
    assert part == pytest.approx(all_of_it / 2, rel=0.05)
    (apart,), (whole,) = ran[f"{name} teacher"]["outcome"], ran[f"{name} 2"]["outcome"]
    assert apart.report["teacher_outputs"]["mode"] == "live"
    assert apart.report["arms"]["teacher"]["metrics"] == whole.report["arms"]["teacher"]["metrics"]


def test_only_one_rank_speaks_and_writes(ran):
    steps = [event.step for event in ran["whole"]["events"] if isinstance(event, Step) and "train/loss" in event.metrics]
    assert steps == sorted(set(steps))
    assert len([event for event in ran["whole"]["events"] if isinstance(event, CheckpointSaved)]) == 1


def test_a_rank_that_dies_takes_the_others_along(ran):
    (outcome,) = ran["killed"]["outcome"]
    assert isinstance(outcome, Failed)
    assert (outcome.retryable, outcome.error.message) == (True, "rank 1 of 2 was killed by signal 9")


def test_ranks_stop_early_together(ran):
    said = [event.message for event in ran["early"]["events"] if isinstance(event, LogLine)]
    assert any(message.startswith("stopped early") for message in said)
    assert isinstance(ran["early"]["outcome"][0], Finished)


def test_an_error_of_the_job_is_told_once_and_is_no_crash(ran):
    (outcome,) = ran["exploding"]["outcome"]
    assert isinstance(outcome, Failed)
    assert (outcome.retryable, outcome.error.code) == (False, "diverged")
