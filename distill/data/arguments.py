"""Words and their tags that need no download: docstrings of functions of Python's own library, in which the words that name an argument
of the function are marked. Which words those are can only be told from how they are used."""

import ast
from collections.abc import Iterator
from functools import cache
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from contract.errors import JobError
from contract.registry import BUILTINS
from distill.data.docstrings import FEWEST_WORDS, MODULES, modules

LONGEST = 60  # words
AROUND = ".,:;!?()[]'\"`*"
OTHER, ARGUMENT = "O", "argument"

Row = tuple[tuple[str, ...], tuple[str, ...]]  # words and their tags


@cache
def arguments() -> dict[str, tuple[NDArray[np.generic], NDArray[np.generic]]]:
    """Words and tags of each split. Which docstrings there are depends on the version of Python; their number does not."""
    sizes = BUILTINS["arguments"].rows
    unlike = dict(_rows())  # the same text may stand in several classes
    # By their hash: an order that has nothing to do with the modules, and that another version of Python hardly changes.
    ordered = sorted(unlike.items(), key=lambda row: sha256(" ".join(row[0]).encode()).digest())
    if len(ordered) < sum(sizes.values()):
        raise JobError(
            f"arguments: the standard library here has {len(ordered)} such docstrings, and {sum(sizes.values())} are needed.",
            hint="This Python was installed without the sources of its library; use another one.",
        )
    found, begin = {}, 0
    for split, count in sizes.items():
        part = ordered[begin : begin + count]
        found[split] = (_column([words for words, _ in part]), _column([tags for _, tags in part]))
        begin += count
    return found


def _column(rows: list[tuple[str, ...]]) -> NDArray[np.generic]:
    column = np.empty(len(rows), dtype=object)
    column[:] = rows
    return column


def _rows() -> Iterator[Row]:
    for node in (node for topic in MODULES for module in modules(topic) for node in ast.walk(module)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            words, names = (ast.get_docstring(node) or "").partition(">>>")[0].split()[:LONGEST], _arguments(node)
            tags = tuple(ARGUMENT if word.strip(AROUND) in names else OTHER for word in words)
            if len(words) >= FEWEST_WORDS and ARGUMENT in tags:
                yield tuple(words), tags


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    told = node.args
    return {each.arg for each in (*told.posonlyargs, *told.args, *told.kwonlyargs, told.vararg, told.kwarg) if each is not None} - {"self"}
