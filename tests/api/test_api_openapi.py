"""/openapi.json as something to build on: whole, with examples that are true, and with every answer that is ever given."""

import json
import re
from typing import Any

import httpx2
import pytest
from api_world import World
from jsonschema import Draft202012Validator
from real_service import Api
from worker_hand import safetensors

from api import codes
from contract.errors import ErrorCode

JSON, PROBLEM = "application/json", "application/problem+json"


@pytest.fixture
def document(api: Api) -> dict[str, Any]:
    return api.running.document


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, path, one) for path, found in document["paths"].items() for method, one in found.items()]


def resolved(document: dict[str, Any], example: dict[str, Any]) -> Any:
    while "$ref" in example:
        example = document["components"]["examples"][example["$ref"].rsplit("/", 1)[1]]
    return example["value"]


def flaws(document: dict[str, Any], schema: dict[str, Any], value: Any) -> list[str]:
    found = Draft202012Validator({**schema, "components": document["components"]}).iter_errors(value)
    return [f"{error.json_path}: {error.message[:200]}" for error in found]


def test_every_operation_says_what_a_generator_and_a_reader_need(document: dict[str, Any]) -> None:
    told = {tag["name"] for tag in document["tags"] if tag["description"]}
    names = [one["operationId"] for _, _, one in operations(document)]
    assert len(set(names)) == len(names)
    for method, path, one in operations(document):
        place = f"{method} {path}"
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", one["operationId"]), place
        assert one["description"] and 5 <= len(one["summary"]) <= 90, place
        assert set(one["tags"]) <= told and one["tags"], place
        assert bool(one.get("security")) == path.startswith("/v1/"), place
        assert all(parameter.get("description") for parameter in one.get("parameters", [])), place
        assert all(parameter.get("example") for parameter in one.get("parameters", []) if parameter["in"] == "path"), place
        assert all(kind["examples"] for kind in one.get("requestBody", {}).get("content", {}).values()), place
        for status, answer in one["responses"].items():
            for media_type, kind in answer.get("content", {}).items():
                any_bytes = kind["schema"] == {} or kind["schema"].get("format") == "binary"
                assert kind.get("examples") or any_bytes, (place, status, media_type)
    assert document["servers"] and document["components"]["securitySchemes"]["key"]["description"]


def test_every_example_is_valid_against_its_schema(document: dict[str, Any]) -> None:
    looked_at = 0
    for method, path, one in operations(document):
        for answer in (one.get("requestBody", {}), *one["responses"].values()):
            for media_type, kind in answer.get("content", {}).items():
                for example in kind.get("examples", {}).values():
                    assert flaws(document, kind["schema"], resolved(document, example)) == [], (method, path, media_type)
                    looked_at += 1
    assert looked_at > 300
    broken = resolved(document, {"$ref": "#/components/examples/JobView"}) | {"status": "nearly done"}
    assert flaws(document, {"$ref": "#/components/schemas/JobView"}, broken), "a wrong example would be seen"


def test_every_code_that_http_can_answer_is_there_with_a_problem_of_its_own(document: dict[str, Any]) -> None:
    shown = {name.split(".")[1] for name in document["components"]["examples"] if name.startswith("problem.")}
    of_jobs = {"diverged", "run_failed", "crash_loop", "out_of_memory", "checkpoint_invalid"}
    of_jobs |= {"package_missing", "export_failed", "export_differs"}
    of_jobs |= {"teacher_refused", "teacher_unavailable", "teacher_answer_invalid", "teacher_tokens_spent"}
    outside = {"method_not_allowed", "wrong_host"}  # of no operation: method or service are others
    outside |= {"guessable_key", "name_taken"}  # of commands of the operator's
    assert shown == {str(code) for code in ErrorCode} - of_jobs - outside
    for code, (status, *_) in codes.PROBLEMS.items():
        assert codes.problem(code, status).status == status


def send(world: World, method: str, path: str, one: dict[str, Any], media_type: str | None, body: Any) -> httpx2.Response:
    for parameter in one.get("parameters", []):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", world.real(parameter["example"]))
    if media_type == "multipart/form-data":
        if one["operationId"] == "upload_model":
            config = {"arch": "logistic", "task": "tabular-classification", "shape": [2], "classes": ["a", "b"]}
            contents = [safetensors({"0.weight": [2, 2], "0.bias": [2]}), json.dumps(config).encode()]
            files = [("file", (name.strip("()"), raw)) for name, raw in zip(body["file"], contents, strict=True)]
        else:
            files = [("file", (body["name"], body["file"].encode()))]
        return world.api.http.post(path, files=files, data={k: v for k, v in body.items() if k != "file"})
    content = json.dumps(world.real(body)) if body is not None else None  # JSON is YAML, too
    return world.api.http.request(method.upper(), path, content=content, headers={"Content-Type": media_type} if media_type else {})


def test_every_operation_takes_its_examples_and_answers_as_it_says(api: Api, document: dict[str, Any]) -> None:
    """In an order in which nothing is deleted before it is asked for."""
    world = World(api)
    order = {"get": 0, "post": 1, "patch": 2, "delete": 3}
    for method, path, one in sorted(operations(document), key=lambda found: (order[found[0]], found[1] == "/v1/keys/{key_id}")):
        world.stand(one["operationId"])
        bodies = one.get("requestBody", {}).get("content", {None: {"examples": {"none": {"value": None}}}})
        for media_type, kind in bodies.items():
            for name, example in kind["examples"].items():
                response = send(world, method, path, one, media_type, resolved(document, example))
                place = (method, path, name, response.text[:300])
                assert response.is_success, place
                answer = one["responses"][str(response.status_code)].get("content", {})
                if JSON in answer:
                    assert flaws(document, answer[JSON]["schema"], response.json()) == [], place
