"""Several tasks for one student: which fields go together, and errors that name the task they speak of."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from contract.errors import Refused
from contract.networks import TaskTeachers
from contract.registry import CrossEntropy
from contract.rules import wrong
from contract.sources import TaskSources

if TYPE_CHECKING:
    from contract.spec import JobSpec

LEARNS = "text-classification"
NOT_BY_TASK = ("logit_mse", "adversarial")  # they look at all classes of a row, also those of other tasks
PLACE = re.compile(r"\b(data\.train|data\.test)\b(?!\.tasks)|^teacher\b")


@contextmanager
def naming(task: str) -> Iterator[None]:
    """Refusals of what one task would be alone (`JobSpec.alone`) name its place in the whole spec."""
    try:
        yield
    except Refused as error:
        error.detail = PLACE.sub(rf"\g<0>.tasks.{task}", error.detail)
        error.param = PLACE.sub(rf"\g<0>.tasks.{task}", error.param) if error.param else None
        error.args = (error.detail,)
        raise


def _tasks_to_learn(spec: "JobSpec") -> None:
    tasks, data = spec.data.tasks, spec.data
    if not tasks:
        if isinstance(data.test, TaskSources):
            raise wrong("data.train has one task; name one source", at=("data", "test", "tasks"))
        if data.sampling != 1:
            raise wrong("there are no tasks to draw from; name several under data.train.tasks, or leave this out", at=("data", "sampling"))
        if spec.recipe is not None and spec.recipe.SEVERAL_TASKS:
            raise wrong(f"{spec.recipe.name} is for several tasks; name them under data.train.tasks", at=("recipe", "name"))
        return
    if spec.task != LEARNS:
        raise wrong(f"several tasks are learned of {LEARNS}, not of {spec.task}; name one source", at=("data", "train", "tasks"))
    if data.test is not None and not isinstance(data.test, TaskSources):
        raise wrong(f"name a source for each task, {', '.join(tasks)}, or leave this out", at=("data", "test"))
    if isinstance(data.test, TaskSources):
        _same_names(list(data.test.tasks), tasks, ("data", "test", "tasks"), "source")
    if spec.shown.augment is not None:
        place = ("data", "augment") if data.augment is not None else ("recipe", "name")
        raise wrong("rows of several tasks are shown as they are; leave this out, or use another recipe", at=place)


def _teachers_of_tasks(spec: "JobSpec") -> None:
    if not isinstance(spec.teacher, TaskTeachers):
        return
    if not spec.data.tasks:
        raise wrong("data.train has one task; name one teacher: {job: job_…} or {model: mdl_…}", at=("teacher", "tasks"))
    _same_names(list(spec.teacher.tasks), spec.data.tasks, ("teacher", "tasks"), "teacher")
    if spec.teacher_outputs == "live":
        raise wrong("teachers of several tasks are asked once for every row; leave this out", at=("teacher_outputs",))


def _same_names(found: list[str], tasks: list[str], at: tuple[str, ...], what: str) -> None:
    for name in found:
        if name not in tasks:
            raise wrong(f"data.train has no such task; its tasks are {', '.join(tasks)}", at=(*at, name))
    missing = [name for name in tasks if name not in found]
    if missing:
        raise wrong(f"there is no {what} for {', '.join(missing)}; name one for each task", at=at)


def _losses_by_task(spec: "JobSpec") -> None:
    if not spec.data.tasks:
        return
    if spec.shown.augment is not None:  # by the recipe
        raise wrong("it changes rows, and those of several tasks are shown as they are", at=("recipe", "name"))
    for i, term in enumerate(spec.terms):
        place = ("objective", i) if spec.objective is not None else ("recipe",)
        if term.loss in NOT_BY_TASK:
            said = f"{term.loss} compares all classes, and of several tasks a row has but its own; use kl or cross_entropy"
            raise wrong(said, at=(*place, "loss" if spec.objective is not None else "name"))
        if isinstance(term, CrossEntropy) and term.label_smoothing:
            raise wrong("it would spread to other tasks' classes; leave this out", at=(*place, "label_smoothing"))


TASK_RULES: tuple[Callable[["JobSpec"], None], ...] = (_tasks_to_learn, _teachers_of_tasks, _losses_by_task)
