"""The tree of errors of `contract.errors`, and what only a client can meet.

PotstillError
├── Refused …            answers of the service: InvalidSpec, InvalidData, Unauthorized, Forbidden, QuotaExceeded, RateLimited, NotFound,
│                        Conflict, TooLarge
├── Unavailable          the service answers, and asks for patience
├── ConnectionFailed     nobody answers, or somebody who is not Potstill
├── JobFailed            wait(): the job ended badly; `code`, `hint` and `job` say how
├── JobCancelled         wait(): somebody cancelled it
├── WaitTimeout          wait(): it goes on, the patience given did not
└── ChecksumMismatch     pull(): the bytes that came are not the bytes that were announced
"""

from typing import TYPE_CHECKING

from contract.errors import (
    Conflict,
    ErrorBody,
    ErrorCode,
    Exposed,
    FieldError,
    Forbidden,
    InvalidData,
    InvalidSpec,
    NotFound,
    PotstillError,
    QuotaExceeded,
    RateLimited,
    Refused,
    TooLarge,
    Unauthorized,
    Unavailable,
)

if TYPE_CHECKING:
    from contract.wire import JobView

__all__ = [
    "ChecksumMismatch", "Conflict", "ConnectionFailed", "ErrorBody", "ErrorCode", "Exposed", "FieldError", "Forbidden", "InvalidData",
    "InvalidSpec", "JobCancelled", "JobFailed", "NotFound", "PotstillError", "QuotaExceeded", "RateLimited", "Refused", "TooLarge",
    "Unauthorized", "Unavailable", "WaitTimeout",
]  # fmt: skip


class ConnectionFailed(PotstillError):
    """Nobody answers at the address, or somebody who does not speak Potstill."""

    def __init__(self, detail: str, *, hint: str | None = None) -> None:
        super().__init__(
            detail, code="connection_failed", hint=hint or "Is `potstill up` running? POTSTILL_URL (or --url) names another address."
        )


class JobFailed(PotstillError):
    """`job.error` of a failed job: its code, its hint, and the job itself."""

    def __init__(self, job: "JobView") -> None:
        error = job.error or ErrorBody(code=ErrorCode.INTERNAL_ERROR, message=job.status_reason or "no reason was given")
        super().__init__(f"{job.id} failed: {error.message}", code=error.code, hint=error.hint)
        self.job = job


class JobCancelled(PotstillError):
    def __init__(self, job: "JobView") -> None:
        super().__init__(
            f"{job.id} was cancelled.", code="job_cancelled", hint=f"`potstill retry {job.id}` goes on from its last checkpoint."
        )
        self.job = job


class WaitTimeout(PotstillError):
    """The wait is over, the job or sweep is not."""

    def __init__(self, id_: str, seconds: float, watch: str = "potstill watch") -> None:
        super().__init__(f"{id_} has not finished within {seconds:g} s.", code="wait_timeout", hint=f"It goes on: {watch} {id_}")


class ChecksumMismatch(PotstillError):
    def __init__(self, path: str, expected: str, got: str) -> None:
        super().__init__(
            f"{path}: the bytes received have SHA-256 {got[:12]}…, the service announced {expected[:12]}….",
            code="checksum_mismatch",
            hint="Nothing was kept. If it happens again, something between here and the service changes files, or its store is damaged.",
        )
