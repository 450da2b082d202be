"""docs/reference/errors.md: every code, when it fires and what to do. The moment is the comment beside the code in contract/errors.py."""

import inspect
import re

from contract import errors
from contract.errors import ErrorCode
from docgen.text import table

INTRO = """# Errors

Every error of the API is `application/problem+json` (RFC 9457):

| field | meaning |
| --- | --- |
| `type`, `title`, `status`, `detail`, `instance` | as the RFC has them; `detail` is one sentence for people |
| `code` | one of the codes below; it never changes its meaning |
| `param` | the first wrong field, dotted as in the YAML: `training.epochs`, `objective.0.weight` |
| `errors` | every wrong place: `pointer` (JSON pointer) and `message` |
| `hint` | what to do now |
| `request_id` | also in the header `X-Request-Id` and in the service's log |

A job that failed has `error: {code, message, hint}` with codes from the same list. The Python client raises the exception that goes
with the answer; all are `PotstillError` and have `code`, `detail`, `param`, `hint` and `request_id`.
"""

# code: (HTTP status, or "job" for the error of a failed job; what to do). The hint of each answer is more precise.
CURES = {
    "invalid_spec": ("422", "Correct the field that `param` names; [the job spec](spec.md) lists all fields."),
    "unknown_field": ("422", "Correct the spelling; `hint` names the nearest field."),
    "conflicting_fields": ("422", "Keep one of the two."),
    "invalid_parameter": ("422", "Correct the query parameter or header that `param` names; [the API](api.md) lists them."),
    "malformed_body": ("400", "Send valid JSON, YAML or multipart, with the matching `Content-Type`."),
    "host_not_allowed": ("422, job", "Name a host that [`POTSTILL_WEBHOOK_HOSTS`](settings.md#api) allows, of a remote teacher "
                         "[`POTSTILL_TEACHER_ENDPOINTS`](settings.md#api-and-worker), or have the operator add it."),
    "invalid_data": ("422, job", "Correct the file at the place that `detail` names."),
    "invalid_model": ("422, job", "Upload `model.safetensors` and a `config.json` that describes it; pickles are refused."),
    "does_not_fit": ("422, job", "Use a student for this kind of rows, or a teacher that was made for the same shape and classes."),
    "missing_key": ("401", "Send `Authorization: Bearer psk_…`, or set `POTSTILL_KEY`."),
    "invalid_key": ("401", "Check the key; `potstill up` wrote its first to `$POTSTILL_HOME/key`."),
    "revoked_key": ("401", "Use another key."),
    "expired_key": ("401", "Use another key, or the secret that the rotation gave."),
    "insufficient_scope": ("403", "Use a key with the scope that `detail` names: `potstill keys create NAME --scope SCOPE`."),
    "key_in_address": ("400", "Send keys in the `Authorization` header, and rotate this one: `potstill keys rotate ID --grace 0`."),
    "wrong_host": ("421", "Use 127.0.0.1, or put the name into [`POTSTILL_ALLOWED_HOSTS`](settings.md#api)."),
    "wrong_origin": ("403", "Call the API from a program, or from the service's own pages."),
    "guessable_key": ("–", "Put `psk_` and the output of `openssl rand -hex 24` in its place; the process ends with exit code 2."),
    "quota_exceeded": ("403", "Do what `hint` says; `param` names the limit, `detail` says how much there is."),
    "rate_limited": ("429", "Ask again after the seconds in the header `Retry-After`; `RateLimit` says beforehand how many are left."),
    "not_found": ("404", "Check the path; `/docs` lists all routes."),
    "job_not_found": ("404, 422", "`potstill jobs` lists the jobs of this key's project. 422 where a spec names it."),
    "dataset_not_found": ("404, 422, job", "`potstill datasets ls` lists them. 422 where a spec names it."),
    "model_not_found": ("404, 422", "`potstill models ls` lists them. 422 where a spec names it."),
    "sweep_not_found": ("404", "`potstill sweeps ls` lists them."),
    "artifact_not_found": ("404", "`GET /v1/jobs/{id}/artifacts` lists a job's files."),
    "key_not_found": ("404", "`potstill keys ls` lists them."),
    "webhook_not_found": ("404", "`potstill webhooks ls` lists them."),
    "name_taken": ("–", "Choose another name; `potstill projects ls` lists those there are."),
    "method_not_allowed": ("405", "The header `Allow` lists the methods."),
    "invalid_transition": ("409", "`detail` names the present status; ask for what it allows."),
    "in_use": ("409", "Wait until the job that `detail` names has ended, or cancel it."),
    "student_not_ready": ("409", "`potstill watch` the job first."),
    "idempotency_key_reused": ("422", "Use a new `Idempotency-Key` for a new request."),
    "idempotency_in_flight": ("409", "Send the same again in a moment."),
    "payload_too_large": ("413", "Send less, or raise [`POTSTILL_MAX_UPLOAD_BYTES` or `POTSTILL_MAX_BODY_BYTES`](settings.md#api)."),
    "unsupported_media_type": ("415", "Specs are JSON or YAML, files are multipart/form-data; `Content-Encoding` is not read."),
    "range_not_satisfiable": ("416", "The header `Content-Range` says how long the file is."),
    "internal_error": ("500, job", "Look in the service's log for the `request_id`."),
    "unavailable": ("503", "Ask again; the header `Retry-After` says when, if it is there."),
    "store_refused": ("503, pause", "The operator sets the store's variables right and starts API and workers again; then resume the job."),
    "diverged": ("job", "Lower `training.optimizer.lr`, add `training.schedule.warmup` or `training.clip_norm`."),
    "dependency_failed": ("422, job", "Look at the job that this one waited for."),
    "run_failed": ("job", "`potstill jobs --parent ID` lists the runs."),
    "crash_loop": ("job", "`potstill logs` and the worker's log say how the trainer died."),
    "out_of_memory": (
        "job",
        "Set `training.micro_batch_size`, then `training.gradient_checkpointing: true`: neither changes the loss. Else a smaller network, "
        "or fewer `POTSTILL_SLOTS`.",
    ),
    "disk_full": ("503, pause", "Free some space, then send it again, or resume the job: it was paused and kept everything."),
    "checkpoint_invalid": ("–", "A damaged checkpoint is passed over with a warning, and the one before it is used."),
    "package_missing": ("job", "Install what the hint names where the worker runs, then `potstill retry`."),
    "export_failed": ("job", "Distil it into a student of another architecture, then export that."),
    "export_differs": ("job", "Raise `export.tolerance` if that is near enough for you."),
    "teacher_refused": ("job", "Correct `teacher.model`, or have the operator correct "
                        "[`POTSTILL_TEACHER_KEYS`](settings.md#worker); `detail` says what the endpoint said."),
    "teacher_unavailable": ("job", "Retry the job when the endpoint answers again: what it has answered is kept."),
    "teacher_answer_invalid": ("job", "Check that `teacher.endpoint` is an OpenAI API that tells what the job needs; see "
                               "[use a remote teacher](../how-to/use-a-remote-teacher.md)."),
    "teacher_tokens_spent": ("job", "Raise `teacher.max_tokens_total`, or take fewer rows; what was answered is kept."),
}  # fmt: skip
# For the codes whose name says it all in the code.
MOMENTS = {
    "job_not_found": "no such job in this key's project",
    "dataset_not_found": "no such dataset in this key's project, or one that was deleted meanwhile",
    "model_not_found": "no such model in this key's project, or one that was deleted",
    "sweep_not_found": "no such sweep in this key's project",
    "artifact_not_found": "no such file, or a job without a student",
    "key_not_found": "no such key in this key's project",
    "webhook_not_found": "no such webhook in this key's project",
    "method_not_allowed": "the path exists, but not with this method",
    "payload_too_large": "the body is larger than the service accepts",
    "unsupported_media_type": "a body of this type is not read here",
    "range_not_satisfiable": "none of the bytes asked for exists",
    "out_of_memory": "the trainer ran out of memory",
    "disk_full": "the disk for uploads, checkpoints or results is full",
    "checkpoint_invalid": "in the data of a warning: a checkpoint was damaged and passed over",
}
# Codes that only the client gives: no service said them.
CLIENT = {
    "connection_failed": ("ConnectionFailed", "nobody answers at the address, or somebody who is not Potstill"),
    "job_cancelled": ("JobCancelled", "`wait()`: the job was cancelled"),
    "wait_timeout": ("WaitTimeout", "`wait(timeout=…)` is over, the job goes on"),
    "checksum_mismatch": ("ChecksumMismatch", "`pull()`: the bytes that came are not those that were announced"),
    "not_installed": ("PotstillError", "`to_pandas()`: pandas is not there; pip install pandas"),
    "unsafe_path": ("Refused", "`pull()`: the service names a file outside the folder"),
}


