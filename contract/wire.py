"""What the API answers and the client reads. Times are RFC 3339 in UTC with Z; sizes in bytes; durations in seconds."""

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field, PlainSerializer

from contract.column import Column
from contract.errors import ErrorBody, FieldError
from contract.machine import Estimate, Machine
from contract.scope import Scope
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
    sweep: str | None = None
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
    kind: Literal["checkpoint", "student", "report", "log", "tensorboard", "wandb"]
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
    scopes: list[Scope] = Field(default=[], description="What it may do: `read`, `submit`, `admin`, each with those before it.")
    created_at: Time
    expires_at: Time | None = None
    last_used_at: Time | None = Field(default=None, description="To the minute.")
    revoked_at: Time | None = None
    secret: str | None = Field(default=None, description="Only in the answer that creates or rotates the key; it is stored hashed.")
    metadata: dict[str, str]


class WebhookView(BaseModel):
    id: str
    object: Literal["webhook"] = "webhook"
    url: str
    events: list[str]
    enabled: bool
    disabled_reason: str | None = Field(default=None, description="Why it was disabled, where nobody asked for that.")
    secret: str | None = Field(default=None, description="whsec_…; only in the answer that creates or rotates it.")
    created_at: Time
    metadata: dict[str, str]


class TryView(BaseModel):
    """One try to deliver. Without a status code and an error it is under way, or its sender died."""

    at: str
    duration_seconds: float | None = None
    status_code: int | None = None
    error: str | None = None


class DeliveryView(BaseModel):
    """A message for a webhook, and what came of it."""

    id: str = Field(description="The `webhook-id` header, the same in every try.")
    object: Literal["delivery"] = "delivery"
    webhook: str
    type: str
    subject: str | None = Field(description="The job or sweep it tells of.")
    status: Literal["pending", "delivered", "failed"] = Field(description="failed: given up.")
    tries: list[TryView]
    next_try_at: Time | None = Field(description="While it is being sent: when it is taken up again if its sender dies.")
    created_at: Time


AuditAction = Literal[
    "key.created", "key.rotated", "key.revoked", "login.used", "job.deleted", "sweep.deleted", "dataset.deleted", "model.deleted",
    "quota.refused", "project.created",
]  # fmt: skip


class AuditView(BaseModel):
    """Something that was done, and by whom."""

    id: str
    object: Literal["audit_event"] = "audit_event"
    action: AuditAction
    key: str | None = Field(description="The key it was done with; null for an operator at the store.")
    subject: str | None = Field(description="The id of what it was done to, or the limit that was reached.")
    data: dict[str, Any]
    request_id: str | None
    address: str | None = Field(description="Of the client, or of the proxy in front where that is not trusted to tell.")
    created_at: Time


class LoginLinkView(BaseModel):
    object: Literal["login_link"] = "login_link"
    path: str = Field(description="Open it below the service's address; it works once.")
    expires_in_seconds: float


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
    trackers: list[str] = Field(default=[], description="What it can mirror runs to (`report_to`).")
    memory_bytes: int | None = Field(default=None, description="That a trainer can have there; null where its system does not say.")
    labels: list[str] = Field(default=[], description="What jobs may ask for by `resources.labels`.")
    running: list[WorkerJob]
    last_heartbeat_at: Time
    alive: bool
    revision: str | None = Field(
        default=None,
        description="Of the database's tables it was made for; it works with newer ones, unless they break it: then it takes no jobs.",
    )
    deaf_since: Time | None = Field(default=None, description="Since when the broker's messages do not reach it; it finds jobs by looking.")
    machine: Machine | None = Field(default=None, description="What it measured; null before it has, and where POTSTILL_PROBE is off.")


class ValidateView(BaseModel):
    valid: bool
    errors: list[FieldError]
    warnings: list[str]
    resolved_spec: dict[str, Any] | None
    jobs_before: list[dict[str, Any]] | None = None  # that the recipe puts before this one, where it is a chain
    estimate: Estimate | dict[str, Any] | None = Field(description="Of a job; of a sweep trials, steps and parameters of its jobs.")


class TrialView(BaseModel):
    """One job of a sweep."""

    number: int = Field(description="From 1, in the order they were chosen.")
    job: str | None = Field(description="null where the values made no job; `error` says why.")
    values: dict[str, Any]
    status: JobStatus
    value: float | None = Field(default=None, description="The sweep's metric on the validation rows; of one stopped early, when it was.")
    stopped_after_epoch: int | None = None
    test: float | None = Field(default=None, description="The report's metric on the test rows.")
    parameters: int | None = None
    seconds: float | None = Field(default=None, description="Of running.")
    error: str | None = None


class SweepView(BaseModel):
    id: str
    object: Literal["sweep"] = "sweep"
    name: str
    status: Literal["running", "cancelling", "succeeded", "failed", "cancelled"]
    spec: dict[str, Any] = Field(description="As sent.")
    metric: str
    higher_is_better: bool
    planned: int = Field(description="How many trials there will be.")
    counts: dict[str, int] = Field(description="Trials by status.")
    trials: list[TrialView] | None = Field(default=None, description="Not in lists.")
    best: int | None = Field(default=None, description="The number of the best trial that has succeeded.")
    frontier: list[int] = Field(default=[], description="Trials that no other one beats in both size and metric, the smallest first.")
    teacher_passes: int | None = Field(default=None, description="Times that the teacher had to be asked for all rows.")
    verdict: str | None = None
    created_at: Time
    finished_at: Time | None = None
    metadata: dict[str, str]


class FreedView(BaseModel):
    freed_bytes: int
    files: int
