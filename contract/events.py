"""What a run says while it works: the engine emits these, the sink stores them, watchers read them."""

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, Field, TypeAdapter

from contract.errors import ErrorBody
from contract.status import Phase


class PhaseChanged(BaseModel):
    type: Literal["phase"] = "phase"
    phase: Phase
    message: str = ""


class Step(BaseModel):
    """Progress after an optimisation step; `metrics` holds means since the last one. Values are finite."""

    type: Literal["step"] = "step"
    step: int
    total_steps: int
    epoch: int
    metrics: dict[str, float]
    steps_per_second: float | None = None
    eta_seconds: float | None = None


class CheckpointSaved(BaseModel):
    """A complete checkpoint lies in `folder`; `dropped` are older steps that fell out of retention."""

    type: Literal["checkpoint"] = "checkpoint"
    step: int
    folder: str
    metrics: dict[str, float] = Field(default_factory=dict)
    dropped: list[int] = Field(default_factory=list)


class Resumed(BaseModel):
    """The run goes on from a checkpoint. `inexact` says why its result may differ from an undisturbed run, null if it cannot."""

    type: Literal["resumed"] = "resumed"
    step: int
    inexact: str | None = None


class LogLine(BaseModel):
    type: Literal["log"] = "log"
    level: Literal["info", "warning", "error"] = "info"
    message: str
    data: dict[str, Any] = Field(default_factory=dict)


class Finished(BaseModel):
    """The run is complete: `folder` holds `report.json` and `student/`."""

    type: Literal["finished"] = "finished"
    folder: str
    report: dict[str, Any]
    model: dict[str, Any] | None  # config of the model handed out; null for evaluate


class Stopped(BaseModel):
    """The run left at a step boundary because it was asked to; its last checkpoint has been announced."""

    type: Literal["stopped"] = "stopped"
    step: int


class Failed(BaseModel):
    """The run cannot go on. `retryable` is false for errors that would only repeat."""

    type: Literal["failed"] = "failed"
    error: ErrorBody
    retryable: bool = False


Outcome = Finished | Stopped | Failed
RunEvent = Annotated[PhaseChanged | Step | CheckpointSaved | Resumed | LogLine | Finished | Stopped | Failed, Field(discriminator="type")]
RUN_EVENT: TypeAdapter[RunEvent] = TypeAdapter(RunEvent)


class News(NamedTuple):
    """An event as watchers read it: the type, level, message and data of contract.wire.EventView."""

    type: str
    level: str
    message: str
    data: dict[str, Any]


def news(event: RunEvent) -> News | None:
    """What a run's event is called in a job's history; None for those that become history in other ways."""
    match event:
        case PhaseChanged():
            return News("phase", "info", event.message or event.phase, {"phase": event.phase})
        case Step():
            progress = event.model_dump(exclude={"type"})
            return News("metrics", "info", f"step {event.step:,} of {event.total_steps:,}", progress)
        case CheckpointSaved():
            return News("checkpoint", "info", f"checkpoint at step {event.step:,}", {"step": event.step, "metrics": event.metrics})
        case LogLine():
            return News("warning" if event.level == "warning" else "log", event.level, event.message, event.data)
        case Resumed(inexact=None):
            return News("log", "info", f"resumed from the checkpoint at step {event.step:,}", {"step": event.step})
        case Resumed():
            message = f"resumed from the checkpoint at step {event.step:,}, not exactly: {event.inexact}"
            return News("warning", "warning", message, {"step": event.step})
        case _:
            return None
