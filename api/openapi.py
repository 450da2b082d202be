"""What /openapi.json says beyond what the routes' signatures say: bodies read by hand, and the shape of every error."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.batch import Batch
from contract.errors import Problem
from contract.spec import JobSpec

REF = "#/components/schemas/{model}"
WHEN = {
    400: "The body cannot be read.",
    404: "There is no such thing in this key's project.",
    409: "The present state does not allow this.",
    413: "The body is too large.",
    415: "A body of this type is not read here.",
    416: "None of the bytes asked for exists.",
    422: "A field is wrong; `param` names it, `hint` says what to do.",
    503: "Not available just now; ask again later.",
}
ALWAYS = {401: "No key, or none that is valid.", 422: WHEN[422], 500: "Our mistake; the log has the reason under `request_id`."}
TAGS = [
    {"name": "jobs", "description": "Work: train, distill, evaluate."},
    {"name": "news", "description": "What a job says while it works."},
    {"name": "results", "description": "What a job leaves behind."},
    {"name": "datasets", "description": "Uploaded rows."},
    {"name": "models", "description": "Trained networks."},
    {"name": "registry", "description": "What can be asked for."},
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
    return {200: {"description": description, "content": {media_type: {"schema": schema}}}}


def document(model: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` of a route that reads a JSON or YAML document."""
    schema = {"schema": {"$ref": REF.format(model=model.__name__)}}
    return {"requestBody": {"required": True, "content": {"application/json": schema, "application/yaml": schema}}}


def form(several: bool) -> dict[str, Any]:
    """`openapi_extra` of a route that takes files."""
    file: dict[str, Any] = {"type": "string", "format": "binary"}
    properties = {
        "file": {"type": "array", "items": file} if several else file,
        "name": {"type": "string", "maxLength": 100},
        "metadata": {"type": "string", "description": "A JSON mapping of up to 16 texts."},
    }
    schema = {"type": "object", "required": ["file"], "properties": properties}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def describe(app: FastAPI, bodies: list[type[BaseModel]]) -> None:
    """Makes `app.openapi()` hold the models that are named by reference alone."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags)
            models: list[Any] = [(model, "validation") for model in (Problem, JobSpec, Batch, *bodies)]
            _, schemas = models_json_schema(models, ref_template=REF)
            components = found.setdefault("components", {})
            components["schemas"] = {**schemas["$defs"], **components.get("schemas", {})}
            components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "An API key, psk_…"}}
            for path, operations in found["paths"].items():
                for operation in operations.values():
                    if path.startswith("/v1/"):
                        operation["security"] = [{"key": []}]
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
