"""The deployment's files as data: docker-compose.yml as Compose would resolve it, the Dockerfile as its instructions."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<how>[-?])(?P<word>[^}]*))?\})")
UNITS = {"s": 1, "m": 60}


def compose(variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file; with `variables`, those are put in as from .env. KeyError where one is required and not there."""
    document: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    resolved: dict[str, Any] = document if variables is None else _resolved(document, variables)
    return resolved


def passed_on(service: Mapping[str, Any]) -> set[str]:
    """Variables that a service has where .env or the shell has them, and else has not."""
    return {name for name, value in (service.get("environment") or {}).items() if value is None}


def _resolved(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _resolved(inner, variables) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_resolved(inner, variables) for inner in value]
    return VARIABLE.sub(lambda found: _put_in(found, variables), value) if isinstance(value, str) else value


def _put_in(found: re.Match[str], variables: Mapping[str, str]) -> str:
    if found["name"] is None:
        return "$"  # written $$
    given = variables.get(found["name"], "")
    if not given and found["how"] == "?":
        raise KeyError(f"{found['name']} {found['word']}")
    return given or found["word"] or ""


def strings(value: Any) -> Iterator[str]:
    """Every text in a document, keys left out."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value


def seconds(duration: str) -> int:
    return int(duration[:-1]) * UNITS[duration[-1]]


@dataclass
class Stage:
    """A stage of the Dockerfile: what it builds on, its instructions in order, and the ARGs declared in it."""

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)
    arguments: dict[str, str | None] = field(default_factory=dict)

    def all(self, instruction: str) -> list[str]:
        return [rest for name, rest in self.steps if name == instruction]


def dockerfile() -> tuple[dict[str, str | None], dict[str, Stage]]:
    """The ARGs before the first FROM, and the stages by name."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    outside: dict[str, str | None] = {}
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for line in re.sub(r"\\\n", "", text).splitlines():
        instruction, _, rest = line.strip().partition(" ")
        if not instruction:
            continue
        if instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            stage = stages[name] = Stage(base)
        elif instruction == "ARG":
            name, _, default = rest.partition("=")
            (outside if stage is None else stage.arguments)[name] = shlex.split(default)[0] if default else None
        else:
            assert stage is not None, line
            stage.steps.append((instruction, rest))
    return outside, stages


def chain(stages: dict[str, Stage], name: str) -> list[Stage]:
    """The stage and those it builds on, the first one first."""
    stage = stages[name]
    return [*(chain(stages, stage.base) if stage.base in stages else []), stage]


def environment(stages: dict[str, Stage], name: str) -> dict[str, str]:
    """The ENV of an image."""
    found: dict[str, str] = {}
    for stage in chain(stages, name):
        for rest in stage.all("ENV"):
            found |= dict(pair.split("=", 1) for pair in shlex.split(rest))
    return found


def command(stages: dict[str, Stage], name: str) -> list[str]:
    """What an image runs when nobody says otherwise."""
    *_, last = [rest for stage in chain(stages, name) for rest in stage.all("CMD")]
    found: list[str] = json.loads(last)
    return found
