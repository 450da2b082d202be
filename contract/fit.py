"""Do data, student and teacher fit each other? Asked by the API before it accepts a job and by the engine before it starts one."""

from collections.abc import Sequence
from math import prod

from pydantic import BaseModel

from contract.errors import ErrorCode, InvalidSpec
from contract.registry import BUILTINS
from contract.registry.architectures import Shape, _Architecture
from contract.spec import Columns, JobSpec, ModelRef

LABELS = ("label", "y")


class Column(BaseModel):
    """One column of a dataset; `shape` is that of one row's value, [] for a single number or word."""

    name: str
    type: str  # numpy's name of the number type (uint8, float64, …) or "string"
    shape: list[int]


class DataShape(BaseModel):
    """What a network sees of a dataset: the shape of one example and the classes in order."""

    shape: tuple[int, ...]
    classes: list[str]


class Chosen(BaseModel):
    """The columns a job uses: names of the features in order and of the label."""

    features: list[str]
    label: str
    shape: tuple[int, ...]


def builtin_shape(name: str, task: str) -> DataShape:
    builtin = BUILTINS[name]
    return DataShape(shape=input_shape(task, builtin.shape), classes=list(builtin.classes))


def choose_columns(columns: Sequence[Column], wanted: Columns, task: str, field: str) -> Chosen:
    """The label and feature columns of a table; raises InvalidSpec naming `field` and the columns there are."""
    by_name = {column.name: column for column in columns}
    label = wanted.label or next((name for name in LABELS if name in by_name), None)
    if label is None or label not in by_name:
        missing = f"there is no column {wanted.label!r}" if wanted.label else "no column is called `label` or `y`"
        raise _unfit(f"{field}.columns.label", f"{missing}; the columns are {', '.join(by_name)}", "Name the one that holds the class.")
    if by_name[label].shape:
        raise _unfit(f"{field}.columns.label", f"column {label!r} holds arrays of shape {by_name[label].shape}, not one class for each row")
    features = wanted.features or [name for name in by_name if name != label]
    for i, name in enumerate(features):
        place = f"{field}.columns.features.{i}" if wanted.features else field
        if name not in by_name:
            raise _unfit(place, f"there is no column {name!r}; the columns are {', '.join(by_name)}")
        if name == label:
            raise _unfit(place, f"{name!r} is the label; a student that sees it has nothing to learn")
        if by_name[name].type == "string":
            raise _unfit(place, f"column {name!r} holds text, and {task} needs numbers", "List the numeric ones under columns.features.")
    if not features:
        raise _unfit(field, "there is no column besides the label")
    if len(features) == 1:
        return Chosen(features=features, label=label, shape=input_shape(task, by_name[features[0]].shape or [1], field))
    width = sum(prod(by_name[name].shape) for name in features)
    if task == "image-classification" and any(by_name[name].shape for name in features):
        raise _unfit(field, "an image must be one column of arrays, or one number for each pixel", "Name it under columns.features.")
    return Chosen(features=features, label=label, shape=(width,))


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
    raise _unfit(field, f"rows of shape {list(shape)} are not images: [height, width] with 1, 3 or 4 channels first or last are")


def check_fit(spec: JobSpec, train: DataShape, test: DataShape | None, models: dict[str, DataShape]) -> None:
    """Raises InvalidSpec where parts do not fit. `models` holds what each referenced network was made for, by spec field."""
    if len(train.classes) < 2:
        raise _unfit("data.train", f"there is only one class ({', '.join(train.classes)}); nothing can be told apart")
    if test is not None:
        if test.shape != train.shape:
            raise _unfit("data.test", f"its rows have shape {list(test.shape)}, those of data.train {list(train.shape)}")
        unseen = [name for name in test.classes if name not in train.classes]
        if unseen:
            raise _unfit("data.test", f"it has classes that data.train lacks: {', '.join(unseen[:5])}")
    if spec.data.augment is not None and len(train.shape) != 3:
        raise _unfit("data.augment", f"crops and flips need images with height and width; these rows have shape {list(train.shape)}")
    if not isinstance(spec.student, ModelRef):
        _check_architecture(spec.student, train.shape, len(train.classes))
    for field, made_for in models.items():
        if made_for.shape != train.shape:
            raise _unfit(field, f"it was made for rows of shape {list(made_for.shape)}; data.train has {list(train.shape)}")
        if made_for.classes != train.classes:
            raise _unfit(field, f"it knows {_listed(made_for.classes)}; data.train has {_listed(train.classes)}")


MAX_PARAMETERS = 2_000_000_000


def _check_architecture(architecture: _Architecture, shape: Shape, classes: int) -> None:
    reason = architecture.refuses(shape)
    if reason:
        raise _unfit("student.arch", reason, "Use mlp or logistic, or data with images.")
    count = architecture.parameters(shape, classes)
    if count > MAX_PARAMETERS:
        raise _unfit("student", f"it would have {count:,} parameters; at most {MAX_PARAMETERS:,} are accepted", "Use narrower layers.")


def _listed(classes: list[str]) -> str:
    return f"{len(classes)} classes ({', '.join(classes[:5])}{', …' if len(classes) > 5 else ''})"


def _unfit(param: str, detail: str, hint: str | None = None) -> InvalidSpec:
    return InvalidSpec(f"{param}: {detail}", code=ErrorCode.DOES_NOT_FIT, param=param, hint=hint)
