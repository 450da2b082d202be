"""docs/reference/api.md: routes and answers, from the same OpenAPI document that the service gives out."""

import tempfile
from pathlib import Path
from typing import Any

from api.main import create_app
from api.settings import Settings
from docgen.text import anchor, code, in_words, table

INTRO = """# The HTTP API

The service describes itself: `/openapi.json`, from which code generators make clients, and `/docs` to read it in a browser. This page is
made from the same document, which is [here](openapi.json) too, with an example of every request and answer.

- **Keys.** `Authorization: Bearer psk_…` on everything under `/v1`. A key belongs to a project, and sees what belongs to it. Each route
  says which scope it takes: `read`, `submit` or `admin`, each with those before it.
- **Ids** begin with what they are: `job_`, `ds_`, `mdl_`, `art_`, `key_`, `whk_`. They sort by creation.
- **Times** are RFC 3339 in UTC; durations end in `_seconds`, sizes in `_bytes`.
- **Lists** are newest first: `{"object": "list", "data": […], "first_id", "last_id", "has_more"}`. `after=<last_id>` gives the next, older
  page, `before=<first_id>` the previous one. Events are the exception: oldest first, and `after` takes a `seq`.
- **Errors** are problem+json with a stable `code`: [errors](errors.md). Every route may answer 401, 422 and 500.
- **`Idempotency-Key`** on a POST that creates: the same key with the same body gives the first answer again, with the header
  `Idempotent-Replayed: true`.
- **`RateLimit-Policy`** and **`RateLimit`** in every answer say how many requests a key has in a minute, how many of them are left and in
  how many seconds the next minute begins (draft-ietf-httpapi-ratelimit-headers). Beyond that: 429 with `Retry-After`.
- **`X-Request-Id`** is taken from the request or made, and stands in every answer.
- **Bodies** are JSON; job specs may also be sent as `application/yaml`. Files are `multipart/form-data`.
"""
EVERYWHERE = {"401", "422", "500"}
PROBLEM = "application/problem+json"
# Answers and bodies worth a table of their own, in the order of the page.
OBJECTS = {
    "JobView": "Job", "Progress": "Progress", "EventView": "Event", "Series": "Series of a metric", "CheckpointView": "Checkpoint",
    "ArtifactView": "Artifact", "DatasetView": "Dataset", "Column": "Column", "PreviewView": "Preview", "ModelView": "Model",
    "WebhookView": "Webhook", "DeliveryView": "Delivery", "TryView": "Try", "WebhookRequest": "Webhook request",
    "WebhookChanges": "Webhook changes",
    "KeyView": "Key", "AuditView": "Audit event", "WorkerView": "Worker", "ValidateView": "Validation", "FreedView": "Freed space",
    "JobChanges": "Job changes",
    "KeyRequest": "Key request", "Rotation": "Rotation of a key",
    "ErrorBody": "Error of a job", "FieldError": "Field error", "Problem": "Problem",
}  # fmt: skip
MEANINGS = {
    "JobView.status": "`waiting` for jobs it refers to or for its runs, `queued`, `running`, `pausing`, `paused`, `cancelling`, or final: "
    "`succeeded`, `failed`, `cancelled`.",
    "JobView.status_reason": "Why it is in this status, where there is something to say.",
    "JobView.parent": "The job of several runs that this is a run of.",
    "JobView.retry_of": "The job that this one was made in place of.",
    "JobView.depends_on": "The jobs that it refers to.",
    "JobView.report": "What came out; see [evidence](../explanation/evidence.md).",
    "JobView.model": "The model it made.",
    "JobView.error": "Why it failed.",
    "JobView.resumed_inexactly": "True when a resume may have changed the result, for example on another kind of processor.",
    "Progress.step": "Optimisation steps done, over all runs of the job; null before the first.",
    "EventView.seq": "1, 2, 3, … within a job.",
    "CheckpointView.artifacts": "Its files.",
    "ArtifactView.path": "`student/…`, `checkpoints/<step>/…`, `report.json`.",
    "DatasetView.splits": "Rows of each split.",
    "DatasetView.classes": "Classes of the column `label` or `y`, where there is one.",
    "Column.shape": "Of one row's value; [] for a single number or word.",
    "ModelView.job": "The job that made it; null for an upload.",
    "ModelView.config": "Its config.json.",
    "KeyView.prefix": "How the secret begins.",
    "AuditView.data": "What else is to be said of it: the name of what is gone, the scopes of a key.",
    "WorkerView.alive": "It was heard of lately.",
    "WorkerView.slots": "How many jobs it runs at once.",
    "ValidateView.resolved_spec": "With every default; null when the spec is not valid.",
}


