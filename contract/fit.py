"""Do data, student and teacher fit each other? Asked by the API before it accepts a job and by the engine before it starts one."""

from collections.abc import Sequence
from math import prod

from pydantic import BaseModel

from contract.errors import ErrorCode, InvalidSpec
from contract.registry import BUILTINS, TASKS
from contract.registry.architectures import _Architecture
from contract.registry.losses import LANGUAGE
from contract.spec import Columns, JobSpec, Source

LABELS = ("label", "y", "labels")
TAGS = ("tags", "ner_tags", "pos_tags", *LABELS)
TEXTS = ("text", "sentence")
WORDS = ("tokens", "words", "text")
TARGETS = ("target", "translation", "summary")


class Column(BaseModel):
    """One column of a dataset; `shape` is that of one row's value, [] for a single number or word."""

    name: str
    type: str  # numpy's name of the number type (uint8, float64, …), "string", or "strings" for a list of them
    shape: list[int]


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

    @property
    def speaks(self) -> bool:
        """Whether it tells tokens of its vocabulary."""
        return self.answers in LANGUAGE


class Chosen(BaseModel):
    """The columns a job uses: names of the features in order and of the label."""

    features: list[str]
    label: str
    shape: tuple[int, ...]
    texts: int = 0
    answers: str = "class"
    start: str | None = None  # the column that says where an answer begins

    def made_for(self, classes: list[str]) -> DataShape:
        return DataShape(shape=self.shape, classes=classes, texts=self.texts, answers=self.answers)


def builtin_shape(name: str, task: str) -> DataShape:
    builtin = BUILTINS[name]
    if TASKS[task].reads == "text":
        labelled = TASKS[task].labelled
        return DataShape(classes=list(builtin.classes) if labelled else [], texts=1, answers=TASKS[task].answers if labelled else task)
    return DataShape(shape=input_shape(task, builtin.shape), classes=list(builtin.classes))


def choose_columns(columns: Sequence[Column], wanted: Columns, task: str, field: str) -> Chosen:
    """The label and feature columns of a table; raises InvalidSpec naming `field` and the columns there are."""
    by_name = {column.name: column for column in columns}
    if TASKS[task].answers == "tokens":
        return _text_columns(by_name, wanted, "", field, task)
    if TASKS[task].answers == "span":
        return _question_columns(by_name, wanted, field)
    if TASKS[task].answers == "text":
        return _pair_columns(by_name, wanted, field)
    label = _label_column(by_name, wanted, task, field)
    if TASKS[task].reads == "text":
        answers = "tags" if TASKS[task].answers == "tags" else "classes" if by_name[label].type == "strings" else "class"
        return _text_columns(by_name, wanted, label, field, answers)
    features = wanted.features or [name for name in by_name if name != label]
    for i, name in enumerate(features):
        place = f"{field}.columns.features.{i}" if wanted.features else field
        if name not in by_name:
            raise _unfit(place, f"there is no column {name!r}; the columns are {', '.join(by_name)}")
        if name == label:
            raise _unfit(place, f"{name!r} is the label; a student that sees it has nothing to learn")
        if by_name[name].type in ("string", "strings"):
            raise _unfit(place, f"column {name!r} holds text, and {task} needs numbers", "List the numeric ones under columns.features.")
    if not features:
        raise _unfit(field, "there is no column besides the label")
    if len(features) == 1:
        return Chosen(features=features, label=label, shape=input_shape(task, by_name[features[0]].shape or [1], field))
    width = sum(prod(by_name[name].shape) for name in features)
    if task == "image-classification" and any(by_name[name].shape for name in features):
        raise _unfit(field, "an image must be one column of arrays, or one number for each pixel", "Name it under columns.features.")
    return Chosen(features=features, label=label, shape=(width,))


