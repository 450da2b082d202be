"""The form of a new job: fields of the JSON schema, what was chosen in them, and the spec they make."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from contract.document import parse_mapping, to_yaml
from contract.errors import PotstillError
from contract.registry import ARCHITECTURES, BUILTINS, RECIPES
from contract.schema import job as job_schema

PARTS = {
    "what": ("kind", "name", "task"),
    "data": ("data.train", "data.test", "data.validation", "data.max_train_samples"),
    "teacher": ("teacher.job",),
    "student": ("student.arch",),
    "recipe": ("recipe.name",),
    "training": ("training.epochs", "training.batch_size", "training.optimizer.lr", "training.seed"),
    "evidence": ("evaluation.control", "evaluation.seeds"),
}
CHOICES = {"student.arch": ARCHITECTURES, "recipe.name": RECIPES}  # their parameters follow them in the form
OF_A_TEACHER = ("teacher", "recipe", "evidence")  # what a job that has none is not asked


class Field(NamedTuple):
    """One thing to fill in. options: all there are; suggestions: some of them."""

    path: str
    value: str
    meaning: str
    default: str
    options: list[str]
    suggestions: list[str]


def parts(chosen: Mapping[str, str], suggestions: Mapping[str, list[str]]) -> dict[str, list[Field]]:
    """The form's parts, as far as what was chosen already makes them meaningful."""
    known = {"data.train": list(BUILTINS), "data.test": list(BUILTINS)}
    shown = [part for part in PARTS if chosen.get("kind") == "distill" or part not in OF_A_TEACHER]
    found = {part: [_field(path, chosen, known.get(path, []) + suggestions.get(path, [])) for path in PARTS[part]] for part in shown}
    for path, choices in CHOICES.items():
        part, name = path.split(".")[0], chosen.get(path)
        choice = next((one for one in choices if one.key() == name), None)
        if choice is not None and part in found:
            found[part] += [
                Field(f"{part}.{one['name']}", chosen.get(f"{part}.{one['name']}", ""), one["meaning"], _text(one["default"]), [], [])
                for one in choice.entry()["parameters"]
            ]
    return found


def written(chosen: Mapping[str, str]) -> str:
    """What was filled in, as YAML; numbers, lists and flags as YAML reads them."""
    spec: dict[str, Any] = {}
    known = [field.path for fields in parts(chosen, {}).values() for field in fields]
    for path in known:
        if chosen.get(path, "").strip():
            *above, last = path.split(".")
            place = spec
            for part in above:
                place = place.setdefault(part, {})
            place[last] = _value(chosen[path].strip())
    return to_yaml(spec)


def _value(text: str) -> Any:
    try:
        return parse_mapping(f"value: {text}".encode(), "application/yaml")["value"]
    except PotstillError:
        return text


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _field(path: str, chosen: Mapping[str, str], suggestions: list[str]) -> Field:
    found = schemas(path)
    options = [str(option) for one in found for option in one.get("enum", [one["const"]] if "const" in one else [])]
    if any(one.get("type") == "boolean" for one in found):
        options = ["true", "false"]
    said = found if path not in CHOICES else []  # of the field itself, not of one of many choices
    meaning = next((str(one["description"]) for one in said if "description" in one), "")
    default = next((_text(one["default"]) for one in said if one.get("default") is not None), "")
    return Field(path, chosen.get(path, ""), meaning, default, options, suggestions)


@cache
def schemas(path: str) -> list[dict[str, Any]]:
    """All that the JSON schema says of the field `path`, in whichever alternative it stands."""
    whole = job_schema()

    def alternatives(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield node
        inner = [*node.get("anyOf", []), *node.get("oneOf", [])]
        if "$ref" in node:
            inner.append(whole["$defs"][node["$ref"].rsplit("/", 1)[1]])
        for one in inner:
            yield from alternatives(one)

    found = [whole]
    for part in path.split("."):
        found = [one["properties"][part] for node in found for one in alternatives(node) if part in one.get("properties", {})]
    return [one for node in found for one in alternatives(node)]
