"""What can be asked for: recipes, losses, architectures, tasks."""

from typing import Any, Generic, Literal, TypeVar

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from api.openapi import problems
from api.routing import known_query
from api.services import By
from contract.registry import ARCHITECTURES, BUILTINS, LOSSES, RECIPES, TASKS

router = APIRouter(prefix="/v1", tags=["registry"], dependencies=[Depends(known_query)], responses=problems())


class Parameter(BaseModel):
    name: str
    required: bool
    default: Any
    meaning: str
    json_schema: dict[str, Any] = Field(alias="schema", description="JSON schema of the values it takes.")


class ChoiceEntry(BaseModel):
    name: str
    meaning: str
    formula: str
    paper: str
    parameters: list[Parameter]


class RecipeEntry(ChoiceEntry):
    expands_to: list[dict[str, Any]] = Field(description="The terms it stands for, with its defaults.")


class TaskEntry(BaseModel):
    name: str
    meaning: str
    inputs: str
    metric: str
    higher_is_better: bool
    datasets: list[str] = Field(description="Built-in datasets for it.")


Entry = TypeVar("Entry", bound=BaseModel)


class Entries(BaseModel, Generic[Entry]):
    object: Literal["list"] = "list"
    data: list[Entry]
    has_more: bool = False


@router.get("/recipes")
async def list_recipes(caller: By) -> Entries[RecipeEntry]:
    """Named, published combinations of losses."""
    return Entries(data=[RecipeEntry.model_validate(recipe.entry()) for recipe in RECIPES])


@router.get("/losses")
async def list_losses(caller: By) -> Entries[ChoiceEntry]:
    """The terms an objective is made of."""
    return Entries(data=[ChoiceEntry.model_validate(loss.entry()) for loss in LOSSES])


@router.get("/architectures")
async def list_architectures(caller: By) -> Entries[ChoiceEntry]:
    """Networks that a spec can describe."""
    return Entries(data=[ChoiceEntry.model_validate(architecture.entry()) for architecture in ARCHITECTURES])


@router.get("/tasks")
async def list_tasks(caller: By) -> Entries[TaskEntry]:
    """What a job can be about."""
    return Entries(data=[TaskEntry(**task.entry(), datasets=_builtins(task.name)) for task in TASKS.values()])


def _builtins(task: str) -> list[str]:
    return [builtin.name for builtin in BUILTINS.values() if task in builtin.tasks]
