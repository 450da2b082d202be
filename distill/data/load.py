"""From the spec's `data` to tensors: first N rows, validation held out, test found, classes numbered, scaling decided."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import datafiles
from contract.columns import Chosen, choose_columns, test_split
from contract.errors import InvalidData, InvalidSpec
from contract.fit import check_fit
from contract.model import Scaling
from contract.registry import BUILTINS, TASKS
from contract.shapes import DataShape, builtin_shape, input_shape, joined
from contract.spec import JobSpec, Source, TaskSources
from contract.tasks import naming
from distill.data import builtin, texts
from distill.data.rows import Split, TextSplit
from distill.device import derived_seed
from distill.inputs import Inputs

Array = NDArray[np.generic]


class Found(NamedTuple):
    """The columns of a split: what rows show, texts as a tuple of columns; the names of what is to be told; and how (contract.columns)."""

    features: Array | tuple[Array, ...]
    names: Array
    answers: str = "class"
    starts: Array | None = None


@dataclass(frozen=True)
class Data:
    train: Split | TextSplit
    validation: Split | TextSplit | None
    test: Split | TextSplit
    test_name: str  # "test" or, where there is no test split, "validation"; of several tasks there may be both
    shape: DataShape
    scaling: Scaling
    columns: Sequence[str] = ()  # of a table that has several: their names, as they stand in a row

    @property
    def test_shape(self) -> DataShape:
        if isinstance(self.test, TextSplit) and self.test.parts:
            of_tasks = zip(self.shape.tasks.items(), self.test.parts, strict=True)
            return joined({task: _shape(rows, shape.classes, "class") for (task, shape), rows in of_tasks})
        return _shape(self.test, self.shape.classes, self.shape.answers if self.shape.speaks else "class")

    def digest(self) -> str:
        """Hash of everything a run's result depends on: features and labels of all rows."""
        splits = [split for split in (self.train, self.validation, self.test) if split is not None]
        parts = [part for split in splits for part in (split.digest(), sha256(split.answers()).hexdigest())]
        return sha256("".join(parts).encode()).hexdigest()


def load(spec: JobSpec, inputs: Inputs, order: Sequence[str] = ()) -> Data:
    """order: the columns of a table as a network is used to them, where one is there already. Raises InvalidData or InvalidSpec naming what
    is wrong with the rows."""
    read = Reader(spec.task, inputs, order)
    return _of_tasks(spec, read) if spec.data.tasks else _of_one(spec, read)


def _of_tasks(spec: JobSpec, read: "Reader") -> Data:
    """Of several tasks, each loaded as if it were alone: its teacher is then asked of the very rows that a job of its own has."""
    parts: dict[str, Data] = {}
    for task in spec.data.tasks:
        with naming(task):
            parts[task] = part = _of_one(spec.alone(task), read)
            check_fit(spec.alone(task), part.shape, part.test_shape, {})
    shape = joined({task: part.shape for task, part in parts.items()})
    counts = [len(part.shape.classes) for part in parts.values()]

    def put_together(found: list[Split | TextSplit]) -> TextSplit:
        return TextSplit.of_tasks([rows for rows in found if isinstance(rows, TextSplit)], counts)

    train, test = (put_together([getattr(part, name) for part in parts.values()]) for name in ("train", "test"))
    held_out = [part.validation for part in parts.values() if part.validation is not None]
    named = " and ".join(dict.fromkeys(part.test_name for part in parts.values()))
    return Data(train, put_together(held_out) if held_out else None, test, named, shape, Scaling())


def _of_one(spec: JobSpec, read: "Reader") -> Data:
    assert isinstance(spec.data.train, Source)
    found = read.table(spec.data.train, "train", "data.train")
    classes = read.classes(spec.data.train) if TASKS[spec.task].labelled else []
    train = _split(found, classes, "data.train", spec.data.max_train_samples)
    validation = None
    if spec.data.validation:
        train, validation = _hold_out(train, spec.data.validation)
    test, test_name = _test(spec, read, classes, validation)
    scaling = read.scaling(train, spec.data.train.dataset) if isinstance(train, Split) else Scaling()
    return Data(train, validation, test, test_name, _shape(train, classes, found.answers), scaling, read.features(spec.data.train))


