"""Settings of a worker process, read from POTSTILL_<FIELD> when it starts."""

import os
import re
import socket

from pydantic import Field, field_validator

from contract.resources import LABEL, MOST_LABELS
from models.settings import StoreSettings


class Settings(StoreSettings):
    slots: int = Field(default=1, ge=1, le=256, description="Jobs run at once.")
    host_id: str = Field(
        default_factory=socket.gethostname, description="Workers with the same host id can tell when one of them has died."
    )
    lease_seconds: float = Field(
        default=30.0, gt=1, description="A job whose lease is not renewed for this long is given to another worker."
    )
    renew_seconds: float = Field(default=5.0, gt=0, description="How often leases are renewed; the answer brings cancel and pause.")
    poll_seconds: float = Field(default=1.0, gt=0, description="How often a worker looks for work that nobody rang for.")
    sweep_seconds: float = Field(default=2.0, gt=0, description="How often expired leases and dead neighbours are looked for.")
    doorbell_seconds: float = Field(
        default=10.0, gt=0, description="How often a worker rings itself; after three times in vain it says that it is deaf to the broker."
    )
    quota_running_jobs: int | None = Field(
        default=None, ge=1, description="Jobs, and runs of jobs, of one project that may run at once; without it any number."
    )
    mlflow_tracking_uri: str = Field(
        default="",
        description="Where jobs with `report_to: [mlflow]` are mirrored; empty: nowhere. Its credentials are MLflow's own variables.",
    )
    probe: bool = Field(
        default=True, description="Measure this machine once, for a few seconds while there is nothing to do: estimates of time need it."
    )
    labels: str = Field(
        default="",
        description="Words by which jobs can ask for this worker (`resources.labels`), with commas between them: `a100,eu`. At most 8.",
    )
    memory_gb: float | None = Field(
        default=None, gt=0, description="The memory that a trainer can have here, in 10⁹ bytes, where it is not what the system says."
    )
    preempt: bool = Field(
        default=False,
        description="A job of higher priority that has waited for two seconds takes the place of one of the lowest that runs: that one "
        "leaves at a checkpoint and goes on later.",
    )
    stop_seconds: float = Field(default=30.0, gt=0, description="Time a trainer has to reach a checkpoint when asked to stop.")

    def threads(self) -> int:
        """Trainer threads: cores ÷ slots. More would only fight for the same cores."""
        return max(1, len(os.sched_getaffinity(0)) // self.slots)

    @field_validator("labels")
    @classmethod
    def _written(cls, value: str) -> str:
        found = sorted({word.strip() for word in value.split(",") if word.strip()})
        if len(found) > MOST_LABELS or not all(re.match(LABEL, word) for word in found):
            raise ValueError(f"at most {MOST_LABELS} words of small letters, digits, dots and dashes, each of 32 characters or less")
        return ",".join(found)

    @property
    def words(self) -> tuple[str, ...]:
        """Its labels, one by one."""
        return tuple(filter(None, self.labels.split(",")))

    @property
    def freeze_after(self) -> float:
        """Without a renewal for two thirds of the lease, trainers are held still: somebody may be about to take the job."""
        return self.lease_seconds * 2 / 3

    @property
    def kill_after(self) -> float:
        """And killed before the lease can be given away."""
        return self.lease_seconds * 5 / 6
