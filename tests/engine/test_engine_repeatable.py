"""The same spec gives the same bytes, and only what should change them does."""

import pytest
import torch
from engine_runs import small
from safetensors.torch import load_file

from distill import loop

NOISY = {"arch": "mlp", "hidden": [8], "dropout": 0.3}


def test_the_same_spec_gives_the_same_student_whatever_happened_before(engine, teacher):
    """Resume, control arms and every paired comparison stand on this."""
    first = engine.run(small(teacher, student=NOISY))
    torch.rand(1000)
    second = engine.run(small(teacher, student=NOISY))
    assert first.weights == second.weights
    assert first.curve() == second.curve()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_does_in_either_precision(engine, precision):
    spec = small(student={"arch": "cnn", "channels": [4], "hidden": 8}, training={"precision": precision})
    assert engine.run(spec).weights == engine.run(spec).weights


def test_precision_is_not_an_empty_word(engine):
    runs = {engine.run(small(training={"precision": precision})).weights for precision in ("fp32", "bf16")}
    assert len(runs) == 2


def test_auto_is_fp32_for_small_networks_on_a_cpu(engine):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU, where auto means bf16")
    assert engine.run(small(training={"precision": "auto"})).weights == engine.run(small(training={"precision": "fp32"})).weights


@pytest.mark.parametrize("student", [NOISY, {"arch": "cnn", "channels": [4], "hidden": 8, "dropout": 0.2}], ids=["mlp", "cnn"])
def test_hinton_with_alpha_zero_is_plain_training_bit_for_bit(engine, teacher, student):
    """So a control arm differs by the teacher alone: the same initial weights, data order, dropout and budget."""
    alone = engine.run(small(student=student))
    unheard = engine.run(small(teacher, student=student, recipe={"name": "hinton", "alpha": 0.0}))
    heard = engine.run(small(teacher, student=student, recipe={"name": "hinton", "alpha": 0.1}))
    assert alone.weights == unheard.weights
    assert alone.weights != heard.weights


def test_the_default_of_distill_is_hinton_and_a_recipe_is_its_terms(engine, teacher):
    said = small(teacher, objective=[{"loss": "kl", "temperature": 4.0, "weight": 0.7}, {"loss": "cross_entropy", "weight": 1 - 0.7}])
    runs = {engine.run(spec).weights for spec in (small(teacher), small(teacher, recipe="hinton"), said)}
    assert len(runs) == 1


def test_names_and_the_clock_do_not_matter_but_the_seed_does(engine):
    plain = engine.run(small()).weights
    assert engine.run(small(name="another", metadata={"a": "b"}, priority=7)).weights == plain
    assert engine.run(small(training={"checkpoint_every_seconds": 0})).weights == plain
    assert engine.run(small(training={"seed": 43})).weights != plain


def test_the_seed_decides_the_initial_weights_and_the_arm_does_not(engine, teacher):
    """Seeds that shared their start would understate every spread; arms that did not could not be paired."""

    def start(seed, *teachers):  # at this rate nothing moves
        spec = small(*teachers, training={"seed": seed, "epochs": 1, "optimizer": {"name": "sgd", "lr": 1e-30}})
        return load_file(engine.run(spec).student / "model.safetensors")["1.weight"]

    assert start(1).equal(start(1, teacher))
    assert (start(1) - start(2)).abs().mean() > 0.01


def test_measuring_on_validation_rows_changes_nothing_in_training(engine, monkeypatch):
    """Measuring draws no random numbers and leaves the network in training mode: looked at or not, it learns the same."""
    looked = engine.run(small(student=NOISY))
    monkeypatch.setattr(loop.Loop, "_validate", lambda *_: None)
    assert engine.run(small(student=NOISY)).weights == looked.weights
