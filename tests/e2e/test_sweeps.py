"""Sweeps by real processes: one teacher pass, losers that really stop, a search that goes on by itself, and nothing lost with a worker."""

import time
from typing import Any

import pytest
from servers import Service, until

from contract.sweep import SweepSpec
from contract.wire import SweepView
from potstill import Client


@pytest.fixture(scope="module")
def teacher(client: Client) -> str:
    spec = {"kind": "train", "task": "image-classification", "data": {"train": "digits"}, "student": {"arch": "mlp", "hidden": [64]}}
    return client.jobs.submit({**spec, "training": {"epochs": 10, "optimizer": {"lr": 5e-3}}}).wait(timeout=60).id


def job(teacher: str, **training: Any) -> dict[str, Any]:
    return {
        "kind": "distill",
        "task": "image-classification",
        "data": {"train": "digits", "validation": 0.1},
        "teacher": {"job": teacher},
        "student": {"arch": "mlp", "hidden": [8]},
        "recipe": "hinton",
        "training": {"epochs": 3, **training},
    }


def values(found: SweepView, field: str) -> list[Any]:
    return [trial.values[field] for trial in found.trials or []]


def test_a_grid_pays_for_one_teacher_pass(client: Client, teacher: str) -> None:
    space = {"recipe.temperature": [1, 4], "student": [{"arch": "mlp", "hidden": [n]} for n in (4, 16)]}
    sweep = client.sweeps.submit({"job": job(teacher), "space": space})
    found = client.sweeps.wait(sweep.id, timeout=120)
    assert found.status == "succeeded" and found.counts == {"succeeded": 4}
    assert found.teacher_passes == 1
    reports = [client.jobs.get(trial.job or "").report or {} for trial in found.trials or []]
    assert sorted(report["teacher_outputs"]["cache"] for report in reports) == ["built", "hit", "hit", "hit"]
    for trial, report in zip(found.trials or [], reports, strict=True):
        assert trial.value == report["validation"]["accuracy"]
        assert trial.test == report["arms"]["student"]["metrics"]["accuracy"]["mean"]
    best = max(found.trials or [], key=lambda trial: trial.value or 0)
    assert (found.trials or [])[(found.best or 0) - 1].value == best.value
    assert found.frontier[-1] == found.best or best.parameters == min(trial.parameters or 0 for trial in found.trials or [])


def test_several_seeds_are_judged_by_their_mean(client: Client, teacher: str) -> None:
    spec = {**job(teacher), "evaluation": {"seeds": 2, "control": True}}
    found = client.sweeps.wait(client.sweeps.submit({"job": spec, "space": {"recipe.temperature": [2]}}).id, timeout=120)
    (trial,) = found.trials or []
    runs = [run for run in client.jobs.list(parent=trial.job) if "student" in run.name]
    each = [(run.report or {})["validation"]["accuracy"] for run in runs]
    assert len(each) == 2 and trial.value == pytest.approx(sum(each) / 2)


def test_losers_stop_early(client: Client, teacher: str) -> None:
    """Learning rates of a millionth learn nothing: they leave at a first rung, after a fraction of their steps."""
    patient = job(teacher, epochs=600, batch_size=32)
    space = {"training.optimizer.lr": [5e-3, 1e-6, 2e-6, 3e-6]}
    found = client.sweeps.wait(client.sweeps.submit({"job": patient, "space": space, "halving": {"first_epochs": 2}}).id, timeout=200)
    first, *losers = found.trials or []
    assert found.status == "succeeded" and found.best == 1 and first.stopped_after_epoch is None
    assert found.verdict is not None and ", 3 stopped early" in found.verdict
    for trial in losers:
        ended = client.jobs.get(trial.job or "")
        assert ended.status == "cancelled" and trial.stopped_after_epoch in (2, 6, 18, 54)
        assert "stopped early by its sweep" in (ended.view.status_reason or "")
        assert (ended.progress.step or 0) < 0.8 * (ended.progress.total_steps or 0), ended.progress


def test_a_random_search_is_judged_by_the_metric_it_names(client: Client, teacher: str) -> None:
    """Drawn from the seed alone, within its ends; here less is better."""
    space = {
        "training.optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True},
        "recipe.temperature": {"low": 1, "high": 8, "integer": True},
    }
    spec = {"job": job(teacher, epochs=2), "space": space, "search": {"name": "random", "trials": 4, "seed": 3}, "metric": "loss"}
    found = client.sweeps.wait(client.sweeps.submit(spec).id, timeout=120)
    assert found.status == "succeeded" and found.counts == {"succeeded": 4} and found.metric == "loss"
    assert found.teacher_passes in (0, 1), "another sweep may have made it"
    assert [trial.values for trial in found.trials or []] == SweepSpec.model_validate(spec).drawn()
    assert all(1e-4 <= rate <= 1e-1 for rate in values(found, "training.optimizer.lr"))
    losses = [(client.jobs.get(trial.job or "").report or {})["validation"]["loss"] for trial in found.trials or []]
    assert [trial.value for trial in found.trials or []] == losses
    assert found.best == 1 + losses.index(min(losses))


def test_tpe_goes_on_until_all_were_tried(client: Client, teacher: str) -> None:
    space = {"training.optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}, "recipe.alpha": {"low": 0.1, "high": 0.9}}
    sweep = client.sweeps.submit({"job": job(teacher), "space": space, "search": {"name": "tpe", "trials": 5, "parallel": 2}})
    assert len(sweep.trials or []) == 2
    found = client.sweeps.wait(sweep.id, timeout=120)
    assert found.counts == {"succeeded": 5} and len(set(values(found, "training.optimizer.lr"))) == 5
    assert {found.view.sweep for found in client.jobs.list(sweep=sweep.id)} == {sweep.id}


def test_cancelled_it_stops(client: Client, teacher: str) -> None:
    sweep = client.sweeps.submit({"job": job(teacher, epochs=100_000), "space": {"recipe.temperature": [1, 2, 3]}})
    until(lambda: client.sweeps.get(sweep.id).counts.get("running"), 60, "a trial that runs")
    client.sweeps.cancel(sweep.id)
    began = time.monotonic()
    found = client.sweeps.wait(sweep.id, timeout=60)
    assert found.status == "cancelled" and found.counts == {"cancelled": 3}
    assert time.monotonic() - began < 30


def test_killed_in_the_middle_everything_goes_on(tmp_path_factory: pytest.TempPathFactory) -> None:
    """kill -9 of the whole service while a search runs; started again it finishes without having tried anything twice."""
    running = Service(tmp_path_factory.mktemp("killed"), slots=2)
    with running.client() as client:
        alone = {**job("", epochs=30), "kind": "train"}
        alone = {name: value for name, value in alone.items() if name not in ("teacher", "recipe")}
        space = {"training.optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}}
        sweep = client.sweeps.submit({"job": alone, "space": space, "search": {"name": "tpe", "trials": 6, "parallel": 2}})
        until(lambda: client.sweeps.get(sweep.id).counts.get("succeeded", 0) >= 2, 90, "two that have succeeded")
    running.process.kill()
    running.start()
    with running.client() as client:
        found = client.sweeps.wait(sweep.id, timeout=120)
    assert running.stop() == 0
    assert found.status == "succeeded" and found.counts == {"succeeded": 6}
    assert [trial.number for trial in found.trials or []] == [1, 2, 3, 4, 5, 6]
