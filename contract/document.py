"""Bytes that should be one JSON or YAML mapping → a dict, or one clear refusal. Duplicate keys and alias bombs are refused."""

import json
import re
from typing import Any

import yaml

from contract.errors import ErrorCode, InvalidSpec, Refused

MAX_NODES = 20_000  # a spec is a page; what unfolds to more is an attack or a mistake
MAX_DEPTH = 100
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")


def parse_json(raw: bytes) -> Any:
    try:
        return json.loads(raw, object_pairs_hook=_no_duplicates)
    except _DuplicateKeyError as error:
        raise _malformed("JSON", str(error)) from None
    except UnicodeDecodeError:
        raise _malformed("JSON", "it is not UTF-8 text") from None
    except RecursionError:
        raise _malformed("JSON", "it is nested too deeply") from None
    except ValueError as error:
        raise _malformed("JSON", str(error).partition(";")[0]) from None  # behind it Python says how to take its own guard away


def parse_yaml(raw: bytes) -> Any:
    try:
        node = yaml.compose(raw.decode("utf-8-sig"), Loader=_Loader)
        if node is None:
            return None
        _unfolded(node, {})
        loader = _Loader("")
        try:
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except UnicodeDecodeError:
        raise _malformed("YAML", "it is not UTF-8 text") from None
    except RecursionError:
        raise _malformed("YAML", "it is nested too deeply") from None
    except (yaml.YAMLError, LookupError, ValueError) as error:  # LookupError: PyYAML on `!!bool perhaps` and `!!int ""`
        raise _malformed("YAML", " ".join(str(error).split())) from None


def to_yaml(document: dict[str, Any], *, ascii_only: bool = False) -> str:
    """A mapping as YAML that `parse_yaml` reads back the same. ascii_only: for terminals, which then obey nothing in it."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=not ascii_only, default_flow_style=None, width=120)


def parse_mapping(raw: bytes, content_type: str = "application/json") -> dict[str, Any]:
    """The mapping in `raw`; raises Refused (400) when it is not one."""
    name, parse = ("YAML", parse_yaml) if content_type.split(";")[0].strip().lower() in YAML_TYPES else ("JSON", parse_json)
    if not raw.strip():
        raise Refused("The body is empty; send a job spec.", code=ErrorCode.MALFORMED_BODY)
    value = parse(raw)
    if not isinstance(value, dict):
        kind = {list: "a list", str: "text", type(None): "null"}.get(type(value), type(value).__name__)
        raise InvalidSpec(f"The {name} holds {kind}; a mapping of fields is expected.", hint="Start with `kind: train` and `task: …`.")
    return value


class _DuplicateKeyError(ValueError):
    pass


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _DuplicateKeyError(f"the key {key!r} is given twice")
        found[key] = value
    return found


def _malformed(language: str, why: str) -> Refused:
    return Refused(f"The body is not valid {language}: {why[:300]}.", code=ErrorCode.MALFORMED_BODY, hint="Check the syntax at that place.")


def _unfolded(node: yaml.Node, seen: dict[int, int]) -> int:
    """Nodes of the document once every alias is written out; refuses loops and explosions before anything is built."""
    if id(node) in seen:
        if seen[id(node)] < 0:
            raise ValueError("an alias refers to what contains it")
        return seen[id(node)]
    if node.tag not in _TAGS:
        raise ValueError(f"the tag {node.tag.replace('tag:yaml.org,2002:', '!!')} stands for nothing that JSON can hold")
    seen[id(node)] = -1
    size = 1
    if isinstance(node, yaml.SequenceNode):
        size += sum(_unfolded(child, seen) for child in node.value)
    elif isinstance(node, yaml.MappingNode):
        size += sum(_unfolded(key, seen) + _unfolded(value, seen) for key, value in node.value)
    if size > MAX_NODES:
        raise ValueError(f"its aliases unfold to more than {MAX_NODES} values")
    seen[id(node)] = size
    return size


_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}


class _Loader(yaml.SafeLoader):
    """Safe YAML with the 1.2 reading of numbers and booleans (5e-3 is a number, 010 is ten, `no` and 1:30 are words), and no
    duplicate keys. It stops at its bounds while it reads: a mebibyte of brackets or of short lines would take seconds."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.nodes = self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.nodes, self.depth = self.nodes + 1, self.depth + 1
        if self.depth > MAX_DEPTH:
            raise RecursionError
        if self.nodes > MAX_NODES:
            raise ValueError(f"it holds more than {MAX_NODES} values")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own name, an instance variable to its stubs
        first: [(tag, pattern) for tag, pattern in rules if tag.rsplit(":", 1)[1] in ("null", "merge")]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():  # `!!map [1]` is none
            if isinstance(key, yaml.ScalarNode) and key.value in keys:
                raise _DuplicateKeyError(f"the key {key.value!r} is given twice (line {key.start_mark.line + 1})")
            keys.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        word = str(self.construct_scalar(node))
        return int(word, {"0o": 8, "0x": 16}.get(word[:2], 10))


class _Dumper(yaml.SafeDumper):
    """Quotes text that would be read as something else, here or by those who read YAML 1.1."""

    yaml_implicit_resolvers = {first: list(rules) for first, rules in yaml.SafeDumper.yaml_implicit_resolvers.items()}  # noqa: RUF012


_DIGITS = r"(\.[0-9]+|[0-9]+(\.[0-9]*)?)"
_FLOAT = re.compile(rf"^[-+]?({_DIGITS}[eE][-+]?[0-9]+|[0-9]+\.[0-9]*|\.[0-9]+|\.(inf|Inf|INF))$|^\.(nan|NaN|NAN)$")
_INT = re.compile(r"^([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
for _one in (_Loader, _Dumper):
    _one.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
    _one.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
