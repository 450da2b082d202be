"""Recipes that are several jobs: one spec → those of the chain, each of which refers to the one before as `@name`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from contract.check import parse_spec
from contract.errors import InvalidSpec
from contract.networks import FromLayers, TrainedStudent
from contract.refs import ModelRef
from contract.registry import BornAgain, Mlm, SelfKd, Takd, WellRead
from contract.sources import Data, TaskSources
from contract.spec import JobKind, JobSpec
from contract.training import Evaluation

MEASURED = 0.05  # share of plain text held out, where it has no test split


def links(spec: JobSpec) -> list[JobSpec]:
    """The jobs that `spec` stands for, in their order: itself, or where its recipe is a chain, those before it and then the one asked for.
    InvalidSpec where a part of the chain cannot be."""
    recipe = spec.recipe
    if isinstance(recipe, Takd):
        return _checked(_assistants(_from_its_teacher(spec), recipe))
    if isinstance(recipe, BornAgain):
        return _checked(_generations(_from_its_teacher(spec), recipe))
    if isinstance(recipe, SelfKd):
        return _checked(_its_own_teacher(spec))
    if isinstance(recipe, WellRead):
        return _checked(_reading(spec, recipe))
    return [spec]


@contextmanager
def made_by_a_recipe(link: JobSpec) -> Iterator[None]:
    """Errors of a job that a recipe makes name the recipe: nobody wrote that job."""
    try:
        yield
    except InvalidSpec as error:
        detail = f"recipe: of its jobs {link.name} cannot be: {error.detail}"
        raise InvalidSpec(detail, code=error.code, param="recipe", hint=error.hint) from error


def _checked(found: list[JobSpec]) -> list[JobSpec]:
    """What a recipe makes of a good spec may still be none."""
    for link in found:
        with made_by_a_recipe(link):
            parse_spec(link.model_dump(mode="json", exclude_none=True))
    return found


def _from_its_teacher(spec: JobSpec) -> JobSpec:
    """A student of the teacher's layers takes them from the teacher the spec names, whoever teaches it in the end."""
    if isinstance(spec.student, FromLayers) and spec.student.init == "teacher":
        return spec.model_copy(update={"student": spec.student.model_copy(update={"init": spec.teacher})})
    return spec


def _assistants(spec: JobSpec, recipe: Takd) -> list[JobSpec]:
    found: list[JobSpec] = []
    for number, architecture in enumerate(recipe.assistants, 1):
        if spec.task not in architecture.SERVES:
            param = f"recipe.assistants.{number - 1}.arch"
            raise InvalidSpec(f"{param}: {architecture.arch} is not made for {spec.task}", param=param)
        found.append(_before(spec, f"assistant-{number}", **_after(found, spec), student=architecture))
    return [*found, _last(spec, **_after(found, spec))]


def _generations(spec: JobSpec, recipe: BornAgain) -> list[JobSpec]:
    found: list[JobSpec] = []
    for number in range(1, recipe.generations):
        found.append(_before(spec, f"generation-{number}", **_after(found, spec)))
    return [*found, _last(spec, **_after(found, spec))]


def _its_own_teacher(spec: JobSpec) -> list[JobSpec]:
    """The student alone, as the control of any job, and then a copy of it from the same start, taught by that."""
    alone = spec.without_teacher().model_copy(update={"name": _name(spec, "alone"), "evaluation": Evaluation()})
    return [alone, _last(spec, **_after([alone], spec), tokenizer=None)]  # it reads by its teacher's


def _reading(spec: JobSpec, recipe: WellRead) -> list[JobSpec]:
    if spec.described is None or "masked-lm" not in spec.described.SERVES:
        raise InvalidSpec(
            "student: it is to read plain text first, which described transformers can do: bert, roberta, distilbert.",
            param="student",
            hint="Describe the student by such an `arch`; one that has read already needs no well_read.",
        )
    source = recipe.corpus or spec.data.train
    if isinstance(source, TaskSources):
        raise InvalidSpec("recipe.corpus: of several tasks none is the plain text to read.", param="recipe.corpus", hint="Name one source.")
    source = source.model_copy(update={"columns": source.columns.model_copy(update={"label": None, "text_pair": None})})
    held_out = MEASURED if recipe.corpus else spec.data.validation or MEASURED  # the last job's own rows it must not have read
    most = None if recipe.corpus else spec.data.max_train_samples
    data = Data(train=source, validation=held_out, max_length=spec.data.max_length, max_train_samples=most)
    reader = _before(
        spec,
        "reading",
        kind=JobKind.TRAIN,
        task="masked-lm",
        data=data,
        teacher=None,
        teacher_outputs="auto",
        tokenizer=spec.tokenizer or spec.first_teacher,
        objective=[Mlm()],
        training=spec.training.model_copy(update={"epochs": recipe.epochs, "early_stopping": None}),
        resources=spec.resources.untaught,
    )
    return [reader, _last(spec, student=TrainedStudent(job=f"@{reader.name}"), tokenizer=None)]


def _after(found: list[JobSpec], spec: JobSpec) -> dict[str, Any]:
    """Taught by the one before."""
    return {"teacher": ModelRef(job=f"@{found[-1].name}") if found else spec.teacher}


def _before(spec: JobSpec, which: str, **changes: Any) -> JobSpec:
    """A job of the chain before the one asked for: one run, no control."""
    return _last(spec, name=_name(spec, which), evaluation=Evaluation(), **changes)


def _name(spec: JobSpec, which: str) -> str:
    base = re.sub(r"[\s@]+", "-", spec.name or str(spec.recipe and spec.recipe.name))[:80]
    return f"{base}-{which}"


def _last(spec: JobSpec, **changes: Any) -> JobSpec:
    return spec.model_copy(update={"recipe": None, "objective": spec.terms, **changes})