def _label_column(by_name: dict[str, Column], wanted: Columns, task: str, field: str) -> str:
    tags = TASKS[task].answers == "tags"
    names = TAGS if tags else LABELS
    label = wanted.label or next((name for name in names if name in by_name), None)
    if label is None or label not in by_name:
        called = " or ".join(f"`{name}`" for name in names[:2])
        missing = f"there is no column {wanted.label!r}" if wanted.label else f"no column is called {called}"
        raise _unfit(f"{field}.columns.label", f"{missing}; the columns are {', '.join(by_name)}", "Name the one that holds the class.")
    if by_name[label].shape:
        raise _unfit(f"{field}.columns.label", f"column {label!r} holds arrays of shape {by_name[label].shape}, not one class for each row")
    if tags and by_name[label].type != "strings":
        raise _unfit(
            f"{field}.columns.label", f"column {label!r} holds {_kind(by_name[label])}, and a tag for each word is needed", LISTS_OF_TEXT
        )
    if by_name[label].type == "strings" and TASKS[task].reads != "text":
        raise _unfit(f"{field}.columns.label", f"column {label!r} holds lists, and {task} needs one class for each row")
    return label


def _kind(column: Column) -> str:
    return {"string": "text", "strings": "lists of text"}.get(column.type, column.type)


def _text_columns(by_name: dict[str, Column], wanted: Columns, label: str, field: str, answers: str) -> Chosen:
    kind, usual = ("strings", WORDS) if answers == "tags" else ("string", TEXTS)
    readable = [name for name, column in by_name.items() if column.type == kind and name != label]
    text = wanted.text or next((name for name in usual if name in readable), None) or (readable[0] if len(readable) == 1 else None)
    pair = wanted.text_pair or ("text_pair" if label and wanted.text is None and "text_pair" in readable else None)
    if text is None:
        said = "lists of words" if kind == "strings" else "text"
        why = f"no column holds {said}" if not readable else f"which column holds the text? There are {', '.join(readable)}"
        raise _unfit(f"{field}.columns.text", f"{why}; the columns are {', '.join(by_name)}", "Name it under columns.text.")
    for place, name in (("text", text), ("text_pair", pair)):
        if name is None:
            continue
        if name not in by_name:
            raise _unfit(f"{field}.columns.{place}", f"there is no column {name!r}; the columns are {', '.join(by_name)}")
        if name == label:
            raise _unfit(f"{field}.columns.{place}", f"{name!r} is the label; a student that sees it has nothing to learn")
        if by_name[name].type != kind:
            needed = "a list of words is" if kind == "strings" else "text is"
            cure = LISTS_OF_TEXT if kind == "strings" else None
            raise _unfit(f"{field}.columns.{place}", f"column {name!r} holds {_kind(by_name[name])}, and {needed} needed", cure)
    features = [text, pair] if pair else [text]
    return Chosen(features=features, label=label, shape=(), texts=len(features), answers=answers)


def _question_columns(by_name: dict[str, Column], wanted: Columns, field: str) -> Chosen:
    found = []
    for place, usual in (("text", "question"), ("text_pair", "context"), ("label", "answer")):
        name = getattr(wanted, place) or usual
        if name not in by_name:
            there = f"there is no column {name!r}; the columns are {', '.join(by_name)}"
            raise _unfit(f"{field}.columns.{place}", there, f"Name the one that holds the {usual}.")
        if by_name[name].type != "string":
            raise _unfit(f"{field}.columns.{place}", f"column {name!r} holds {_kind(by_name[name])}, and the {usual} is text")
        found.append(name)
    start = by_name.get("answer_start")
    if start is not None and (start.shape or "int" not in start.type):
        raise _unfit(field, f"column 'answer_start' holds {_kind(start)}, and the number of a character is needed")
    *texts, label = found
    return Chosen(features=texts, label=label, shape=(), texts=2, answers="span", start="answer_start" if start else None)


def _pair_columns(by_name: dict[str, Column], wanted: Columns, field: str) -> Chosen:
    target = wanted.label or next((name for name in TARGETS if name in by_name), None)
    if target is None or target not in by_name:
        missing = f"there is no column {wanted.label!r}" if wanted.label else "no column is called `target`"
        cure = "Name the one with the texts to be written."
        raise _unfit(f"{field}.columns.label", f"{missing}; the columns are {', '.join(by_name)}", cure)
    if by_name[target].type != "string":
        raise _unfit(f"{field}.columns.label", f"column {target!r} holds {_kind(by_name[target])}, and text is to be written")
    if wanted.text_pair is not None:
        raise _unfit(f"{field}.columns.text_pair", "one text is made of one other; leave this out")
    others = {name: column for name, column in by_name.items() if name != target and name != "text_pair"}
    found = _text_columns(others, wanted if wanted.text else Columns(text="source" if "source" in others else None), "", field, "seq2seq")
    return found.model_copy(update={"label": target})


