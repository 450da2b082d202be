"""Early stopping: when it stops, what it hands out, and what it never touches."""

import pytest
import torch
from engine_runs import STEPS, small
from safetensors.torch import load_file

from contract.events import CheckpointSaved, LogLine, Step
from distill import evaluate


@pytest.fixture
def scripted(monkeypatch):
    """scripted([…]) makes these the validation results of the epochs, and keeps the weights at each."""
    weights = []

    def script(results):
        left = iter(results)

        def quick(network, config, rows):
            weights.append({name: value.clone() for name, value in network.state_dict().items()})
            return {"accuracy": 0.5, "loss": 1.0} | next(left)

        monkeypatch.setattr(evaluate, "quick", quick)
        return weights

    return script


def stopping(epochs=12, **rule):
    return small(training={"epochs": epochs, "early_stopping": rule})


def of(metric, *values):
    return [{metric: value} for value in values]


def same(student, weights):
    handed_out = load_file(student / "model.safetensors")
    return all(handed_out[name].equal(value) for name, value in weights.items())


@pytest.mark.parametrize(
    ("rule", "metric", "values", "epochs", "best"),
    [
        ({"patience": 2}, "accuracy", [0.1, 0.3, 0.2, 0.3], 4, 2),
        ({"patience": 2}, "accuracy", [0.1, 0.3, 0.2, 0.4, 0.4, 0.1], 6, 4),
        ({"patience": 1, "metric": "loss"}, "loss", [2.0, 1.5, 1.6], 3, 2),
        ({"patience": 3, "metric": "loss"}, "loss", [1.0, 2.0, 2.0, 2.0], 4, 1),
        ({"patience": 1, "min_delta": 0.1}, "accuracy", [0.1, 0.3, 0.35], 3, 2),
        ({"patience": 1, "min_delta": 0.1, "metric": "loss"}, "loss", [1.0, 0.95], 2, 1),
        ({"patience": 1}, "accuracy", [0.0, 0.0], 2, 1),
    ],
    ids=["equal is no gain", "patience starts again", "loss falls", "first was best", "min_delta", "min_delta of the loss", "never right"],
)
def test_it_stops_after_patience_epochs_without_gain_and_hands_out_the_best(engine, scripted, rule, metric, values, epochs, best):
    weights = scripted(of(metric, *values))
    ran = engine.run(stopping(**rule))
    assert len(weights) == epochs
    assert ran.of(CheckpointSaved)[-1].step == epochs * 6
    assert same(ran.student, weights[best - 1])
    assert not same(ran.student, weights[-1])
    assert any("stopped early" in line.message and f"step {best * 6}" in line.message for line in ran.of(LogLine))


def test_without_a_stop_the_best_is_handed_out_all_the_same(engine, scripted):
    """Patience that never runs out still asked for the best epoch's weights, not the last one's."""
    weights = scripted(of("accuracy", 0.2, 0.9, 0.4))
    ran = engine.run(stopping(epochs=3, patience=50))
    assert ran.of(Step)[-1].step == STEPS
    assert same(ran.student, weights[1])
    assert not any("stopped early" in line.message for line in ran.of(LogLine))


def test_nobody_asked_so_the_last_weights_are_handed_out(engine, scripted):
    weights = scripted(of("accuracy", 0.2, 0.9, 0.4))
    assert same(engine.run(small()).student, weights[2])


def test_it_watches_validation_rows_and_never_the_test_rows(engine, monkeypatch):
    """A student chosen on the rows that judge it is judged too well."""
    sizes, real = [], evaluate.quick

    def quick(network, config, rows):
        sizes.append(len(rows))
        return real(network, config, rows)

    monkeypatch.setattr(evaluate, "quick", quick)
    engine.run(stopping(epochs=3, patience=50))
    assert sizes == [10, 10, 10]  # the 10 held out of 100; the test rows are 360


def test_the_validation_metrics_in_the_report_are_those_of_the_weights_handed_out(engine, scripted):
    """They choose between seeds: the accuracy of another epoch than the one in the file would choose wrongly."""
    results = [{"accuracy": 0.3, "loss": 2.0}, {"accuracy": 0.4, "loss": 1.0}, {"accuracy": 0.9, "loss": 3.0}]
    scripted(results)
    stopped = engine.run(stopping(epochs=3, patience=9, metric="loss"))
    assert stopped.report["validation"] == results[1]
    scripted(results)
    assert engine.run(small()).report["validation"] == results[2]
    assert engine.run(small(data={"validation": None})).report["validation"] is None


def test_the_reported_metrics_are_those_of_the_weights_handed_out(engine, scripted, monkeypatch):
    """The report must not speak of the last epoch when the best one is in the file."""
    scripted(of("accuracy", 0.9, 0.1, 0.1))
    spec = stopping(epochs=3, patience=2)
    ran = engine.run(spec)
    monkeypatch.undo()
    with torch.random.fork_rng():
        again = engine.run(small(kind="evaluate", student={"path": str(ran.student)}))
    assert ran.report["arms"]["model"]["metrics"] == again.report["arms"]["model"]["metrics"]
