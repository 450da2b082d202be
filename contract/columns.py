"""Which columns of a table a job uses: those it names, or those that are called as one would."""

from collections.abc import Sequence
from math import prod

from pydantic import BaseModel

from contract.column import Column
from contract.registry import TASKS
from contract.shapes import DataShape, input_shape, unfit
from contract.spec import Columns, Source

LABELS = ("label", "y", "labels")
TAGS = ("tags", "ner_tags", "pos_tags", *LABELS)
TEXTS = ("text", "sentence")
WORDS = ("tokens", "words", "text")
TARGETS = ("target", "translation", "summary")
LISTS_OF_TEXT = "Lists of text come in .jsonl and .parquet files."


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
            raise unfit(place, f"there is no column {name!r}; the columns are {', '.join(by_name)}")
        if name == label:
            raise unfit(place, f"{name!r} is the label; a student that sees it has nothing to learn")
        if by_name[name].type in ("string", "strings"):
            raise unfit(place, f"column {name!r} holds text, and {task} needs numbers", "List the numeric ones under columns.features.")
    if not features:
        raise unfit(field, "there is no column besides the label")
    if len(features) == 1:
        return Chosen(features=features, label=label, shape=input_shape(task, by_name[features[0]].shape or [1], field))
    width = sum(prod(by_name[name].shape) for name in features)
    if task == "image-classification" and any(by_name[name].shape for name in features):
        raise unfit(field, "an image must be one column of arrays, or one number for each pixel", "Name it under columns.features.")
    return Chosen(features=features, label=label, shape=(width,))


def _label_column(by_name: dict[str, Column], wanted: Columns, task: str, field: str) -> str:
    tags = TASKS[task].answers == "tags"
    names = TAGS if tags else LABELS
    label = wanted.label or next((name for name in names if name in by_name), None)
    if label is None or label not in by_name:
        called = " or ".join(f"`{name}`" for name in names[:2])
        missing = f"there is no column {wanted.label!r}" if wanted.label else f"no column is called {called}"
        raise unfit(f"{field}.columns.label", f"{missing}; the columns are {', '.join(by_name)}", "Name the one that holds the class.")
    if by_name[label].shape:
        raise unfit(f"{field}.columns.label", f"column {label!r} holds arrays of shape {by_name[label].shape}, not one class for each row")
    if tags and by_name[label].type != "strings":
        raise unfit(
            f"{field}.columns.label", f"column {label!r} holds {_kind(by_name[label])}, and a tag for each word is needed", LISTS_OF_TEXT
        )
    if by_name[label].type == "strings" and TASKS[task].reads != "text":
        raise unfit(f"{field}.columns.label", f"column {label!r} holds lists, and {task} needs one class for each row")
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
        raise unfit(f"{field}.columns.text", f"{why}; the columns are {', '.join(by_name)}", "Name it under columns.text.")
    for place, name in (("text", text), ("text_pair", pair)):
        if name is None:
            continue
        if name not in by_name:
            raise unfit(f"{field}.columns.{place}", f"there is no column {name!r}; the columns are {', '.join(by_name)}")
        if name == label:
            raise unfit(f"{field}.columns.{place}", f"{name!r} is the label; a student that sees it has nothing to learn")
        if by_name[name].type != kind:
            needed = "a list of words is" if kind == "strings" else "text is"
            cure = LISTS_OF_TEXT if kind == "strings" else None
            raise unfit(f"{field}.columns.{place}", f"column {name!r} holds {_kind(by_name[name])}, and {needed} needed", cure)
    features = [text, pair] if pair else [text]
    return Chosen(features=features, label=label, shape=(), texts=len(features), answers=answers)


def _question_columns(by_name: dict[str, Column], wanted: Columns, field: str) -> Chosen:
    found = []
    for place, usual in (("text", "question"), ("text_pair", "context"), ("label", "answer")):
        name = getattr(wanted, place) or usual
        if name not in by_name:
            there = f"there is no column {name!r}; the columns are {', '.join(by_name)}"
            raise unfit(f"{field}.columns.{place}", there, f"Name the one that holds the {usual}.")
        if by_name[name].type != "string":
            raise unfit(f"{field}.columns.{place}", f"column {name!r} holds {_kind(by_name[name])}, and the {usual} is text")
        found.append(name)
    start = by_name.get("answer_start")
    if start is not None and (start.shape or "int" not in start.type):
        raise unfit(field, f"column 'answer_start' holds {_kind(start)}, and the number of a character is needed")
    *texts, label = found
    return Chosen(features=texts, label=label, shape=(), texts=2, answers="span", start="answer_start" if start else None)


def _pair_columns(by_name: dict[str, Column], wanted: Columns, field: str) -> Chosen:
    target = wanted.label or next((name for name in TARGETS if name in by_name), None)
    if target is None or target not in by_name:
        missing = f"there is no column {wanted.label!r}" if wanted.label else "no column is called `target`"
        cure = "Name the one with the texts to be written."
        raise unfit(f"{field}.columns.label", f"{missing}; the columns are {', '.join(by_name)}", cure)
    if by_name[target].type != "string":
        raise unfit(f"{field}.columns.label", f"column {target!r} holds {_kind(by_name[target])}, and text is to be written")
    if wanted.text_pair is not None:
        raise unfit(f"{field}.columns.text_pair", "one text is made of one other; leave this out")
    others = {name: column for name, column in by_name.items() if name != target and name != "text_pair"}
    found = _text_columns(others, wanted if wanted.text else Columns(text="source" if "source" in others else None), "", field, "seq2seq")
    return found.model_copy(update={"label": target})


def test_split(source: Source, train: Source, splits: Sequence[str]) -> str:
    """The split to measure on where `source` names none: `test`, or the only one of data that are not those trained on."""
    return splits[0] if len(splits) == 1 and source.key != train.key else "test"
