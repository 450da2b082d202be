"""Rules between fields, raised inside validators and read back with the place they speak of."""

from typing import Any

from pydantic_core import PydanticCustomError

At = tuple[str | int, ...]


class SpecRule(PydanticCustomError):
    """A broken rule; its context holds `at`, the path below the validated model."""


def wrong(message: str, *, at: At = (), code: str = "invalid_spec") -> SpecRule:
    context: dict[str, Any] = {"at": list(at), "code": code, "said": message}
    return SpecRule("rule", "{said}", context)


def conflicting(first: str, second: str, cure: str) -> SpecRule:
    return wrong(f"`{first}` and `{second}` exclude each other: {cure}", at=(second,), code="conflicting_fields")
