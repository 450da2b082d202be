"""What watchers see of training: points of curves, few enough for any length of run. Loss and its parts are means over all steps
since the last point, so thinning loses nothing; validation is measured every epoch and told of every few.
"""

import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from contract.events import RunEvent, Step
from distill.device import memory
from distill.errors import diverged
from distill.state import State

POINTS = 250  # a curve has fewer than twice as many, its first and last besides
LOOK = 0.1  # seconds between two looks at the memory in use
EXPLODED = 1000  # a loss this many times its first value has never been seen to come back


class Curves:
    """Which steps and epochs speak depends on the step alone, so a resumed run has the points it would have had."""

    def __init__(self, state: State, emit: Callable[[RunEvent], None], steps_per_epoch: int) -> None:
        self.state, self.emit, self.steps_per_epoch = state, emit, steps_per_epoch
        self.every_steps = max(1, state.total_steps // POINTS)
        self.every_epochs = max(1, state.total_steps // steps_per_epoch // POINTS)
        self.sums: dict[str, Tensor] = {}

    def start(self, device: torch.device) -> None:
        """Before the first step of an attempt, when the state is as it will be trained on."""
        self.sums = {name: torch.tensor(value, device=device) for name, value in self.state.progress.sums.items()}
        self.device = device
        self.spoken_at, self.spoken_step = time.monotonic(), self.state.progress.step
        self.looked_at = float("-inf")
        self.used: int | None = None

    def speaks(self, step: int) -> bool:
        return step == 1 or step % self.every_steps == 0 or step == self.state.total_steps

    def add(self, values: dict[str, Tensor]) -> None:
        """The metrics of one step."""
        for name, value in values.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.state.progress.summed_steps += 1

    def settle(self) -> None:
        """Puts the sums where a checkpoint takes them along."""
        self.state.progress.sums = {name: value.item() for name, value in self.sums.items()}
        refuse_infinite(self.state.progress.step, self.state.progress.sums, "loss")

    def speak(self, norm: Tensor | None, learning_rate: float, shares: Mapping[str, float]) -> None:
        """A point of the training curves. JobError when they say that nothing will come of it."""
        progress, now = self.state.progress, time.monotonic()
        found = [*self.sums.values(), *([norm] if norm is not None else [])]
        numbers = torch.stack([value.float() for value in found]).tolist()  # all at once: a GPU is waited for once
        metrics = {name: value / progress.summed_steps for name, value in zip(self.sums, numbers, strict=False)}
        if norm is not None:
            metrics["gradient_norm"] = numbers[-1]
        metrics |= {f"gradient_share/{name}": share for name, share in shares.items()}
        refuse_infinite(progress.step, metrics, "loss or its gradient")
        if progress.first_loss is None:
            progress.first_loss = metrics["train/loss"]
        elif metrics["train/loss"] > EXPLODED * max(progress.first_loss, 1.0):
            raise diverged(progress.step, "loss", f"grew to {metrics['train/loss']:.3g} from {progress.first_loss:.3g}")
        metrics["learning_rate"] = learning_rate
        if now - self.looked_at >= LOOK:  # a step of a small network takes a hundredth of that
            self.looked_at, self.used = now, memory(self.device)
        if self.used is not None:
            metrics["memory_bytes"] = self.used
        self.sums, progress.summed_steps = {}, 0
        rate = (progress.step - self.spoken_step) / max(now - self.spoken_at, 1e-9)
        self.spoken_at, self.spoken_step = now, progress.step
        if progress.step == 1:  # the first step warms everything up; its speed would promise hours
            self.emit(self._point(metrics))
            return
        metrics["steps_per_second"] = rate
        eta = (self.state.total_steps - progress.step) / rate
        self.emit(self._point(metrics).model_copy(update={"steps_per_second": rate, "eta_seconds": eta}))

    def validated(self) -> None:
        """After an epoch's validation: a point of its curves, if this epoch is one to speak of."""
        progress = self.state.progress
        epoch = progress.step // self.steps_per_epoch
        if epoch == 1 or epoch % self.every_epochs == 0 or progress.step == self.state.total_steps or progress.stopped_early:
            self.emit(self._point(progress.validation))

    def _point(self, metrics: dict[str, float]) -> Step:
        step, total = self.state.progress.step, self.state.total_steps
        return Step(step=step, total_steps=total, epoch=-(-step // self.steps_per_epoch), metrics=metrics)


def refuse_infinite(step: int, values: dict[str, float], what: str) -> None:
    if not all(value - value == 0 for value in values.values()):  # neither NaN nor infinite
        raise diverged(step, what)
