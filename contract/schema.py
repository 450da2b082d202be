"""The JSON schemas of job specs and sweeps, for editors that complete and check what people write.

They say all that one field can say by itself. Rules between fields, and whether things exist and fit, are left to `potstill validate`.
"""

from typing import Any

from pydantic import BaseModel

from contract.spec import JobSpec
from contract.sweep import SweepSpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"
HOME = "https://potstill.example/schemas/"

TRAIN: dict[str, Any] = {
    "kind": "train",
    "name": "digits-teacher",
    "task": "image-classification",
    "data": {"train": "digits", "validation": 0.1, "test": "digits"},
    "student": {"arch": "mlp", "hidden": [256, 128], "dropout": 0.2},
    "training": {"epochs": 40, "optimizer": {"lr": 2e-3}},
}
DISTILL: dict[str, Any] = {
    "kind": "distill",
    "name": "digits-student",
    "task": "image-classification",
    "data": {"train": "digits", "test": "digits", "max_train_samples": 400},
    "teacher": {"job": "job_0198f2c3d0e17a54b3c2d1e0f9a8b7c6"},
    "student": {"arch": "mlp", "hidden": [32]},
    "recipe": {"name": "hinton", "temperature": 4.0, "alpha": 0.7},
    "training": {"epochs": 40, "optimizer": {"lr": 5e-3}},
    "metadata": {"team": "vision"},
}
SWEEP: dict[str, Any] = {
    "name": "learning-rate",
    "job": TRAIN,
    "space": {"training.optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}},
    "search": {"name": "random", "trials": 12},
    "halving": {"first_epochs": 5},
}


def job() -> dict[str, Any]:
    return _document("job", JobSpec, [TRAIN, DISTILL])


def sweep() -> dict[str, Any]:
    """With the fields of a job below `job`, none of them required: what varies may be left out."""
    found = _document("sweep", SweepSpec, [SWEEP])
    inside = _loose(JobSpec.model_json_schema())
    found["$defs"] |= {name: schema for name, schema in inside.pop("$defs").items() if name not in found["$defs"]}
    found["properties"]["job"] = inside | {"description": found["properties"]["job"]["description"]}
    return found


SCHEMAS = {"job": job, "sweep": sweep}


def _document(name: str, model: type[BaseModel], examples: list[dict[str, Any]]) -> dict[str, Any]:
    return {"$schema": DIALECT, "$id": f"{HOME}{name}.json", **model.model_json_schema(), "examples": examples}


def _loose(schema: Any) -> Any:
    """The same schema for a document of which parts may be missing: nothing is required, and more than one form may match."""
    if isinstance(schema, list):
        return [_loose(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {"anyOf" if key == "oneOf" else key: _loose(value) for key, value in schema.items() if key not in ("required", "default")}
