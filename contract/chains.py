"""Recipes that are several jobs: one spec → those of the chain, each of which refers to the one before as `@name`."""

import re
from typing import Any

from contract.check import parse_spec
from contract.errors import InvalidSpec
from contract.networks import FromLayers, ModelRef
from contract.registry import BornAgain, Mlm, Takd, WellRead
from contract.sources import Data
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
    if isinstance(recipe, WellRead):
        return _checked(_reading(spec, recipe))
    return [spec]


def _checked(found: list[JobSpec]) -> list[JobSpec]:
    """What a recipe makes of a good spec may still be none."""
    for link in found:
        try:
            parse_spec(link.model_dump(mode="json", exclude_none=True))
        except InvalidSpec as error:
            raise InvalidSpec(f"recipe: of its jobs {link.name} cannot be: {error.detail}", param="recipe", hint=error.hint) from None
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


def _reading(spec: JobSpec, recipe: WellRead) -> list[JobSpec]:
    if spec.described is None or "masked-lm" not in spec.described.SERVES:
        raise InvalidSpec(
            "student: it is to read plain text first, which described transformers can do: bert, roberta, distilbert.",
            param="student",
            hint="Describe the student by such an `arch`; one that has read already needs no well_read.",
        )
    source = recipe.corpus or spec.data.train
    source = source.model_copy(update={"columns": source.columns.model_copy(update={"label": None, "text_pair": None})})
    data = Data(train=source, validation=MEASURED, max_length=spec.data.max_length)
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
    )
    return [reader, _last(spec, student=ModelRef(job=f"@{reader.name}"), tokenizer=None)]


def _after(found: list[JobSpec], spec: JobSpec) -> dict[str, Any]:
    """Taught by the one before."""
    return {"teacher": ModelRef(job=f"@{found[-1].name}") if found else spec.teacher}


def _before(spec: JobSpec, which: str, **changes: Any) -> JobSpec:
    """A job of the chain before the one asked for: one run, no control."""
    base = re.sub(r"[\s@]+", "-", spec.name or str(spec.recipe and spec.recipe.name))[:80]
    return _last(spec, name=f"{base}-{which}", evaluation=Evaluation(), **changes)


def _last(spec: JobSpec, **changes: Any) -> JobSpec:
    return spec.model_copy(update={"recipe": None, "objective": spec.terms, **changes})
