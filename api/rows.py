"""The rows of a spec as the door sees them: what they are, how many are trained, held out and measured on."""

from dataclasses import dataclass, replace

from api.references import Lookup, Rows, total
from contract.errors import InvalidSpec
from contract.fit import check_fit
from contract.shapes import DataShape, joined
from contract.spec import JobSpec, Source, TaskSources
from contract.tasks import naming


@dataclass(frozen=True)
class Seen:
    """What the rows of a spec are, and how many; None where that shows when a worker has fetched them."""

    train: DataShape | None
    test: DataShape | None
    held_out: int | None
    left: int | None
    measured: int | None
    warnings: list[str]
    row_bytes: float | None = None  # of a training row in memory; of a text its characters


def rows_of(look: Lookup, spec: JobSpec) -> Seen:
    parts: dict[str, Seen] = {}
    for task in spec.data.tasks:
        with naming(task):
            part = rows_of(look, spec.alone(task))
            if part.train is not None:
                check_fit(spec.alone(task), part.train, part.test, {})
        parts[task] = replace(part, warnings=[f"data.train.tasks.{task}: {said}" for said in part.warnings])
    if parts:
        return _together(spec, parts)
    assert isinstance(spec.data.train, Source)
    train = look.rows(spec.data.train, "train", "data.train", spec.task)
    test = _test(look, spec, train)
    held_out, left = _validation(spec, train) if train is not None else (None, None)
    measured = test.rows if test else None if spec.data.test else held_out
    warnings = _of_rows(spec, train, test) if train is not None else []
    row_bytes = train.row_bytes if train else None
    return Seen(train.shape if train else None, test.shape if test else None, held_out, left, measured, warnings, row_bytes)


def _together(spec: JobSpec, parts: dict[str, Seen]) -> Seen:
    """Of several tasks."""
    train, test = (_joined([(task, getattr(part, name)) for task, part in parts.items()]) for name in ("train", "test"))
    held_out, left, measured = (total([getattr(part, name) for part in parts.values()]) for name in ("held_out", "left", "measured"))
    warnings = [said for part in parts.values() for said in part.warnings]
    sizes = [part.row_bytes * part.left if part.row_bytes is not None and part.left is not None else None for part in parts.values()]
    characters = total(sizes)
    row_bytes = characters / left if characters is not None and left else None
    return Seen(train, test, held_out, left, measured, warnings, row_bytes)


def _joined(shapes: list[tuple[str, DataShape | None]]) -> DataShape | None:
    known = {task: shape for task, shape in shapes if shape is not None}
    return joined(known) if len(known) == len(shapes) else None


def _test(look: Lookup, spec: JobSpec, train: Rows | None) -> Rows | None:
    """The rows to measure on; None for the validation rows, and where nobody knows yet what there is."""
    source, test = spec.data.train, spec.data.test
    assert isinstance(source, Source) and not isinstance(test, TaskSources)
    if test is not None:
        return look.rows(test, "test", "data.test", spec.task, beside=source)
    if train is None:
        return None
    if "test" in train.splits and source.split != "test":
        return look.rows(source.model_copy(update={"split": "test"}), "test", "data.test", spec.task)
    if not spec.data.validation:
        raise InvalidSpec(
            f"data.test: there is nothing to measure on: {train.origin} has no split called test ({', '.join(train.splits)})",
            param="data.test",
            hint="Name a test source, or set data.validation, for example 0.1.",
        )
    return None


def _validation(spec: JobSpec, train: Rows) -> tuple[int, int]:
    """Rows held out and rows left, counted as the engine counts them."""
    rows = min(train.rows, spec.data.max_train_samples or train.rows)
    held_out = max(1, round(rows * spec.data.validation)) if spec.data.validation else 0
    if held_out >= rows:
        raise InvalidSpec(
            f"data.validation: {spec.data.validation} of {rows} rows leaves nothing to train on",
            param="data.validation",
            hint="Use a smaller share.",
        )
    return held_out, rows - held_out


def _of_rows(spec: JobSpec, train: Rows, test: Rows | None) -> list[str]:
    found = []
    trains = spec.kind.trains
    if test is not None and (test.origin, test.split) == (train.origin, train.split) and trains:
        found.append("data.test: these are the training rows; the report will not tell how the student does on new ones.")
    if spec.data.max_train_samples is not None and spec.data.max_train_samples > train.rows:
        found.append(f"data.max_train_samples: there are only {train.rows:,} rows; all are used.")
    return found
