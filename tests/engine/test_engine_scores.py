"""F1, Matthews' correlation and calibration error against scikit-learn and by hand."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, matthews_corrcoef

from distill.scores import BINS
from distill.scores import of_classes as scores


def answers(classes, rows=500, seed=0, sharp=2.0):
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (rows,), generator=draw)
    logits = torch.randn(rows, classes, generator=draw)
    logits[torch.arange(rows), labels] += sharp * (torch.rand(rows, generator=draw) < 0.7)
    return logits, labels


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_they_are_scikit_learns(classes):
    logits, labels = answers(classes)
    found, top = scores(logits, labels), logits.argmax(1)
    assert found["f1"]["mean"] == pytest.approx(f1_score(labels, top, average="macro"))
    assert found["mcc"]["mean"] == pytest.approx(matthews_corrcoef(labels, top))
    for name in ("f1", "mcc", "calibration_error"):
        low, high = found[name]["ci95"]
        assert low < found[name]["mean"] < high


def test_calibration_error_is_the_mean_distance_of_confidence_and_accuracy():
    logits, labels = answers(3)
    p = torch.softmax(logits.double(), 1).numpy()
    confidence, right = p.max(1), p.argmax(1) == labels.numpy()
    by_hand = 0.0
    for low in np.arange(BINS) / BINS:
        inside = (confidence >= low) & (confidence < low + 1 / BINS)
        if inside.any():
            by_hand += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert scores(logits, labels)["calibration_error"]["mean"] == pytest.approx(by_hand, rel=1e-9)


def test_a_network_that_is_sure_and_right_is_calibrated_and_one_that_says_one_class_is_uncorrelated():
    labels = torch.tensor([0, 1, 2, 0])
    sure = scores(torch.eye(3)[labels] * 100, labels)
    assert (sure["f1"]["mean"], sure["mcc"]["mean"]) == (1.0, 1.0)
    assert sure["calibration_error"]["mean"] == pytest.approx(0, abs=1e-9)
    same = scores(torch.tensor([[9.0, 0.0, 0.0]] * 4), labels)
    assert same["mcc"]["mean"] == 0.0
    assert same["f1"]["mean"] == pytest.approx(f1_score(labels, [0] * 4, average="macro"))


def test_the_interval_covers_as_often_as_it_says():
    """Of the figure over ever new rows of the same kind, 95 % lie inside; here over 200 draws."""
    truth = scores(*answers(2, rows=200_000, seed=9))["mcc"]["mean"]
    inside = [low <= truth <= high for low, high in (scores(*answers(2, rows=300, seed=s))["mcc"]["ci95"] for s in range(200))]
    assert 0.9 <= np.mean(inside) <= 0.99


def test_many_classes_have_no_table_of_confusions():
    assert set(scores(*answers(80))) == {"calibration_error"}


def test_the_interval_of_a_calibration_error_does_not_count_chance_twice():
    """Of a perfectly calibrated network the error that is measured is chance alone, and that of resamples chance twice over."""
    beside = []
    for seed in range(12):
        draw = torch.Generator().manual_seed(seed)
        p = 0.5 + 0.5 * torch.rand(360, generator=draw, dtype=torch.float64)
        logits = torch.stack([p.log(), (1 - p).log()], dim=1)
        labels = (torch.rand(360, generator=draw) > p).long()
        found = scores(logits, labels)["calibration_error"]
        low, high = found["ci95"]
        assert 0 <= low <= found["mean"] <= high
        beside.append((low + high) / 2 - found["mean"])
    assert abs(np.mean(beside)) < 0.005
