"""Rules between fields, raised inside validators and read back with the place they speak of."""

from typing import Any

from pydantic_core import PydanticCustomError

At = tuple[str | int, ...]


class SpecRule(PydanticCustomError):
    """A broken rule; its context holds `at`, the path below the validated model."""


def exactly_one(*names: str) -> dict[str, Any]:
    """For the JSON schema of a model: one of these fields holds a word, the others nothing."""
    return {"oneOf": [{"required": [name], "properties": {name: {"type": "string"}}} for name in names]}


def wrong(message: str, *, at: At = (), code: str = "invalid_spec") -> SpecRule:
    context: dict[str, Any] = {"at": list(at), "code": code, "said": message}
    return SpecRule("rule", "{said}", context)


def conflicting(first: str, second: str, cure: str) -> SpecRule:
    return wrong(f"`{first}` and `{second}` exclude each other: {cure}", at=tuple(second.split(".")), code="conflicting_fields")
