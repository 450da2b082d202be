"""Settings of a worker process, read from POTSTILL_<FIELD> when it starts."""

import json
import os
import re
import socket

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from contract.remote import RemoteTeacher
from contract.resources import LABEL, MOST_LABELS
from models.settings import StoreSettings
from outward.access import Access, key_for
from outward.judge import patterns


class Settings(StoreSettings):
    model_config = SettingsConfigDict(hide_input_in_errors=True)  # an error about a key must not quote it

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
    help_along: bool = Field(
        default=True,
        description="While a slot is free, help a run with its teacher's pass over all rows: one of this worker, or with artifacts in an "
        "object store of any.",
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
    stop_seconds: float = Field(
        default=30.0,
        gt=0,
        description="Time a trainer has to reach a checkpoint when asked to stop. "
        "Whoever stops the worker must wait longer: the grace periods of containers are 60.",
    )

    teacher_keys: SecretStr = Field(
        default=SecretStr("{}"),
        description="Keys of remote teachers' endpoints, as JSON by address, host and port, or host: "
        '`{"https://api.example.com/v1": "sk-…"}`. Sent there and nowhere else; in no job, log or report.',
    )
    teacher_concurrency: int = Field(
        default=32, ge=1, le=256, description="Requests that one run may have on their way to a remote teacher, whatever its spec says."
    )
    teacher_timeout_seconds: float = Field(default=300.0, gt=0, description="Longest wait for one answer of a remote teacher.")
    teacher_patience_seconds: float = Field(
        default=300.0,
        ge=0,
        description="How long a question is put again to a remote teacher that does not answer, or wants to be asked later; then the job "
        "fails, and its answers are kept.",
    )

    def access(self, teacher: RemoteTeacher) -> Access:
        """What this process may do on behalf of a job with that teacher."""
        keys: dict[str, str] = json.loads(self.teacher_keys.get_secret_value())
        return Access(
            allowed=self.teacher_endpoints,
            key=key_for(keys, teacher.endpoint),
            concurrency=self.teacher_concurrency,
            timeout_seconds=self.teacher_timeout_seconds,
            patience_seconds=self.teacher_patience_seconds,
        )

    def threads(self) -> int:
        """Trainer threads: cores ÷ slots. More would only fight for the same cores."""
        return max(1, len(os.sched_getaffinity(0)) // self.slots)

    @field_validator("teacher_endpoints")
    @classmethod
    def _endpoints(cls, written: str) -> str:
        patterns(written, addresses=True)
        return written

    @field_validator("teacher_keys")
    @classmethod
    def _keys(cls, written: SecretStr) -> SecretStr:
        try:
            found = json.loads(written.get_secret_value() or "{}")
        except ValueError:
            found = None
        if not isinstance(found, dict) or not all(isinstance(key, str) and key.isascii() and key.isprintable() for key in found.values()):
            raise ValueError('it must be JSON that gives each address or host its key: {"https://host/v1": "sk-…"}')
        return SecretStr(json.dumps(found))

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
