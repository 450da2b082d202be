"""What a step and a report cost, counted and never timed: operations on tensors, waits for a number, draws of resamples."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_runs import STEPS, Engine, small
from torch.utils._python_dispatch import TorchDispatchMode

from distill import evaluate, scores
from distill.loop import Loop
from distill.scores import of_classes

WAITS = "aten::_local_scalar_dense"  # what `.item()` is, and `if tensor:`; a GPU must have finished for it


class Counted(TorchDispatchMode):
    """Names of all operations in here, those of gradients among them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found[func._schema.name] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Counter[str]]:
    """The operations of each step that is made from now on."""
    found: list[Counter[str]] = []
    step = Loop._step

    def counted(loop: Loop, index: torch.Tensor) -> None:
        with Counted() as mode:
            step(loop, index)
        found.append(mode.found)

    monkeypatch.setattr(Loop, "_step", counted)
    return found


def test_a_small_students_step_is_few_operations(engine: Engine, teacher: Path, steps: list[Counter[str]]) -> None:
    """Two layers, soft targets beside labels, a point of the curves at every step: with these sizes operations are all it costs."""
    engine.run(small(teacher, recipe={"name": "hinton", "temperature": 4.0, "alpha": 0.5}))
    assert len(steps) == STEPS
    plain = steps[1]  # no gradient is looked at
    assert sum(plain.values()) <= 83, dict(plain)
    assert plain["aten::_foreach_mul_"] == 0, "gradients that are not clipped are left alone"
    assert plain["aten::slice_backward"] == 0, "nothing is cut of a whole batch"
    assert plain["aten::sub"] == 1, "nothing subtracts zero; the divergence is a difference"
    assert plain[WAITS] == 0, "the figures of a point are fetched together"


def test_gradients_are_shortened_only_when_they_are_longer(engine: Engine, steps: list[Counter[str]]) -> None:
    engine.run(small(training={"clip_norm": 1e6}))
    engine.run(small(training={"clip_norm": 1e-6}))
    assert [step["aten::_foreach_mul_"] for step in steps] == [0] * STEPS + [1] * STEPS


def test_all_figures_of_a_report_share_one_draw_of_resamples() -> None:
    scores.resamples.cache_clear()
    logits, labels = torch.randn(3000, 4), torch.randint(0, 4, (3000,))
    for arm in (logits, -logits):
        of_classes(arm, labels)
        evaluate.bootstrap(arm[:, 0].double().numpy())
    assert scores.resamples.cache_info().misses == 1
