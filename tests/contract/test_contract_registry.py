"""What can be asked for documents itself: this is what `GET /v1/recipes` and its sisters answer."""

import json
import re

import pytest

from contract.base import Choice
from contract.registry import ARCHITECTURES, BUILTINS, LOSSES, RECIPES, TASKS

CHOICES: list[type[Choice]] = [*ARCHITECTURES, *LOSSES, *RECIPES]


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: f"{choice.KEY}-{choice.key()}")
def test_an_entry_says_what_it_is_and_what_its_parameters_are(choice):
    entry = json.loads(json.dumps(choice.entry(), allow_nan=False))
    assert entry["name"] == choice.key()
    assert entry["meaning"].endswith(".")
    assert "\n" not in entry["meaning"]
    assert entry["formula"].strip()
    assert isinstance(entry["paper"], str)
    assert [parameter["name"] for parameter in entry["parameters"]] == [name for name in choice.model_fields if name != choice.KEY]
    for parameter in entry["parameters"]:
        assert set(parameter) == {"name", "required", "default", "meaning", "schema"}
        assert parameter["meaning"].strip(), f"{parameter['name']} has no meaning"
        assert parameter["schema"], f"{parameter['name']} has no type"


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: f"{choice.KEY}-{choice.key()}")
def test_the_defaults_that_are_shown_are_those_that_apply(choice):
    shown = {parameter["name"]: parameter["default"] for parameter in choice.entry()["parameters"] if not parameter["required"]}
    required = {name: field for name, field in choice.model_fields.items() if field.is_required()}
    made = choice.example() if hasattr(choice, "example") else choice(**{name: [4] for name in required})
    said = made.model_dump(mode="json", exclude={choice.KEY, *required})
    applied = {**dict.fromkeys(choice.model_fields.keys() - {choice.KEY, *required}), **said}  # what is nothing may be left unsaid
    assert applied == shown


@pytest.mark.parametrize("choice", [*LOSSES, *RECIPES], ids=lambda choice: f"{choice.KEY}-{choice.key()}")
def test_what_follows_a_teacher_names_its_paper(choice):
    """Every distillation method here is published; where it comes from is part of the answer."""
    if getattr(choice, "NEEDS_TEACHER", True):
        assert re.search(r"https://(arxiv\.org|doi\.org)/", choice.entry()["paper"])


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.key())
def test_a_recipe_shows_the_terms_it_stands_for(recipe):
    shown = json.loads(json.dumps(recipe.entry()["expands_to"]))
    expanded = json.dumps([term.model_dump(mode="json") for term in recipe.example().expand()])
    assert shown == json.loads(expanded, parse_float=lambda digits: round(float(digits), 10)), "0.3 is told where 1 - 0.7 is meant"
    hears = any(loss.NEEDS_TEACHER for loss in LOSSES for term in shown if loss.key() == term["loss"])
    assert hears or recipe.TEACHER_OUTPUTS == "text", "a recipe without a teacher is none"


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_a_task_says_what_it_needs_and_what_it_measures(task):
    entry = json.loads(json.dumps(task.entry()))
    assert set(entry) >= {"name", "meaning", "inputs", "metric", "higher_is_better"}
    assert all(entry[name] for name in ("name", "meaning", "inputs", "metric"))
    assert TASKS[entry["name"]] is task


@pytest.mark.parametrize("builtin", BUILTINS.values(), ids=BUILTINS.keys())
def test_built_in_data_says_what_it_holds(builtin):
    entry = json.loads(json.dumps(builtin.entry()))
    assert BUILTINS[entry["name"]] is builtin
    assert entry["meaning"].endswith(".")
    assert set(entry["tasks"]) <= set(TASKS)
    assert len(set(entry["classes"])) == len(entry["classes"])
    labelled = any(TASKS[task].labelled and TASKS[task].answers != "span" for task in entry["tasks"])
    assert len(entry["classes"]) >= 2 if labelled else not entry["classes"]
    assert {"train", "test"} <= set(entry["rows"])


def test_names_are_unique_and_fit_into_a_url():
    for choices in (ARCHITECTURES, LOSSES, RECIPES):
        names = [choice.key() for choice in choices]
        assert len(set(names)) == len(names)
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)
