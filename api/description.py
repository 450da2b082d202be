"""/openapi.json, put together: what the routes say, and of each operation a summary, examples, and the codes of its errors."""

import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api import codes, examples
from api.batch import Batch
from api.openapi import REF
from api.scopes import needed
from contract.errors import Problem
from contract.scope import Scope
from contract.spec import JobSpec
from contract.wire import Page

SERVERS = [
    {"url": "/", "description": "The service that this was read from."},
    {"url": "http://127.0.0.1:8400", "description": "`potstill up`, when it is not told otherwise."},
]
LICENSE = {"name": "Apache 2.0", "identifier": "Apache-2.0"}
KEY = {"type": "http", "scheme": "bearer", "description": "An API key, psk_…; `potstill keys create` makes one."}
JSON, PROBLEM = "application/json", "application/problem+json"
# Where an answer names what a path of another operation takes.
LINKS = {
    "JobView": ("job_id", "/id"), "DatasetView": ("dataset_id", "/id"), "ModelView": ("model_id", "/id"), "SweepView": ("sweep_id", "/id"),
    "KeyView": ("key_id", "/id"), "WebhookView": ("webhook_id", "/id"), "Page_ArtifactView_": ("artifact_id", "/data/0/id"),
}  # fmt: skip
CURSORS = {"EventView": "12", "CheckpointView": "140-student-42"}  # of what has no id
Operation = dict[str, Any]


def describe(app: FastAPI, bodies: list[type[BaseModel]]) -> None:
    """Makes `app.openapi()` whole, with the models in it that are named by reference alone."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                license_info=LICENSE,
                servers=SERVERS,
                tags=app.openapi_tags,
                routes=app.routes,
            )
            models: list[Any] = [(model, "validation") for model in (Problem, JobSpec, Batch, *bodies)]
            _, schemas = models_json_schema(models, ref_template=REF)
            components = found.setdefault("components", {})
            components["schemas"] = {**schemas["$defs"], **components.get("schemas", {})}
            components["securitySchemes"] = {"key": KEY}
            shown: dict[str, Any] = {}
            components["examples"] = shown
            answers = {name: view.model_dump(mode="json", by_alias=True) for name, view in examples.answers().items()}
            for path, operations in found["paths"].items():
                for method, operation in operations.items():
                    _tell(path, operation, needed(method.upper(), path))
                    _show(operation, answers, shown)
                    _show_errors(path, operation, shown)
            _link(found["paths"])
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _tell(path: str, operation: Operation, scope: Scope) -> None:
    """Its first sentence in short, who may ask, and what the parts of its path are."""
    words = " ".join(operation["description"].split())
    operation["summary"] = re.split(r"[.:;](?: |$)", words)[0]
    if path.startswith("/v1/"):
        operation["security"] = [{"key": [scope.value]}]
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            parameter["description"] = f"Of the {parameter['name'].removesuffix('_id')}."
            parameter["example"] = examples.PATHS.get(parameter["name"])


def _show(operation: Operation, answers: dict[str, Any], shown: dict[str, Any]) -> None:
    """A request and an answer as they might be; `shown` keeps each once. What has none goes without: that is for a test to say."""
    id_ = operation["operationId"]
    for kind in operation.get("requestBody", {}).get("content", {}).values():
        kind["examples"] = {name: {"value": body} for name, body in examples.BODIES.get(id_, {}).items()}
    for status, answer in operation["responses"].items():
        for media_type, kind in answer.get("content", {}).items():
            if media_type == PROBLEM or not status.startswith("2"):
                continue
            if id_ in examples.OTHERS:
                kind["examples"] = {"answer": {"value": examples.OTHERS[id_]}}
            elif media_type == JSON and "$ref" in kind["schema"]:
                schema = kind["schema"]["$ref"].rsplit("/", 1)[1]
                name = examples.ANSWERS.get(id_, schema)
                place = schema if name == schema else f"{schema}.{name}"
                if (value := _value(schema, name, answers)) is not None:
                    shown[place] = {"value": value}
                    kind["examples"] = {"answer": {"$ref": f"#/components/examples/{place}"}}


def _value(schema: str, name: str, answers: dict[str, Any]) -> Any:
    """The example `name`, or a list of what its schema lists."""
    generic, _, item = schema.rstrip("_").partition("_")
    one = answers.get(name if name != schema or not item else item)
    if not item or one is None:
        return one
    entries = {"object": "list", "data": [one], "has_more": False}
    cursor = CURSORS.get(item, one.get("id"))
    return entries | {"first_id": cursor, "last_id": cursor} if generic == Page.__name__ else entries


def _show_errors(path: str, operation: Operation, shown: dict[str, Any]) -> None:
    """The codes of each error, each with a problem that has it."""
    for status, answer in operation["responses"].items():
        kind = answer.get("content", {}).get(PROBLEM)
        if kind is None:
            continue
        kind["examples"] = {}
        for code in codes.codes(path, operation, int(status)):
            name = codes.example_name(code, int(status))
            shown[name] = {"value": codes.problem(code, int(status)).model_dump(mode="json")}
            kind["examples"][str(code)] = {"$ref": f"#/components/examples/{name}"}


def _link(paths: dict[str, dict[str, Operation]]) -> None:
    """From answers that bring a new id to the operations that take it."""
    operations = {one["operationId"]: (path, one) for path, found in paths.items() for one in found.values()}
    for _, operation in operations.values():
        for status, answer in operation["responses"].items():
            schema = answer.get("content", {}).get(JSON, {}).get("schema", {}).get("$ref", "").rsplit("/", 1)[-1]
            if schema not in LINKS or not (status in ("201", "202") or schema.startswith(Page.__name__)):
                continue
            name, place = LINKS[schema]
            answer["links"] = {
                id_: {"operationId": id_, "parameters": {name: f"$response.body#{place}"}}
                for id_, (path, _) in operations.items()
                if f"{{{name}}}" in path
            }
