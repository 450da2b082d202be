"""A second question about texts that need no download, beside their topic: docstrings of functions of Python's own library, and whether
the function gives a value back."""

import ast
from collections.abc import Iterator
from functools import cache
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from contract.errors import JobError
from contract.registry import BUILTINS
from distill.data.docstrings import FEWEST_WORDS, LONGEST, MODULES, modules

NOTHING, VALUE = "nothing", "value"
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def returns() -> dict[str, tuple[NDArray[np.generic], NDArray[np.generic]]]:
    """Texts and classes of each split, as many of one class as of the other. Which docstrings there are depends on the version of Python;
    their number does not."""
    sizes = BUILTINS["returns"].rows
    unlike = dict(_rows())  # the same text may stand in several functions
    # By their hash: an order that has nothing to do with the modules, and that another version of Python hardly changes.
    ordered = sorted(unlike, key=lambda text: sha256(text.encode()).digest())
    of_each = {name: [text for text in ordered if unlike[text] == name] for name in (NOTHING, VALUE)}
    fewest = min(map(len, of_each.values()))
    if 2 * fewest < sum(sizes.values()):
        raise JobError(
            f"returns: the standard library here has {fewest} such docstrings of a class, and {sum(sizes.values()) // 2} are needed.",
            hint="This Python was installed without the sources of its library; use another one.",
        )
    found, begin = {}, 0
    for split, count in sizes.items():
        pairs = zip(*(texts[begin : begin + count // 2] for texts in of_each.values()), strict=True)
        texts = [text for pair in pairs for text in pair]
        found[split] = np.array(texts, dtype=object), np.array([unlike[text] for text in texts], dtype=object)
        begin += count // 2
    return found


def _rows() -> Iterator[tuple[str, str]]:
    for node in (node for topic in MODULES for module in modules(topic) for node in ast.walk(module)):
        if isinstance(node, FUNCTION):
            words = (ast.get_docstring(node) or "").partition(">>>")[0].split()
            if len(words) >= FEWEST_WORDS:
                yield " ".join(words)[:LONGEST], VALUE if any(map(_gives, _own(node))) else NOTHING


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """What stands in it, functions inside it left out."""
    for inner in ast.iter_child_nodes(node):
        if not isinstance(inner, (*FUNCTION, ast.Lambda, ast.ClassDef)):
            yield inner
            yield from _own(inner)


def _gives(node: ast.AST) -> bool:
    if isinstance(node, ast.Return):
        return node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None)
    return isinstance(node, (ast.Yield, ast.YieldFrom))
