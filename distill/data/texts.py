"""Rows of text with what is to be told of them: a class, several, a tag for each word, or nothing but the text."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import datafiles
from contract.errors import InvalidData
from distill.data.rows import TextSplit


def split(columns: tuple[list[Any], ...], names: NDArray[Any], answers: str, classes: list[str], where: str) -> TextSplit:
    """columns: one or two of texts, or one of lists of words; names: the column with the answers; answers: see contract.fit.DataShape."""
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
    if answers == "class":
        return TextSplit(columns, torch.from_numpy(np.asarray(datafiles.encode_labels(names, classes, where))))
    return TextSplit(columns, nothing)


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
