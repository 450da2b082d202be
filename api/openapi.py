"""What routes say of themselves for /openapi.json beyond their signatures: bodies read by hand, and the shape of every error."""

from typing import Any

from pydantic import BaseModel

REF = "#/components/schemas/{model}"
WHEN = {
    404: "There is no such thing in this key's project.",
    409: "The present state does not allow this.",
    413: "The body is too large.",
    415: "A body of this type is not read here.",
    416: "None of the bytes asked for exists.",
    422: "A field is wrong; `param` names it, `hint` says what to do.",
    503: "Not available just now; ask again later.",
}
ALWAYS = {
    400: "The body cannot be read, or a key stands in the address.",
    401: "No key, or none that is valid.",
    403: "The key's scope does not reach so far, or the project has what it may have; `detail` says which.",
    422: WHEN[422],
    429: "Too many requests with this key within a minute; `Retry-After` says when to ask again.",
    500: "Our mistake; the log has the reason under `request_id`.",
}
TAGS = [
    {"name": "jobs", "description": "Work: train, distill, evaluate, export."},
    {"name": "news", "description": "What a job says while it works."},
    {"name": "results", "description": "What a job leaves behind."},
    {"name": "sweeps", "description": "Many jobs that differ in a few fields, and the search for the best."},
    {"name": "datasets", "description": "Uploaded rows."},
    {"name": "models", "description": "Trained networks."},
    {"name": "registry", "description": "What can be asked for."},
    {"name": "webhooks", "description": "Being told when a job or sweep ends."},
    {"name": "keys", "description": "Who may ask."},
    {"name": "service", "description": "How the service is."},
]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route: these errors, besides those that every route may answer."""
    return {status: _problem({**WHEN, **ALWAYS}[status]) for status in sorted({*ALWAYS, *statuses})}


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/problem+json": {"schema": {"$ref": REF.format(model="Problem")}}}}


def content(media_type: str, description: str, *, binary: bool = False) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that answers with something else than JSON."""
    schema = {"type": "string"} | ({"format": "binary"} if binary else {})
    kinds: dict[str, Any] = {media_type: {"schema": schema}}
    if media_type == "*/*":
        kinds["application/json"] = {"schema": {}}  # what is JSON may be any
    return {200: {"description": description, "content": kinds}}


UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "`If-None-Match` names what is there."}}


def document(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """`openapi_extra` of a route that reads a JSON or YAML document."""
    schema = {"schema": {"$ref": REF.format(model=model.__name__)}}
    return {"requestBody": {"required": required, "content": {"application/json": schema, "application/yaml": schema}}}


def form(several: bool) -> dict[str, Any]:
    """`openapi_extra` of a route that takes files."""
    file: dict[str, Any] = {"type": "string", "format": "binary"}
    properties = {
        "file": {"type": "array", "items": file} if several else file,
        "name": {"type": "string", "maxLength": 100},
        "metadata": {"type": "string", "contentMediaType": "application/json", "description": "A JSON mapping of up to 16 texts."},
    }
    schema = {"type": "object", "required": ["file"], "properties": properties}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
