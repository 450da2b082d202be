"""What runs may be mirrored to (`report_to`): MLflow, TensorBoard, Weights & Biases. Each is told the parameters, points as they come, and
the report at the end, in its own words; libraries are imported where a run needs them.
"""

import importlib.util
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from contract.spec import TrackerName
from worker.settings import Settings

PROJECT = "potstill"
LONGEST = 500  # characters of a parameter that every version of MLflow takes
SETTLED_SECONDS = 1.0  # in which a file that is still written would grow
AT_ONCE = 100  # parameters in one of its requests


@dataclass(frozen=True)
class Mirrored:
    """The run as trackers show it. folder: for what a tracker writes; it becomes artifacts of the job."""

    job_id: str
    name: str
    arm: str
    seed: int
    attempt: int
    spec: dict[str, Any]
    folder: Path

    @property
    def tags(self) -> dict[str, str]:
        return {"potstill.job": self.job_id, "potstill.arm": self.arm, "potstill.seed": str(self.seed)}


class Tracker(Protocol):
    def resumed(self, step: int) -> None:
        """The run goes on from this step; later ones may come a second time."""

    def points(self, step: int, metrics: dict[str, float], at: float) -> None: ...

    def end(self, report: dict[str, Any] | None, succeeded: bool) -> None: ...


def missing(name: TrackerName, settings: Settings) -> str | None:
    """Why this worker cannot mirror to it; None where it can."""
    if importlib.util.find_spec(name) is None:
        return f"{name} is not installed here: pip install 'potstill[{name}]'"
    if name == "mlflow" and not settings.mlflow_tracking_uri:
        return "POTSTILL_MLFLOW_TRACKING_URI is not set here"
    return None


def flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """`training.epochs` and its value, for every leaf that says something."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{place}.{key}" if place else key)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        yield from flat(dict(enumerate(value)), place)
    elif value is not None:
        yield place, value


def figures(report: dict[str, Any] | None) -> dict[str, float]:
    """The report's means, as points of their own."""
    arms: dict[str, Any] = (report or {}).get("arms", {})
    return {
        f"report/{arm}/{name}": float(found["mean"])
        for arm, measured in arms.items()
        for name, found in (measured.get("metrics") or {}).items()
        if isinstance(found, dict) and isinstance(found.get("mean"), int | float)
    }


class TensorBoard:
    """Event files. A later attempt's file says from which step on it counts instead of the one before."""

    def __init__(self, run: Mirrored, _: Settings) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._make, self._run = SummaryWriter, run
        self._purge: int | None = None
        self._opened: Any = None

    @property
    def _writer(self) -> Any:
        if self._opened is None:
            self._opened = self._make(log_dir=str(self._run.folder), purge_step=self._purge)
            rows = "\n".join(f"| {name} | {value} |" for name, value in flat(self._run.spec))
            self._opened.add_text("spec", f"| field | value |\n| --- | --- |\n{rows}")
        return self._opened

    def resumed(self, step: int) -> None:
        self._purge = step + 1

    def points(self, step: int, metrics: dict[str, float], at: float) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step, walltime=at)

    def end(self, report: dict[str, Any] | None, succeeded: bool) -> None:
        for name, value in figures(report).items():
            self._writer.add_scalar(name, value, 0)
        if report is not None:
            self._writer.add_text("verdict", str(report.get("verdict")))
        self._writer.close()


class MLflow:
    """One run for each job: a later attempt finds it by its tag and goes on in it."""

    def __init__(self, run: Mirrored, settings: Settings) -> None:
        # Its own patience is a quarter of an hour; a thread that waits that long for nobody is one too many.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        self._metric, self._param, self._run = Metric, Param, run
        self._client = MlflowClient(tracking_uri=settings.mlflow_tracking_uri)
        experiment = self._experiment()
        known = self._client.search_runs([experiment], f"tags.`potstill.job` = '{run.job_id}'", max_results=1)
        made = known[0] if known else self._client.create_run(experiment, tags=run.tags, run_name=run.name)
        self._id: str = made.info.run_id
        self._client.update_run(self._id, status="RUNNING")
        parameters = [Param(name, str(value)[:LONGEST]) for name, value in flat(run.spec)]
        for start in range(0, len(parameters), AT_ONCE):
            self._client.log_batch(self._id, params=parameters[start : start + AT_ONCE])

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(PROJECT)
        if found is None:
            try:
                return str(self._client.create_experiment(PROJECT))
            except MlflowException:  # another worker was faster
                found = self._client.get_experiment_by_name(PROJECT)
                if found is None:
                    raise
        return str(found.experiment_id)

    def resumed(self, step: int) -> None:
        """Points that come again stand beside the first ones, at the same step."""

    def points(self, step: int, metrics: dict[str, float], at: float) -> None:
        self._client.log_batch(self._id, metrics=[self._metric(name, value, round(at * 1000), step) for name, value in metrics.items()])

    def end(self, report: dict[str, Any] | None, succeeded: bool) -> None:
        for name, value in figures(report).items():
            self._client.log_metric(self._id, name, value)
        if report is not None:
            self._client.set_tag(self._id, "potstill.verdict", str(report.get("verdict"))[:LONGEST])
            self._client.log_dict(self._id, report, "report.json")
        self._client.set_terminated(self._id, "FINISHED" if succeeded else "KILLED")


class WandB:
    """Online where the operator's environment has WANDB_API_KEY; else a file that `wandb sync` takes later."""

    def __init__(self, run: Mirrored, _: Settings) -> None:
        import wandb

        self._folder = run.folder
        self._run = wandb.init(
            project=PROJECT,
            id=run.job_id,
            name=run.name,
            tags=[run.arm],
            config=dict(flat(run.spec)) | run.tags,
            dir=str(run.folder),
            mode="online" if os.environ.get("WANDB_API_KEY") else "offline",
            resume="allow" if os.environ.get("WANDB_API_KEY") else None,
            reinit="create_new",  # a worker has several runs at once
            settings=wandb.Settings(console="off", silent=True, save_code=False, disable_git=True, x_disable_stats=True),
        )

    def resumed(self, step: int) -> None:
        """It takes no step twice, and keeps the first."""

    def points(self, step: int, metrics: dict[str, float], at: float) -> None:
        self._run.log({**metrics, "_timestamp": at}, step=step)

    def end(self, report: dict[str, Any] | None, succeeded: bool) -> None:
        self._run.summary.update({**figures(report), "verdict": (report or {}).get("verdict")})
        self._run.finish(exit_code=0 if succeeded else 1)
        self._wait_for_the_file()

    def _wait_for_the_file(self) -> None:
        """`finish` returns while the library's own process is still writing the end of it."""
        before, now = -1, self._written()
        while before != now:
            time.sleep(SETTLED_SECONDS)
            before, now = now, self._written()

    def _written(self) -> int:
        return sum(path.stat().st_size for path in self._folder.rglob(KEPT["wandb"]))


TRACKERS: dict[TrackerName, type[TensorBoard] | type[MLflow] | type[WandB]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
}
KEPT: dict[TrackerName, str] = {"tensorboard": "events.out.*", "wandb": "*.wandb"}  # files that become artifacts
