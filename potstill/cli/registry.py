"""`recipes`, `losses`, `architectures`, `tasks`: what a spec can ask for."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from potstill.cli.options import Json, connect
from potstill.cli.output import clean, emit, fields, table

if TYPE_CHECKING:
    from potstill.resources import Registry

Name = Annotated[str | None, typer.Argument(metavar="NAME", help="Show this one with its parameters.")]


def recipes(name: Name = None, as_json: Json = False) -> None:
    """Recipes: named, published combinations of losses."""
    _show(lambda registry: registry.recipes(), name, as_json)


def losses(name: Name = None, as_json: Json = False) -> None:
    """Losses: the terms an objective is made of."""
    _show(lambda registry: registry.losses(), name, as_json)


def architectures(name: Name = None, as_json: Json = False) -> None:
    """Architectures: networks that a spec can describe."""
    _show(lambda registry: registry.architectures(), name, as_json)


def tasks(name: Name = None, as_json: Json = False) -> None:
    """Tasks: what a job can be about."""
    _show(lambda registry: registry.tasks(), name, as_json)


def _show(entries: "Callable[[Registry], list[dict[str, Any]]]", name: str | None, as_json: bool) -> None:
    with connect() as client:
        found = entries(client.registry)
    if name is None:
        if as_json:
            emit(found)
        else:
            table(["NAME", "MEANING"], [(entry["name"], entry["meaning"]) for entry in found])
        return
    entry = next((entry for entry in found if entry["name"] == name), None)
    if entry is None:
        from potstill.errors import NotFound

        raise NotFound(f"There is none called {name}.", hint=f"Known here: {', '.join(str(entry['name']) for entry in found)}.")
    if as_json:
        emit(entry)
        return
    parameters = entry.pop("parameters", [])
    fields(entry.items())
    if parameters:
        print()
        table(
            ["PARAMETER", "DEFAULT", "MEANING"],
            [(p["name"], "required" if p["required"] else p["default"], clean(p["meaning"])) for p in parameters],
        )
