"""What the API answers and the client reads. Times are RFC 3339 in UTC with Z; sizes in bytes; durations in seconds."""

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field, PlainSerializer

from contract.columns import Column
from contract.errors import ErrorBody, FieldError
from contract.status import JobStatus, Phase


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Time = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
Item = TypeVar("Item", bound=BaseModel)


class Page(BaseModel, Generic[Item]):
    """One page of a list. `after=<last_id>` gives the next, older page; `before=<first_id>` the previous one."""

    object: Literal["list"] = "list"
    data: list[Item]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False


class Progress(BaseModel):
    phase: Phase | None = None
    step: int | None = None
    total_steps: int | None = None
    epoch: int | None = None
    steps_per_second: float | None = None
    eta_seconds: float | None = None


class JobView(BaseModel):
    id: str
    object: Literal["job"] = "job"
    kind: str
    name: str
    status: JobStatus
    status_reason: str | None = None
    priority: int
    spec: dict[str, Any] = Field(description="As sent.")
    resolved_spec: dict[str, Any] = Field(description="With every default, the recipe expanded to terms.")
    parent: str | None = None
    retry_of: str | None = None
    depends_on: list[str]
    attempt: int = Field(description="Executions so far; also the fence of every write.")
    created_at: Time
    queued_at: Time | None = None
    started_at: Time | None = None
    finished_at: Time | None = None
    progress: Progress
    latest: dict[str, float] = Field(description="Newest value of each metric.")
    report: dict[str, Any] | None = None
    model: str | None = None
    error: ErrorBody | None = None
    warnings: list[str]
    resumed_inexactly: bool = False
    metadata: dict[str, str]


class EventView(BaseModel):
    seq: int
    type: Literal["status", "phase", "metrics", "checkpoint", "log", "warning"]
    level: Literal["info", "warning", "error"] = "info"
    message: str
    data: dict[str, Any]
    created_at: Time


class Series(BaseModel):
    name: str
    arm: str
    seed: int
    points: list[tuple[int, float, str]] = Field(description="[step, value, time] in step order.")
    total_points: int


class MetricsView(BaseModel):
    data: list[Series]


class CheckpointView(BaseModel):
    step: int
    arm: str
    seed: int
    metrics: dict[str, float]
    size_bytes: int
    artifacts: list[str]
    created_at: Time


class ArtifactView(BaseModel):
    id: str
    path: str
    kind: Literal["checkpoint", "student", "report", "log"]
    size_bytes: int
    sha256: str
    created_at: Time


class SplitView(BaseModel):
    rows: int


class DatasetView(BaseModel):
    id: str
    object: Literal["dataset"] = "dataset"
    name: str
    format: str
    sha256: str
    size_bytes: int
    splits: dict[str, SplitView]
    columns: list[Column]
    classes: list[str] | None
    created_at: Time
    metadata: dict[str, str]


class PreviewView(BaseModel):
    split: str
    columns: list[str]
    rows: list[list[Any]]


class ModelView(BaseModel):
    id: str
    object: Literal["model"] = "model"
    name: str
    task: str
    job: str | None
    config: dict[str, Any]
    parameters: int
    size_bytes: int
    created_at: Time
    metadata: dict[str, str]


class KeyView(BaseModel):
    id: str
    object: Literal["key"] = "key"
    name: str
    prefix: str
    project: str
    created_at: Time
    revoked_at: Time | None = None
    secret: str | None = Field(default=None, description="Only in the answer that creates the key; it is stored hashed.")
    metadata: dict[str, str]


class WorkerJob(BaseModel):
    job: str
    attempt: int


class WorkerView(BaseModel):
    id: str
    object: Literal["worker"] = "worker"
    host: str
    version: str
    devices: list[str]
    slots: int
    running: list[WorkerJob]
    last_heartbeat_at: Time
    alive: bool
    revision: str | None = Field(default=None, description="Of the database's tables it was made for; with others it takes no jobs.")
    deaf_since: Time | None = Field(default=None, description="Since when the broker's messages do not reach it; it finds jobs by looking.")


class ValidateView(BaseModel):
    valid: bool
    errors: list[FieldError]
    warnings: list[str]
    resolved_spec: dict[str, Any] | None
    jobs_before: list[dict[str, Any]] | None = None  # that the recipe puts before this one, where it is a chain
    estimate: dict[str, Any] | None


class FreedView(BaseModel):
    freed_bytes: int
    files: int
