"""What a network sees of data: the shape of a row, or how many texts, and what it is asked for."""

from collections.abc import Sequence
from math import prod

from pydantic import BaseModel, Field

from contract.errors import ErrorCode, InvalidSpec
from contract.registry import BUILTINS, TASKS
from contract.registry.tasks import LANGUAGE


class DataShape(BaseModel):
    """What a network sees of a dataset: the shape of one example and the classes in order. Texts have no shape but a number: 1, or
    2 for pairs; a network that was taught no classes yet has none.

    answers: what it tells: `class` of each row, `classes`, where a row may have any number, `tags` of each word, the `span` of a text that
    answers a question; or, where its outputs are its vocabulary, the task, `masked-lm`, `causal-lm` or `seq2seq`.
    """

    shape: tuple[int, ...] = ()
    classes: list[str]
    texts: int = 0
    answers: str = "class"
    tasks: dict[str, "DataShape"] = Field(default={}, exclude_if=lambda value: not value)  # each alone; `classes` are then task/class

    @property
    def speaks(self) -> bool:
        """Whether it tells tokens of its vocabulary."""
        return self.answers in LANGUAGE


def joined(tasks: "dict[str, DataShape]") -> DataShape:
    """What a network sees of several tasks, in the order of their names: the classes of all, and as many texts as any has. InvalidSpec
    where rows have any number of classes."""
    tasks = dict(sorted(tasks.items()))
    for name, task in tasks.items():
        if task.answers != "class":
            raise unfit(f"data.train.tasks.{name}.columns.label", "it holds lists, and of several tasks each row has one class")
    classes = [f"{name}/{one}" for name, task in tasks.items() for one in task.classes]
    return DataShape(classes=classes, texts=max(task.texts for task in tasks.values()), tasks=tasks)


def by_task(tasks: Sequence[str], classes: Sequence[str]) -> dict[str, list[str]]:
    """Of classes task/class those of each task."""
    return {task: [one.removeprefix(f"{task}/") for one in classes if one.startswith(f"{task}/")] for task in tasks}


def builtin_shape(name: str, task: str) -> DataShape:
    builtin = BUILTINS[name]
    if TASKS[task].reads == "text":
        labelled = TASKS[task].labelled
        return DataShape(classes=list(builtin.classes) if labelled else [], texts=1, answers=TASKS[task].answers if labelled else task)
    return DataShape(shape=input_shape(task, builtin.shape), classes=list(builtin.classes))


def input_shape(task: str, shape: Sequence[int], field: str = "data.train") -> tuple[int, ...]:
    """The shape of one example as networks get it: images as (channels, height, width), everything else as it is."""
    if task == "tabular-classification":
        return (prod(shape),)
    if len(shape) == 1:
        return tuple(shape)
    if len(shape) == 2:
        return (1, *shape)
    if len(shape) == 3:
        if shape[0] in (1, 3, 4):
            return tuple(shape)
        if shape[2] in (1, 3, 4):
            return (shape[2], shape[0], shape[1])
    raise unfit(field, f"rows of shape {list(shape)} are not images: [height, width] with 1, 3 or 4 channels first or last are")


def unfit(param: str, detail: str, hint: str | None = None) -> InvalidSpec:
    return InvalidSpec(f"{param}: {detail}", code=ErrorCode.DOES_NOT_FIT, param=param, hint=hint)