def page() -> str:
    codes = [str(code) for code in ErrorCode]
    if (odd := set(codes) ^ CURES.keys()) or (odd := set(MOMENTS) - set(codes)):
        raise SystemExit(f"docgen/errors.py and contract/errors.py do not know the same codes: {', '.join(sorted(odd))}")
    moments = _comments()
    if odd := MOMENTS.keys() & moments.keys():
        raise SystemExit(f"contract/errors.py says by itself when these fire; take them out of docgen/errors.py: {', '.join(sorted(odd))}")
    if odd := set(codes) - (MOMENTS.keys() | moments.keys()):
        raise SystemExit(f"nobody says when these fire: {', '.join(sorted(odd))}")
    entries = [f"### `{code}`\n\n{CURES[code][0]} · {_sentence({**MOMENTS, **moments}[code])} {CURES[code][1]}" for code in codes]
    client = table(["code", "exception", "when"], [(f"`{code}`", f"`{name}`", when) for code, (name, when) in CLIENT.items()])
    return "\n\n".join(
        [INTRO, "## Codes", "Each with its HTTP status, or `job` where a job may fail with it.", *entries, "## Of the client alone", client]
    )


def _comments() -> dict[str, str]:
    """The comment beside each code."""
    source = inspect.getsource(errors.ErrorCode)
    return dict(re.findall(r'= "(\w+)"  # (.+)', source))


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")