def _shape(rows: Split | TextSplit, classes: list[str], answers: str) -> DataShape:
    if isinstance(rows, TextSplit):
        named = {"tags": rows.tags is not None, "span": rows.spans is not None, "seq2seq": rows.targets is not None}
        named["classes"] = rows.labels.ndim == 2
        answers = next((name for name, holds in named.items() if holds), answers)
        return DataShape(classes=classes, texts=len(rows.texts), answers=answers)
    return DataShape(shape=tuple(rows.features.shape[1:]), classes=classes)


def _test(spec: JobSpec, read: "Reader", classes: list[str], validation: Split | TextSplit | None) -> tuple[Split | TextSplit, str]:
    train, asked = spec.data.train, spec.data.test
    assert isinstance(train, Source) and not isinstance(asked, TaskSources)
    source = read.named_alike(asked, train) if asked is not None else train.model_copy(update={"split": "test"})
    if asked is not None or (train.split != "test" and "test" in read.splits(train)):
        default = test_split(source, train, read.splits(source))
        return _split(read.table(source, default, "data.test"), classes, "data.test"), "test"
    if validation is None:
        raise InvalidSpec(
            "data.test: there is nothing to measure on: no test source, no split called test, no validation rows.",
            param="data.test",
            hint="Name a test source or set data.validation, for example 0.1.",
        )
    return validation, "validation"


def _split(found: Found, classes: list[str], where: str, first: int | None = None) -> Split | TextSplit:
    names = found.names[:first]
    if len(names) == 0:
        raise InvalidData(f"{where}: there are no rows.", param=where)
    if isinstance(found.features, tuple):
        columns = tuple(column[:first].tolist() for column in found.features)
        if found.answers == "span":
            return texts.questions(columns, names.tolist(), None if found.starts is None else found.starts[:first].tolist(), where)
        return texts.split(columns, names, found.answers, classes, where)
    labels = datafiles.encode_labels(names, classes, where)
    return Split(torch.from_numpy(np.ascontiguousarray(found.features[:first])), torch.from_numpy(labels))


def _hold_out(rows: Split | TextSplit, share: float) -> tuple[Split | TextSplit, Split | TextSplit]:
    """The last `share` of a shuffle that is the same for every seed, so that all runs are judged on the same rows."""
    count = len(rows)
    held = max(1, round(count * share))
    if held >= count:
        raise InvalidSpec(
            f"data.validation: {share} of {count} rows leaves nothing to train on.", param="data.validation", hint="Use a smaller share."
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(derived_seed("validation")))
    return rows.rows(order[: count - held].sort().values), rows.rows(order[count - held :].sort().values)


