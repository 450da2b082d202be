"""The seed's own pair of networks on the real MNIST, where the machine has it: 784-16-10 teaches 784-4-10."""

import pytest
from engine_runs import Engine, Ran, small

from distill.device import threads

TRAINING = {"batch_size": 64, "optimizer": {"name": "adam", "lr": 5e-3}}


@pytest.fixture(scope="module")
def mnist(test_data) -> dict[str, object]:
    path = str(test_data / "mnist" / "mnist.npz")
    return {"train": {"path": path}, "test": {"path": path}, "validation": None, "max_train_samples": None}


@pytest.fixture(scope="module")
def trained(mnist, tmp_path_factory) -> Ran:
    spec = small(student={"arch": "mlp", "hidden": [16]}, data=mnist, training={"epochs": 3} | TRAINING)
    with threads(1):
        return Engine(tmp_path_factory.mktemp("mnist")).run(spec)


def test_the_teacher_learns_mnist(trained):
    """12,730 weights, three epochs: as good as logistic regression (0.924 here) or something is wrong with data or loop."""
    model = trained.report["arms"]["model"]
    assert model["parameters"] == 12_730
    assert trained.report["rows"] == 10_000
    assert model["metrics"]["accuracy"]["mean"] >= 0.92


def test_its_student_of_3190_weights_learns_from_800_images_and_reports(engine, mnist, trained):
    """One seed proves nothing about distillation (design: deviations of 7 to 20 points); that it learns at all, it does."""
    spec = small(
        trained.student, student={"arch": "mlp", "hidden": [4]}, data=mnist | {"max_train_samples": 800}, training={"epochs": 5} | TRAINING
    )
    report = engine.run(spec).report
    teacher, student = report["arms"]["teacher"], report["arms"]["student"]
    assert (teacher["parameters"], student["parameters"]) == (12_730, 3_190)
    assert report["compression"] == pytest.approx(12_730 / 3_190)
    assert report["teacher_outputs"].items() >= {"mode": "cached", "cache": "built", "rows": 800, "bytes": 800 * 10 * 4}.items()
    assert teacher["metrics"]["accuracy"] == trained.report["arms"]["model"]["metrics"]["accuracy"]
    assert student["metrics"]["accuracy"]["mean"] > 0.2  # guessing is 0.1
    assert report["verdict"].startswith("One run: student accuracy 0.")
