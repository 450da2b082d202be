"""One tree of errors for engine, store, API and client, one JSON shape on the wire (RFC 9457).

    PotstillError
    ├── Refused            the request or its input is wrong (4xx)
    │   ├── InvalidSpec    422, names the field
    │   ├── InvalidData    422, rows or files that cannot be used
    │   ├── Unauthorized   401
    │   ├── Forbidden      403, the key's scope does not reach so far
    │   ├── QuotaExceeded  403, the project has what it may have
    │   ├── RateLimited    429, ask again in as many seconds as Retry-After says
    │   ├── NotFound       404
    │   ├── Conflict       409
    │   └── TooLarge       413
    ├── JobError           a running job cannot go on, and repeating it would not help
    ├── Unavailable        503, ask again later
    ├── StoreRefused       503, ask again when somebody has seen to the artifact store
    └── Exposed            a process that would be open to strangers does not start

The API turns any of them into problem+json in one handler; the client turns problem+json back into the same class by `code`.
"""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field

DOCS = "https://potstill.example/docs/errors#"


class ErrorCode(StrEnum):
    """Stable codes, each with the moment it fires."""

    INVALID_SPEC = "invalid_spec"  # a field of a job spec has a wrong type, value or combination
    UNKNOWN_FIELD = "unknown_field"  # a field nobody knows; the hint names the nearest known one
    CONFLICTING_FIELDS = "conflicting_fields"  # two fields that exclude each other, recipe and objective above all
    INVALID_PARAMETER = "invalid_parameter"  # a query parameter or header that cannot be read
    MALFORMED_BODY = "malformed_body"  # the body is not the JSON, YAML or multipart it says it is
    HOST_NOT_ALLOWED = "host_not_allowed"  # the service sends nothing to the host that an address names
    INVALID_DATA = "invalid_data"  # an uploaded file or its rows cannot be used
    INVALID_MODEL = "invalid_model"  # an uploaded model cannot be used
    DOES_NOT_FIT = "does_not_fit"  # teacher, student, classes and data do not fit each other
    MISSING_KEY = "missing_key"  # no Authorization header
    INVALID_KEY = "invalid_key"  # not a key, or one nobody issued
    REVOKED_KEY = "revoked_key"  # a key that was revoked
    EXPIRED_KEY = "expired_key"  # a key whose time is over, or a secret that was rotated away
    INSUFFICIENT_SCOPE = "insufficient_scope"  # the key may not do this; the detail names the scope that it lacks
    KEY_IN_ADDRESS = "key_in_address"  # a key was sent in the URL, where logs and histories keep it
    WRONG_HOST = "wrong_host"  # the Host header names something that is not this service
    WRONG_ORIGIN = "wrong_origin"  # a page of another site wants to write
    GUESSABLE_KEY = "guessable_key"  # a key that can be guessed, and a service that would be open to strangers
    QUOTA_EXCEEDED = "quota_exceeded"  # the project has as much of something as it may have
    RATE_LIMITED = "rate_limited"  # too many requests with one key, or too many failed attempts from one address, within a minute
    NOT_FOUND = "not_found"  # no such route
    JOB_NOT_FOUND = "job_not_found"
    DATASET_NOT_FOUND = "dataset_not_found"
    MODEL_NOT_FOUND = "model_not_found"
    SWEEP_NOT_FOUND = "sweep_not_found"
    ARTIFACT_NOT_FOUND = "artifact_not_found"
    KEY_NOT_FOUND = "key_not_found"
    WEBHOOK_NOT_FOUND = "webhook_not_found"
    NAME_TAKEN = "name_taken"  # a project of this name is there already
    METHOD_NOT_ALLOWED = "method_not_allowed"
    INVALID_TRANSITION = "invalid_transition"  # the job's present status does not allow this; the detail names it
    IN_USE = "in_use"  # something unfinished still needs it
    STUDENT_NOT_READY = "student_not_ready"  # the job has not succeeded, so it has no student to hand out
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"  # same Idempotency-Key, another body
    IDEMPOTENCY_IN_FLIGHT = "idempotency_in_flight"  # the first request with this key has not been answered yet
    PAYLOAD_TOO_LARGE = "payload_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    RANGE_NOT_SATISFIABLE = "range_not_satisfiable"
    INTERNAL_ERROR = "internal_error"  # our mistake; the log has the trace under request_id
    UNAVAILABLE = "unavailable"  # the database or the artifact store cannot be reached just now
    STORE_REFUSED = "store_refused"  # the artifact store refuses the service's keys, or its bucket is not there
    # Codes a job may fail with.
    DIVERGED = "diverged"  # the loss or its gradient became NaN or infinite
    DEPENDENCY_FAILED = "dependency_failed"  # a job this one waits for failed, was cancelled or was deleted
    RUN_FAILED = "run_failed"  # a job of several runs: one of them failed; the others' results are in the report
    CRASH_LOOP = "crash_loop"  # the trainer died several times in a row without a new checkpoint
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    CHECKPOINT_INVALID = "checkpoint_invalid"
    PACKAGE_MISSING = "package_missing"  # the worker lacks a package that only such jobs need; the hint says which to install
    EXPORT_FAILED = "export_failed"  # the network cannot be written in the format asked for
    EXPORT_DIFFERS = "export_differs"  # the written network does not say what the original says
    TEACHER_REFUSED = "teacher_refused"  # a remote teacher's endpoint refuses the key, the model or what it is asked
    TEACHER_UNAVAILABLE = "teacher_unavailable"  # a remote teacher's endpoint did not answer, however often it was asked
    TEACHER_ANSWER_INVALID = "teacher_answer_invalid"  # a remote teacher's answer cannot be read, is too large, or lacks what was asked
    TEACHER_TOKENS_SPENT = "teacher_tokens_spent"  # teacher.max_tokens_total is used up; what was answered is kept