def test_split(source: Source, train: Source, splits: Sequence[str]) -> str:
    """The split to measure on where `source` names none: `test`, or the only one of data that are not those trained on."""
    return splits[0] if len(splits) == 1 and source.key != train.key else "test"


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
    if TASKS[spec.task].labelled and len(train.classes) < (1 if train.answers == "classes" else 2):
        raise _unfit("data.train", f"there is only one class ({', '.join(train.classes)}); nothing can be told apart")
    if test is not None:
        if (test.shape, test.texts) != (train.shape, train.texts):
            raise _unfit("data.test", f"its rows {_seen(test)}, those of data.train {_seen(train).removeprefix('have shape ')}")
        if test.answers != train.answers:
            raise _unfit("data.test", f"its labels are {LABELLED[test.answers]}, those of data.train {LABELLED[train.answers]}")
        unseen = [name for name in test.classes if name not in train.classes]
        if unseen:
            raise _unfit("data.test", f"it has classes that data.train lacks: {', '.join(unseen[:5])}")
    if spec.data.augment is not None and len(train.shape) != 3:
        raise _unfit("data.augment", f"crops and flips need images with height and width; these rows have shape {list(train.shape)}")
    if spec.described is not None:
        _check_architecture(spec.described, train)
    for field, made_for in models.items():
        _check_made_for(field, made_for, train)


def _check_made_for(field: str, made_for: DataShape, train: DataShape) -> None:
    if field == "tokenizer":
        if not made_for.texts:
            raise _unfit(field, "that network reads numbers and has no tokenizer")
        return
    if (made_for.shape, made_for.texts > 0) != (train.shape, train.texts > 0):
        raise _unfit(field, f"it was made for rows {_of(made_for)}; data.train has {_of(train).removeprefix('of shape ')}")
    if train.speaks:
        if field == "teacher" and made_for.answers != train.answers:
            raise _unfit(field, f"it is no network for {train.answers}", "Train one first: kind: train.")
        return
    if (made_for.classes or "span" in (made_for.answers, train.answers)) and made_for.answers != train.answers:
        if field != "teacher" and made_for.texts:
            return  # it gets a new head
        raise _unfit(field, f"it tells {TOLD[made_for.answers]}; data.train has {TOLD[train.answers]}", "Train it first: kind: train.")
    if train.answers == "span":
        return
    if made_for.texts and not made_for.classes:
        if field != "teacher":
            return  # it gets a new head
        raise _unfit(field, "it was taught no classes and has none to tell", "Train it first: kind: train, student: {model: …}.")
    if made_for.classes != train.classes:
        raise _unfit(field, f"it knows {_listed(made_for.classes)}; data.train has {_listed(train.classes)}")


def _seen(rows: DataShape) -> str:
    return ("hold one text", "hold two texts")[rows.texts - 1] if rows.texts else f"have shape {list(rows.shape)}"


def _of(rows: DataShape) -> str:
    return "of text" if rows.texts else f"of shape {list(rows.shape)}"


LISTS_OF_TEXT = "Lists of text come in .jsonl and .parquet files."
LABELLED = {"class": "single ones", "classes": "lists", "tags": "lists"}
TOLD = {
    "class": "one class for each row",
    "classes": "any number of classes for each row",
    "tags": "a tag for each word",
    "span": "where an answer stands",
}
MAX_PARAMETERS = 2_000_000_000


def _check_architecture(architecture: _Architecture, train: DataShape) -> None:
    reason = architecture.refuses(train.shape)
    if reason:
        raise _unfit("student.arch", reason, "Use mlp or logistic, or data with images.")
    count = architecture.parameters(train.shape or (1,), len(train.classes))
    if count > MAX_PARAMETERS:
        raise _unfit("student", f"it would have {count:,} parameters; at most {MAX_PARAMETERS:,} are accepted", "Use narrower layers.")


def _listed(classes: list[str]) -> str:
    return f"{len(classes)} classes ({', '.join(classes[:5])}{', …' if len(classes) > 5 else ''})"


def _unfit(param: str, detail: str, hint: str | None = None) -> InvalidSpec:
    return InvalidSpec(f"{param}: {detail}", code=ErrorCode.DOES_NOT_FIT, param=param, hint=hint)
