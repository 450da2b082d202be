"""Markdown and JSON schema, in words."""

import json
from collections.abc import Iterable, Sequence
from typing import Any


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(value: Any) -> str:
    """A value as JSON, so as it may stand in a spec."""
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def number(value: float) -> str:
    """1000000.0 → 1,000,000; fractions as they are."""
    return f"{int(value):,}".replace("-", "−") if value == int(value) else f"{value:g}"


def in_words(schema: dict[str, Any], links: dict[str, str]) -> str:
    """What values a JSON schema allows. `links` says where a named schema is described; one without a link is written out by name."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return links.get(name, name)
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(in_words(one, links) for one in schema[several]))
    if "enum" in schema:
        return ", ".join(code(value).replace('"', "") for value in schema["enum"])
    if "const" in schema:
        return code(schema["const"]).replace('"', "")
    return _plain(schema, links)


def _plain(schema: dict[str, Any], links: dict[str, str]) -> str:
    kind = schema.get("type")
    if kind == "array":
        return f"list{_count(schema, 'Items', '')}" + (f": {in_words(schema['items'], links)}" if schema.get("items") else "")
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"mapping{_count(schema, 'Properties', ' entries')}" + (
            f", to {in_words(values, links)}" if isinstance(values, dict) else ""
        )
    if kind == "string":
        formats = {"date-time": "time", "binary": "file", "path": "path"}
        return formats.get(schema.get("format", ""), "text") + _count(schema, "Length", " characters")
    if kind in ("integer", "number"):
        return kind + _bounds(schema)
    return {"boolean": "true or false", "null": "null", None: "anything"}.get(kind, str(kind))


def _count(schema: dict[str, Any], what: str, unit: str) -> str:
    """` of 1 to 16 entries`; a lower bound alone goes without saying."""
    if f"max{what}" not in schema:
        return ""
    low, high = schema.get(f"min{what}"), schema[f"max{what}"]
    span = number(high) if low == high else f"{number(low)} to {number(high)}" if low is not None else f"at most {number(high)}"
    return f" of {span}{unit}"


def _bounds(schema: dict[str, Any]) -> str:
    if "minimum" in schema and "maximum" in schema:
        return f", {number(schema['minimum'])} to {number(schema['maximum'])}"
    names = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
    said = [f"{sign} {number(schema[name])}" for name, sign in names if name in schema]
    return " " + ", ".join(said) if said else ""


def anchor(heading: str) -> str:
    """GitHub's anchor of a heading."""
    kept = "".join(c for c in heading.lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")