class FieldError(BaseModel):
    """One wrong place in a request: where (JSON pointer) and what."""

    pointer: str
    message: str


class ErrorBody(BaseModel):
    """Why a job failed, as shown in the job."""

    code: str
    message: str
    hint: str | None = None


class Problem(BaseModel):
    """The `application/problem+json` body of every error answer."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    param: str | None = None
    errors: list[FieldError] = Field(default_factory=list)
    hint: str | None = None
    request_id: str


class PotstillError(Exception):
    """Base of everything we raise on purpose. `code` is stable, `hint` says what to do now, `param` is the dotted field."""

    status = 500
    title = "Something went wrong"
    default_code = ErrorCode.INTERNAL_ERROR

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        param: str | None = None,
        hint: str | None = None,
        errors: list[FieldError] | None = None,
        status: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = str(code or self.default_code)
        self.param = param
        self.hint = hint
        self.errors = errors or []
        self.status = status or self.status
        self.headers = headers or {}
        self.request_id: str | None = None

    def body(self) -> ErrorBody:
        return ErrorBody(code=self.code, message=self.detail, hint=self.hint)

    def problem(self, instance: str, request_id: str) -> Problem:
        return Problem(
            type=DOCS + self.code,
            title=self.title,
            status=self.status,
            detail=self.detail,
            instance=instance,
            code=self.code,
            param=self.param,
            errors=self.errors,
            hint=self.hint,
            request_id=request_id,
        )

    @staticmethod
    def from_problem(body: dict[str, Any]) -> "PotstillError":
        """The exception a problem+json body stands for; the class follows the code where it tells, else the status."""
        status = int(body.get("status", 500))
        by_status = _BY_STATUS.get(status, Refused if 400 <= status < 500 else PotstillError)
        error = _BY_CODE.get(str(body.get("code")), by_status)(
            str(body.get("detail", "no detail")),
            code=body.get("code"),
            param=body.get("param"),
            hint=body.get("hint"),
            errors=[FieldError.model_validate(e) for e in body.get("errors") or []],
            status=status,
        )
        error.request_id = body.get("request_id")
        return error

    def __str__(self) -> str:
        return self.detail


class Refused(PotstillError):
    status, title, default_code = 400, "The request cannot be carried out", ErrorCode.INVALID_PARAMETER


class InvalidSpec(Refused):
    status, title, default_code = 422, "The job spec is not valid", ErrorCode.INVALID_SPEC


class InvalidData(Refused):
    status, title, default_code = 422, "The data cannot be used", ErrorCode.INVALID_DATA


class Unauthorized(Refused):
    status, title, default_code = 401, "A valid API key is needed", ErrorCode.MISSING_KEY


class Forbidden(Refused):
    status, title, default_code = 403, "This key may not do that", ErrorCode.INSUFFICIENT_SCOPE


class QuotaExceeded(Refused):
    status, title, default_code = 403, "The project has what it may have", ErrorCode.QUOTA_EXCEEDED


class RateLimited(Refused):
    status, title, default_code = 429, "Too many requests", ErrorCode.RATE_LIMITED


class NotFound(Refused):
    status, title, default_code = 404, "There is no such thing", ErrorCode.NOT_FOUND


class Conflict(Refused):
    status, title, default_code = 409, "The present state does not allow this", ErrorCode.INVALID_TRANSITION


class TooLarge(Refused):
    status, title, default_code = 413, "The body is too large", ErrorCode.PAYLOAD_TOO_LARGE


class Unavailable(PotstillError):
    status, title, default_code = 503, "Not available just now", ErrorCode.UNAVAILABLE


class StoreRefused(PotstillError):
    """The artifact store answers and says no: its keys are wrong or over, or its bucket is not there. No `Unavailable`, because whoever
    asks that again until it is there would ask this for ever."""

    status, title, default_code = 503, "The artifact store refuses", ErrorCode.STORE_REFUSED


class Exposed(PotstillError):
    status, title, default_code = 500, "This would be open to strangers", ErrorCode.GUESSABLE_KEY


class JobError(PotstillError):
    """A run that cannot go on and would fail again: bad data, a diverged loss. Never retried."""

    status, title, default_code = 422, "The job cannot go on", ErrorCode.INVALID_DATA


_BY_STATUS: dict[int, type[PotstillError]] = {
    c.status: c for c in (Refused, Unauthorized, Forbidden, RateLimited, NotFound, Conflict, TooLarge, Unavailable, InvalidSpec)
}
_BY_CODE: dict[str, type[PotstillError]] = {
    ErrorCode.INVALID_DATA: InvalidData,
    ErrorCode.INVALID_MODEL: InvalidData,
    ErrorCode.QUOTA_EXCEEDED: QuotaExceeded,
    ErrorCode.STORE_REFUSED: StoreRefused,
}
