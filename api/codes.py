"""Which codes an operation may answer with, told from what it takes, and a problem of each for /openapi.json."""

import re
from typing import Any

from api.auth import CURE
from api.errors import told
from contract.errors import ErrorCode as E
from contract.errors import PotstillError, Problem
from contract.schema import DISTILL

JOB = "job_0198f2c4a1b27e3c9d4e5f60718293a4"  # the ids of all examples
TEACHER = DISTILL["teacher"]["job"]
DATASET = "ds_0198f2c1b7a97c10a4b5c6d7e8f90a1b"
MODEL = "mdl_0198f2c5e4f37d219f8e7d6c5b4a3928"
ARTIFACT = "art_0198f2c5e5017b468a9b0c1d2e3f4a5b"
SWEEP = "swp_0198f2c7f6e57f329b8a7c6d5e4f3a2b"
KEY = "key_0198f2bf9d8c7b6aa5b4c3d2e1f0a9b8"
WEBHOOK = "whk_0198f2c9b8a79c5d8e7f6a5b4c3d2e1f"
REQUEST = "req_0198f2c8a7b67c5d8e9f0a1b2c3d4e5f"

# code: (status where nothing else is said, detail, field, what to do)
PROBLEMS: dict[E, tuple[int, str, str | None, str | None]] = {
    E.MALFORMED_BODY: (
        400, "The body is not valid JSON: Expecting value: line 1 column 1 (char 0).", None, "Check the syntax at that place.",
    ),
    E.KEY_IN_ADDRESS: (
        400, "key: a key does not belong into an address, where logs and histories keep it.", "key",
        "Send it as `Authorization: Bearer psk_…`, and rotate this one: potstill keys rotate ID --grace 0",
    ),
    E.MISSING_KEY: (401, "This needs an API key, and none was sent.", None, CURE),
    E.INVALID_KEY: (401, "This API key is not known here.", None, CURE),
    E.REVOKED_KEY: (401, f"The API key {KEY} was revoked.", None, CURE),
    E.EXPIRED_KEY: (401, f"The API key {KEY} has expired.", None, CURE),
    E.INSUFFICIENT_SCOPE: (
        403, "This needs the scope `submit`, and the key has `read`.", None, "Use a key with that scope.",
    ),
    E.WRONG_ORIGIN: (403, "A page of 'https://example.org' may not write here.", "Origin", "Programs send no Origin header."),
    E.QUOTA_EXCEEDED: (
        403, "quota_queued_jobs: 100 jobs wait, 1 more were sent, and a project may have 100.", "quota_queued_jobs",
        "Wait until some have started, or cancel some; the operator sets POTSTILL_QUOTA_QUEUED_JOBS.",
    ),
    E.RATE_LIMITED: (429, "These are more than 12,000 requests with this key in a minute.", None, "Ask again in 31 seconds."),
    E.NOT_FOUND: (404, "There is no /v1/jobz here.", None, "Did you mean /v1/jobs?"),
    E.JOB_NOT_FOUND: (404, f"There is no job {JOB}.", None, "`potstill jobs` lists those there are."),
    E.DATASET_NOT_FOUND: (404, f"There is no dataset {DATASET}.", None, "`potstill datasets ls` lists those there are."),
    E.MODEL_NOT_FOUND: (404, f"There is no model {MODEL}.", None, "`potstill models ls` lists those there are."),
    E.SWEEP_NOT_FOUND: (404, f"There is no sweep {SWEEP}.", None, "`potstill sweeps ls` lists those there are."),
    E.ARTIFACT_NOT_FOUND: (404, f"There is no artifact {ARTIFACT}.", None, "GET /v1/jobs/{id}/artifacts lists a job's."),
    E.KEY_NOT_FOUND: (404, f"There is no key {KEY}.", None, "`potstill keys ls` lists those there are."),
    E.WEBHOOK_NOT_FOUND: (404, f"There is no webhook {WEBHOOK}.", None, "`potstill webhooks ls` lists those there are."),
    E.INVALID_TRANSITION: (409, f"{JOB} is succeeded and cannot be cancelled.", "status", None),
    E.IN_USE: (409, f"dataset {DATASET} is needed by {JOB}.", None, "Wait until that has ended, or cancel it."),
    E.STUDENT_NOT_READY: (
        409, f"{JOB} is running; its student is there once it has succeeded.", "status", f"potstill watch {JOB}",
    ),
    E.IDEMPOTENCY_IN_FLIGHT: (
        409, "The first request with this Idempotency-Key has not been answered yet.", None, "Ask again in a moment.",
    ),
    E.PAYLOAD_TOO_LARGE: (
        413, "The body is larger than the 1,048,576 bytes accepted here.", None,
        "A spec is a page of text; rows are uploaded as datasets. The operator sets POTSTILL_MAX_BODY_BYTES.",
    ),
    E.UNSUPPORTED_MEDIA_TYPE: (
        415, "Bodies of type text/plain are not read here.", None,
        "Send JSON with `Content-Type: application/json`, or YAML with `Content-Type: application/yaml`.",
    ),
    E.RANGE_NOT_SATISFIABLE: (416, "The file has 10024 bytes; none of those asked for (bytes=20000-) exists.", "Range", None),
    E.INVALID_PARAMETER: (422, "limit: input should be less than or equal to 100 (given: '1000')", "limit", None),
    E.UNKNOWN_FIELD: (422, "training.epohcs: this field is not known", "training.epohcs", "Did you mean `epochs`?"),
    E.CONFLICTING_FIELDS: (422, "objective: `recipe` and `objective` exclude each other: keep one", "objective", None),
    E.INVALID_SPEC: (422, "training.epochs: input should be greater than or equal to 1 (given: 0)", "training.epochs", None),
    E.HOST_NOT_ALLOWED: (
        422, "url: this service sends nothing to hooks.internal, port 443", "url", "The operator allows hosts with POTSTILL_WEBHOOK_HOSTS.",
    ),
    E.DOES_NOT_FIT: (
        422, "data.train: digits is for image-classification and tabular-classification, not causal-lm", "data.train", None,
    ),
    E.DEPENDENCY_FAILED: (
        422, f"teacher.job: {TEACHER} failed and has no model", "teacher.job", f"`potstill retry {TEACHER}` gives a new job to name.",
    ),
    E.INVALID_DATA: (422, "file: line 3 has 2 cells; the header has 3", "file", "Correct that line."),
    E.INVALID_MODEL: (
        422, "file: model.safetensors is missing.", "file", "With curl: -F file=@model.safetensors -F file=@config.json",
    ),
    E.IDEMPOTENCY_KEY_REUSED: (
        422, "This Idempotency-Key was used for another request.", "Idempotency-Key", "Make a new key for every new request.",
    ),
    E.INTERNAL_ERROR: (500, "Something went wrong on our side.", None, f"The service's log has the reason under {REQUEST}."),
    E.UNAVAILABLE: (503, "The database did not answer: connection refused", None, "Ask again in a few seconds."),
    E.STORE_REFUSED: (503, "The artifact store refuses: it will not have these keys (Forbidden).", None, "The operator should look at it."),
    E.DISK_FULL: (503, "The disk for uploads is full.", None, "Free some space, then send it again."),
}  # fmt: skip
OF_STATUS: dict[int, tuple[E, ...]] = {
    400: (E.MALFORMED_BODY, E.KEY_IN_ADDRESS),
    401: (E.MISSING_KEY, E.INVALID_KEY, E.REVOKED_KEY, E.EXPIRED_KEY),
    403: (E.INSUFFICIENT_SCOPE, E.WRONG_ORIGIN),
    429: (E.RATE_LIMITED,),
    413: (E.PAYLOAD_TOO_LARGE,),
    415: (E.UNSUPPORTED_MEDIA_TYPE,),
    416: (E.RANGE_NOT_SATISFIABLE,),
    422: (E.INVALID_PARAMETER, E.UNKNOWN_FIELD, E.CONFLICTING_FIELDS),
    500: (E.INTERNAL_ERROR,),
    503: (E.UNAVAILABLE, E.STORE_REFUSED),
}
OF_PATH = {
    "job_id": E.JOB_NOT_FOUND, "dataset_id": E.DATASET_NOT_FOUND, "model_id": E.MODEL_NOT_FOUND, "sweep_id": E.SWEEP_NOT_FOUND,
    "artifact_id": E.ARTIFACT_NOT_FOUND, "key_id": E.KEY_NOT_FOUND, "webhook_id": E.WEBHOOK_NOT_FOUND,
}  # fmt: skip
SPEC = (E.INVALID_SPEC, E.DOES_NOT_FIT, E.JOB_NOT_FOUND, E.DATASET_NOT_FOUND, E.MODEL_NOT_FOUND, E.DEPENDENCY_FAILED)
FULL = (E.QUOTA_EXCEEDED,)
# What only one operation says.
BESIDES: dict[str, dict[int, tuple[E, ...]]] = {
    "submit_job": {403: FULL, 422: SPEC},
    "submit_batch": {403: FULL, 422: SPEC},
    "submit_sweep": {403: FULL, 422: SPEC},
    "validate_job": {422: (E.INVALID_SPEC,)},
    "validate_sweep": {422: (E.INVALID_SPEC,)},
    "create_key": {422: (E.INVALID_SPEC,)},
    "rotate_key": {409: (E.INVALID_TRANSITION,), 422: (E.INVALID_SPEC,)},
    "create_webhook": {403: FULL, 422: (E.INVALID_SPEC, E.HOST_NOT_ALLOWED)},
    "update_webhook": {422: (E.INVALID_SPEC, E.HOST_NOT_ALLOWED)},
    "test_webhook": {409: (E.INVALID_TRANSITION,)},
    "update_job": {409: (E.INVALID_TRANSITION,), 422: (E.INVALID_SPEC,)},
    "cancel_job": {409: (E.INVALID_TRANSITION,)},
    "pause_job": {409: (E.INVALID_TRANSITION,)},
    "resume_job": {409: (E.INVALID_TRANSITION,)},
    "retry_job": {403: FULL, 409: (E.INVALID_TRANSITION, E.DATASET_NOT_FOUND, E.MODEL_NOT_FOUND)},
    "delete_job": {409: (E.INVALID_TRANSITION, E.IN_USE)},
    "delete_sweep": {409: (E.INVALID_TRANSITION, E.IN_USE)},
    "delete_dataset": {409: (E.IN_USE,)},
    "delete_model": {409: (E.IN_USE,)},
    "download_student": {404: (E.ARTIFACT_NOT_FOUND,), 409: (E.STUDENT_NOT_READY,)},
    "upload_dataset": {403: FULL, 422: (E.INVALID_DATA, E.INVALID_SPEC), 503: (E.DISK_FULL,)},
    "upload_model": {403: FULL, 422: (E.INVALID_DATA, E.INVALID_MODEL, E.INVALID_SPEC), 503: (E.DISK_FULL,)},
}