def document() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home:
        return create_app(Settings(home=Path(home), database_url="", broker_url="", artifacts_url="")).openapi()


def page() -> str:
    found = document()
    parts = [INTRO]
    for tag in found["tags"]:
        parts.append(f"## {tag['name'].capitalize()}\n\n{tag['description']}")
        for path, operations in found["paths"].items():
            parts += [_operation(m, path, one) for m, one in operations.items() if one["tags"] == [tag["name"]]]
    schemas = found["components"]["schemas"]
    known = {f"{name}.{field}" for name in OBJECTS for field in schemas[name]["properties"]}
    if gone := MEANINGS.keys() - known:
        raise SystemExit(f"docgen/api.py describes fields that are gone: {', '.join(sorted(gone))}")
    parts.append("## Objects\n\nWhat the answers hold. A field that is null has nothing to say yet.")
    return "\n\n".join([*parts, *(_object(name, schemas[name]) for name in OBJECTS)])


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    said = [f"### `{method.upper()} {path}`", operation["description"]]
    scope = next((one["key"][0] for one in operation.get("security", [])), None)
    rows = [_parameter(p) for p in operation.get("parameters", []) if p["in"] != "path" and p["name"] != "Idempotency-Key"]
    body = _body(operation.get("requestBody", {}).get("content", {}))
    said.append(" ".join(filter(None, [body, _answers(operation), f"Scope `{scope}`." if scope else ""])))
    if rows:
        said.append(table(["parameter", "type", "default", "meaning"], rows))
    return "\n\n".join(said)


def _parameter(given: dict[str, Any]) -> tuple[str, str, str, str]:
    schema = given["schema"]
    kinds = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    place = " (header)" if given["in"] == "header" else ""
    default = code(schema["default"]) if "default" in schema else "–"
    return (
        f"`{given['name']}`{place}",
        in_words(kinds[0], _links()),
        default,
        schema.get("description") or given["description"],
    )


def _body(content: dict[str, Any]) -> str:
    if "multipart/form-data" in content:
        fields = content["multipart/form-data"]["schema"]["properties"]
        return f"Body: multipart, with {', '.join(f'`{name}`' for name in fields)}."
    if "application/json" in content:
        return f"Body: {in_words(content['application/json']['schema'], _links())}."
    return ""


def _answers(operation: dict[str, Any]) -> str:
    good = []
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            what = next(iter(answer.get("content", {}).items()), None)
            said = (in_words(what[1]["schema"], _links()) if what[0] == "application/json" else f"`{what[0]}`") if what else "nothing"
            good.append(f"{status} with {said}")
    bad = [
        f"{status} {', '.join(f'`{code}`' for code in answer['content'][PROBLEM]['examples'])}"
        for status, answer in sorted(operation["responses"].items())
        if PROBLEM in answer.get("content", {}) and status not in EVERYWHERE
    ]
    return f"Answers {', or '.join(good)}." + (f" Errors: {'; '.join(bad)}." if bad else "")


def _object(name: str, schema: dict[str, Any]) -> str:
    rows = []
    for field, one in schema["properties"].items():
        meaning = MEANINGS.get(f"{name}.{field}")
        if meaning and one.get("description"):
            raise SystemExit(f"{name}.{field} is described in its own code; take it out of docgen/api.py")
        kind = in_words({key: value for key, value in one.items() if key != "default"}, _links())
        if field.endswith("_at"):
            kind = kind.replace("text", "time")
        rows.append((f"`{field}`", kind, meaning or one.get("description", "")))
    return f"### {OBJECTS[name]}\n\n{table(['field', 'type', 'meaning'], rows)}"


def _links() -> dict[str, str]:
    named = {name: f"[{title.lower()}](#{anchor(title)})" for name, title in OBJECTS.items()}
    pages = {f"Page_{name}_": f"a list of {link}" for name, link in named.items()}
    entries = {f"Entries_{kind}Entry_": "a list of [entries](registry.md)" for kind in ("Choice", "Recipe", "Task")}
    return {
        **named,
        **pages,
        **entries,
        "JobSpec": "[job spec](spec.md)",
        "Batch": '`{"jobs": [`[job spec](spec.md)`, …]}`',
        "MetricsView": '`{"data": […]}`, [series](#series-of-a-metric)',
        "JobStatus": "a status",
        "JobKind": "`train`, `distill`, `evaluate`, `export`",
        "Phase": "a phase",
        "SplitView": '`{"rows": N}`',
        "WorkerJob": '`{"job", "attempt"}`',
        "Live": '`{"status": "alive"}`',
        "Ready": '`{"status": "ready", "checks": {…}}`',
    }
