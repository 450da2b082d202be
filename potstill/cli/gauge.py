"""What a watcher knows of a running job, gathered from its events. How it looks is the display's affair."""

from itertools import pairwise
from typing import TYPE_CHECKING

from potstill.cli.output import clock

if TYPE_CHECKING:
    from contract.wire import EventView, JobView

BARS = "▁▂▃▄▅▆▇█"
KEPT = 512  # values behind a sparkline; more are averaged in pairs


class Gauge:
    """Phase, progress, speed and metrics as of the last event."""

    def __init__(self, job: "JobView") -> None:
        self.status = str(job.status)
        self.phase = str(job.progress.phase or "")
        self.step = job.progress.step
        self.total_steps = job.progress.total_steps
        self.rate = job.progress.steps_per_second
        self.eta = job.progress.eta_seconds
        self.metrics: dict[str, float] = {}
        self.losses: list[float] = []

    def take(self, event: "EventView") -> None:
        data = event.data
        if event.type == "status":
            self.status = str(data.get("to", self.status))
        elif event.type == "phase":
            self.phase = str(data.get("phase", event.message))
        elif event.type == "metrics":
            self.phase = str(data.get("phase") or self.phase)
            self.step = data.get("step", self.step)
            self.total_steps = data.get("total_steps", self.total_steps)
            if data.get("steps_per_second"):  # not every step is timed
                self.rate, self.eta = data["steps_per_second"], data.get("eta_seconds")
            metrics = data.get("metrics", {})
            self.metrics.update(metrics)
            if "train/loss" in metrics:
                self._remember(metrics["train/loss"])

    def _remember(self, loss: float) -> None:
        self.losses.append(loss)
        if len(self.losses) > KEPT:
            pairs = zip(self.losses[::2], self.losses[1::2], strict=False)
            self.losses = [(a + b) / 2 for a, b in pairs]

    @property
    def share(self) -> float | None:
        """How much is done, 0 to 1."""
        return min(1.0, self.step / self.total_steps) if self.step is not None and self.total_steps else None

    @property
    def moving(self) -> bool:
        """Whether something is being done: by the job, or by the runs that it waits for."""
        return self.status == "running" or (self.status in ("waiting", "queued") and self.share is not None)

    def pace(self) -> str:
        """`step 1,260/2,000 · 910 it/s · ETA 0:01`."""
        if self.step is None or not self.total_steps:
            return ""
        said = [f"step {self.step:,}/{self.total_steps:,}"]
        if self.rate:
            said.append(f"{self.rate:,.0f} it/s" if self.rate >= 10 else f"{self.rate:.2g} it/s")
        if self.eta is not None:
            said.append(f"ETA {clock(self.eta)}")
        return " · ".join(said)

    def readings(self, *, drawn: bool) -> str:
        """The loss (with its curve when `drawn`) and the validation metrics."""
        said = []
        if (loss := self.metrics.get("train/loss")) is not None:
            said.append(f"loss {loss:.3g} {sparkline(self.losses) if drawn else ''}".rstrip())
        said += [f"{name.replace('/', ' ')} {value:.3f}" for name, value in self.metrics.items() if name.startswith("validation/")]
        return "   ".join(said)


def sparkline(values: list[float], width: int = 16) -> str:
    """The curve in `width` characters, each the mean of its stretch."""
    if len(values) < 2:
        return ""
    count = min(width, len(values))
    edges = [round(i * len(values) / count) for i in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((mean - low) * scale)] for mean in means)