def codes(path: str, operation: dict[str, Any], status: int) -> list[E]:
    """Every code that this operation may answer with at this status, in the order of OF_STATUS, then its own."""
    found = [*OF_STATUS.get(status, ()), *BESIDES.get(operation["operationId"], {}).get(status, ())]
    if status == 404:
        named = [OF_PATH.get(name, E.NOT_FOUND) for name in re.findall(r"{(\w+)}", path)]
        found = list(dict.fromkeys([*named, *found, E.NOT_FOUND]))  # the last of a path that cannot be one
    if "Idempotency-Key" in {parameter["name"] for parameter in operation.get("parameters", ())}:
        found += {409: [E.IDEMPOTENCY_IN_FLIGHT], 422: [E.IDEMPOTENCY_KEY_REUSED]}.get(status, [])
    return found


def example_name(code: E, status: int) -> str:
    """Under which an operation refers to the problem; a code that has another status elsewhere says so."""
    return f"problem.{code}" if status == PROBLEMS[code][0] else f"problem.{code}.{status}"


def problem(code: E, status: int) -> Problem:
    _, detail, param, hint = PROBLEMS[code]
    body = {"status": status, "code": code, "detail": detail, "param": param, "hint": hint}
    return told(PotstillError.from_problem(body), "/v1/jobs", REQUEST)
