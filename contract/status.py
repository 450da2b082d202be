"""The states of a job and the one table of what may follow what.

`waiting` for jobs it refers to · `queued` for a worker · `running` · `pausing` and `cancelling` while a worker has been asked
to stop · `paused` · and the three final states, which never change again: `succeeded`, `failed`, `cancelled`.
"""

from enum import StrEnum


class JobStatus(StrEnum):
    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in FINAL

    @property
    def active(self) -> bool:
        """A worker holds it: writes of the current attempt are accepted."""
        return self in ACTIVE


S = JobStatus
FINAL = frozenset({S.SUCCEEDED, S.FAILED, S.CANCELLED})
ACTIVE = frozenset({S.RUNNING, S.PAUSING, S.CANCELLING})

TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    S.WAITING: frozenset({S.QUEUED, S.FAILED, S.PAUSED, S.CANCELLED, S.CANCELLING}),  # cancelling: a parent whose runs have to stop
    S.QUEUED: frozenset({S.RUNNING, S.PAUSED, S.CANCELLED, S.FAILED}),
    S.RUNNING: frozenset({S.QUEUED, S.PAUSING, S.PAUSED, S.CANCELLING, S.SUCCEEDED, S.FAILED}),
    S.PAUSING: frozenset({S.PAUSED, S.CANCELLING, S.SUCCEEDED, S.FAILED}),
    S.PAUSED: frozenset({S.QUEUED, S.WAITING, S.CANCELLED, S.CANCELLING}),
    S.CANCELLING: frozenset({S.CANCELLED, S.SUCCEEDED, S.FAILED}),
    S.SUCCEEDED: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELLED: frozenset(),
}


class Phase(StrEnum):
    """What a running job is doing."""

    PREPARING = "preparing"
    TEACHER_INFERENCE = "teacher_inference"
    TRAINING = "training"
    EVALUATING = "evaluating"
    SAVING = "saving"
