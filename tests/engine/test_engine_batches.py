"""Which rows a step sees: every row once in each epoch, in an order that seed and epoch alone decide."""

from itertools import chain

import numpy as np
import pytest
import torch
from engine_runs import small

from contract.events import CheckpointSaved, Step
from distill import train
from distill.objectives import Objective


@pytest.fixture
def seen(monkeypatch):
    """The labels of each batch in turn. With as many classes as rows, a label is the number of its row."""
    batches = []

    class Watched(Objective):
        def forward(self, student, y, teacher, *more):
            batches.append(y.tolist())
            return super().forward(student, y, teacher, *more)

    monkeypatch.setattr(train, "Objective", Watched)
    return batches


def numbered(npz, rows, **training):
    path = npz(x_train=np.arange(rows, dtype=np.float32)[:, None], y_train=np.arange(rows))
    return small(
        task="tabular-classification",
        data={"train": {"path": path}, "test": {"path": path, "split": "train"}, "validation": None, "max_train_samples": None},
        training=training,
    )


@pytest.mark.parametrize(
    ("rows", "batch", "sizes"),
    [(20, 8, [8, 8, 4]), (16, 8, [8, 8]), (17, 16, [16, 1]), (5, 64, [5]), (2, 1, [1, 1])],
    ids=["last smaller", "even", "last of one", "fewer than a batch", "one by one"],
)
def test_every_row_is_seen_once_in_each_epoch(engine, npz, seen, rows, batch, sizes):
    """Dropping the last batch loses rows for ever; padding it counts some twice."""
    ran = engine.run(numbered(npz, rows, epochs=3, batch_size=batch))
    assert [len(labels) for labels in seen] == sizes * 3
    for epoch in range(3):
        labels = seen[epoch * len(sizes) : (epoch + 1) * len(sizes)]
        assert sorted(chain.from_iterable(labels)) == list(range(rows))
    assert {event.total_steps for event in ran.of(Step)} == {len(sizes) * 3}
    assert ran.of(CheckpointSaved)[-1].step == len(sizes) * 3


def test_the_order_changes_with_the_epoch_and_the_seed_and_with_nothing_else(engine, npz, seen):
    """A resume finds its place by counting: the order must not hang on what else drew random numbers."""
    for student in ([4], [9]):
        for seed in (1, 2):
            torch.rand(7)
            engine.run(
                numbered(npz, 20, epochs=2, batch_size=20, seed=seed).model_copy(
                    update={"student": small(student={"arch": "mlp", "hidden": student, "dropout": 0.2}).student}
                )
            )
    first, second, other, other_second, again, again_second, *_ = seen
    assert len({tuple(first), tuple(second), tuple(other), tuple(other_second), tuple(range(20))}) == 5
    assert (first, second) == (again, again_second)


def test_a_batch_larger_than_the_data_is_the_whole_data(engine, npz):
    """Not an error, and not a step of nothing: gradient descent on all rows."""
    spec = numbered(npz, 6, epochs=2, batch_size=1_048_576)
    assert engine.run(spec).weights == engine.run(numbered(npz, 6, epochs=2, batch_size=6)).weights


def test_the_smaller_last_batch_weighs_its_own_rows(engine, npz, monkeypatch):
    """Its loss is the mean over the rows it has: the first epoch's points must equal cross-entropy recomputed from its logits."""
    kept = []

    class Watched(Objective):
        def forward(self, student, y, teacher, *more):
            kept.append((student.logits.detach().double().log_softmax(1), y))
            return super().forward(student, y, teacher, *more)

    monkeypatch.setattr(train, "Objective", Watched)
    ran = engine.run(numbered(npz, 20, epochs=1, batch_size=8))
    losses = [event.metrics["train/loss"] for event in ran.of(Step)]
    assert losses == pytest.approx([-(log_p[range(len(y)), y]).sum().item() / len(y) for log_p, y in kept], rel=1e-5)