class Reader:
    """Reads each file once and hands out (features, label names) of its splits."""

    def __init__(self, task: str, inputs: Inputs, order: Sequence[str] = ()) -> None:
        self.task, self.inputs, self.order = task, inputs, list(order)
        self._files = inputs.read if inputs.read is not None else {}

    def splits(self, source: Source) -> list[str]:
        return list(BUILTINS[source.dataset].rows) if source.dataset in BUILTINS else list(self._file(source).splits)

    def table(self, source: Source, default: str, where: str) -> Found:
        split = source.split or default
        if split not in self.splits(source):
            raise InvalidSpec(f"{where}: there is no split {split!r}; there are {', '.join(self.splits(source))}.", param=where)
        if source.dataset in BUILTINS:
            known = BUILTINS[source.dataset]
            if self.task not in known.tasks:
                raise InvalidSpec(f"{where}: {known.name} is for {' and '.join(known.tasks)}, not {self.task}.", param=where)
            features, labels = builtin.SOURCES[source.dataset]()[split]
            if TASKS[self.task].reads == "text":
                return Found((features,), labels, builtin_shape(known.name, self.task).answers)
            return Found(_canonical(features, input_shape(self.task, features.shape[1:], where)), labels)
        file = self._file(source)
        chosen = self._chosen(source, where)
        columns = [file.splits[split].columns[name] for name in chosen.features]
        if chosen.texts:
            names = file.splits[split].columns[chosen.label] if chosen.label else columns[0]
            starts = file.splits[split].columns[chosen.start] if chosen.start else None
            return Found(tuple(columns), names, chosen.answers, starts)
        features = columns[0] if len(columns) == 1 else np.column_stack([c.reshape(len(c), -1) for c in columns])
        return Found(_canonical(_number_type(features, self.task, where), chosen.shape), file.splits[split].columns[chosen.label])

    def named_alike(self, test: Source, train: Source) -> Source:
        """The test source, told to read the columns that train reads: another tool may have written them in another order."""
        if TASKS[self.task].reads == "text" or test.columns.features is not None or test.dataset in BUILTINS or train.dataset in BUILTINS:
            return test
        features = self.features(train)
        return test.model_copy(update={"columns": test.columns.model_copy(update={"features": features})}) if features else test

    def features(self, source: Source) -> list[str]:
        """The columns of a table that has several; one column of arrays may be called anything."""
        if TASKS[self.task].reads == "text" or source.dataset in BUILTINS:
            return []
        found = self._chosen(source, "data.train").features
        return found if len(found) > 1 else []

    def _chosen(self, source: Source, where: str) -> Chosen:
        found = choose_columns(self._file(source).columns(), source.columns, self.task, where)
        if source.columns.features is None and sorted(found.features) == sorted(self.order):
            return found.model_copy(update={"features": self.order})
        return found

    def classes(self, source: Source) -> list[str]:
        if source.dataset in BUILTINS:
            return list(BUILTINS[source.dataset].classes)
        file = self._file(source)
        label = choose_columns(file.columns(), source.columns, self.task, "data.train").label
        classes = file.classes(label)
        if classes is None:
            raise InvalidData(
                f"data.train: column {label!r} holds no classes.", param="data.train.columns.label", hint="Labels are integers or words."
            )
        return classes

    def scaling(self, train: Split, dataset: str | None) -> Scaling:
        if self.task == "tabular-classification":
            x = train.features.double()
            deviation = x.std(dim=0, correction=0)
            deviation[deviation < 1e-12] = 1.0  # a constant column carries nothing; do not divide by zero
            return Scaling(subtract=x.mean(dim=0).tolist(), divide=deviation.tolist())
        if dataset in builtin.DIVIDE:
            return Scaling(divide=builtin.DIVIDE[dataset])
        return Scaling(divide=255.0) if train.features.dtype == torch.uint8 else Scaling()

    def _file(self, source: Source) -> datafiles.DataFile:
        if source.key not in self._files:
            file = self.inputs.datasets[source.key]
            self._files[source.key] = _joined(file.parts) if file.parts else datafiles.read(file.path, file.name)
        return self._files[source.key]


def _joined(parts: dict[str, list[Path]]) -> datafiles.DataFile:
    """Data whose splits are files of their own, or several."""
    tables = {split: [datafiles.read(path, path.name) for path in paths] for split, paths in parts.items()}
    splits = {}
    for split, files in tables.items():
        found = [next(iter(file.splits.values())) for file in files]
        odd = next((path for path, table in zip(parts[split], found, strict=True) if _kinds(table) != _kinds(found[0])), None)
        if odd is not None:
            raise InvalidData(f"split {split}: the columns of {odd.name} are not those of {parts[split][0].name}.", hint="Name a subset.")
        columns = {name: np.concatenate([table.columns[name] for table in found]) for name in found[0].columns}
        splits[split] = datafiles.Table(columns)
    return datafiles.DataFile("parquet", splits)


def _kinds(table: datafiles.Table) -> dict[str, str]:
    """Of each column what its values are; text is text, however it is held."""
    return {name: values.dtype.kind.replace("U", "O") for name, values in table.columns.items()}


def _number_type(features: Array, task: str, where: str) -> Array:
    """Pixels 0 … 255 stored as wider integers are pixels still; other numbers become float32, which must hold them."""
    if features.dtype == np.uint8:
        return features
    whole = np.issubdtype(features.dtype, np.integer)
    if whole and task == "image-classification" and features.size and features.min() >= 0 and features.max() <= 255:
        return features.astype(np.uint8)
    with np.errstate(over="ignore"):
        narrow = features.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise InvalidData(f"{where}: there are numbers beyond what a float32 holds, 3.4e38.", param=where, hint="Scale them down.")
    return narrow


def _canonical(features: Array, shape: tuple[int, ...]) -> Array:
    """Rows as `shape`: images get their channel axis, channels last become channels first."""
    rows = len(features)
    if features.ndim == 4 and len(shape) == 3 and features.shape[1:] != shape and features.shape[3] == shape[0]:
        return np.moveaxis(features, 3, 1)
    return features.reshape(rows, *shape)
