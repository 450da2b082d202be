"""Rows of text with what is to be told of them: a class, several, a tag for each word, where an answer stands, or nothing but the text."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import datafiles
from contract.errors import InvalidData
from distill.data.rows import TextSplit


def split(columns: tuple[list[Any], ...], names: NDArray[Any], answers: str, classes: list[str], where: str) -> TextSplit:
    """columns: one or two of texts, or one of lists of words; names: what is to be told; answers: see DataShape."""
    nothing = torch.zeros(len(names), dtype=torch.int64)
    if answers == "tags":
        tags = datafiles.encode_lists(names, classes, where)
        _refuse_odd_words(columns[0], tags, where)
        return TextSplit(([" ".join(words) for words in columns[0]],), nothing, tags)
    if answers == "classes":
        marks = torch.zeros(len(names), len(classes), dtype=torch.int64)
        for row, of_row in enumerate(datafiles.encode_lists(names, classes, where)):
            marks[row, of_row] = 1
        return TextSplit(columns, marks)
    if answers == "seq2seq":
        return TextSplit(columns, nothing, targets=names.tolist())
    if answers == "class":
        return TextSplit(columns, torch.from_numpy(np.asarray(datafiles.encode_labels(names, classes, where))))
    return TextSplit(columns, nothing)


def questions(columns: tuple[list[str], ...], answers: list[str], starts: list[int] | None, where: str) -> TextSplit:
    """columns: questions and the texts their answers stand in; starts: the first character of each, the first such place when None."""
    spans = []
    for row, (context, answer) in enumerate(zip(columns[1], answers, strict=True)):
        start = context.find(answer) if starts is None else starts[row]
        if not answer or start < 0 or context[start : start + len(answer)] != answer:
            place = "in its context" if starts is None else f"at character {start} of its context"
            raise InvalidData(
                f"{where}: row {row + 1} has the answer {answer[:100]!r}, which does not stand {place}.",
                param=where,
                hint="Answers are parts of their context, letter by letter.",
            )
        spans.append((start, start + len(answer)))
    return TextSplit(columns, torch.zeros(len(answers), dtype=torch.int64), spans=spans)


def _refuse_odd_words(rows: list[tuple[str, ...]], tags: list[list[int]], where: str) -> None:
    for row, (words, of_row) in enumerate(zip(rows, tags, strict=True), start=1):
        if len(words) != len(of_row):
            raise InvalidData(
                f"{where}: row {row} has {len(words)} words and {len(of_row)} tags.", param=where, hint="Give every word one tag."
            )
        odd = next((word for word in words if word.split() != [word]), None)
        if odd is not None:
            raise InvalidData(
                f"{where}: row {row} has the word {odd!r}, which is none.", param=where, hint="A word is one or more characters, no spaces."
            )
    if not any(tags):
        raise InvalidData(f"{where}: there are no words.", param=where)
