"""Real sentences that need no download: the docstrings of Python's own library, and what the module they stand in is about."""

import ast
import sysconfig
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.errors import JobError
from contract.registry import BUILTINS

MODULES = {
    "code": "abc ast code codeop contextlib copy dataclasses dis enum functools importlib inspect modulefinder operator pkgutil pyclbr "
    "symtable tokenize types typing weakref",
    "files": "_pyio bz2 configparser csv dbm filecmp fileinput genericpath glob gzip lzma mimetypes ntpath os pathlib plistlib posixpath "
    "shelve shutil tarfile tempfile zipfile",
    "networks": "asyncio email ftplib http imaplib ipaddress mailbox poplib selectors smtplib socket socketserver ssl urllib wsgiref "
    "xmlrpc",
    "numbers": "_pydatetime _pydecimal _strptime bisect calendar colorsys datetime fractions heapq numbers random statistics zoneinfo",
    "tests": "bdb cProfile doctest logging pdb profile pstats timeit trace traceback unittest warnings",
}
FEWEST_WORDS = 4
LONGEST = 1000  # characters


@cache
def docstrings() -> dict[str, tuple[NDArray[np.generic], NDArray[np.generic]]]:
    """Texts and topics of each split. Which docstrings there are depends on the version of Python; their number does not."""
    rows = BUILTINS["docstrings"].rows
    of_each = {split: count // len(MODULES) for split, count in rows.items()}
    found: dict[str, list[tuple[int, str, str]]] = {split: [] for split in rows}
    taken: set[str] = set()
    for topic in MODULES:
        # By their hash: an order that has nothing to do with the modules, and that another version of Python hardly changes.
        ordered = sorted((sha256(text.encode()).hexdigest(), text, topic) for text in set(_texts(topic)) - taken)
        taken |= {text for _, text, _ in ordered}
        if len(ordered) < sum(of_each.values()):
            raise JobError(
                f"docstrings: the standard library here has {len(ordered)} on {topic}, and {sum(of_each.values())} are needed.",
                hint="This Python was installed without the sources of its library; use another one.",
            )
        for split, count in of_each.items():
            found[split] += [(rank, topic, text) for rank, (_, text, topic) in enumerate(ordered[:count])]
            ordered = ordered[count:]
    return {split: _columns(sorted(some)) for split, some in found.items()}


def _columns(rows: list[tuple[int, str, str]]) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """One of each topic in turn, so that the first rows are a sample of all."""
    return np.array([text for _, _, text in rows], dtype=object), np.array([topic for _, topic, _ in rows], dtype=object)


def _texts(topic: str) -> Iterator[str]:
    for module in modules(topic):
        for said in _docstrings(module):
            words = said.partition(">>>")[0].split()
            if len(words) >= FEWEST_WORDS:
                yield " ".join(words)[:LONGEST]


def modules(topic: str) -> Iterator[ast.Module]:
    """The sources of the library's modules on a topic."""
    library = Path(sysconfig.get_paths()["stdlib"])
    for name in MODULES[topic].split():
        single = library / f"{name}.py"
        for path in [single] if single.exists() else sorted((library / name).rglob("*.py")):
            yield ast.parse(path.read_bytes())


def _docstrings(node: ast.AST) -> Iterator[str]:
    """Of the classes and functions in it, and of those in them."""
    for inner in getattr(node, "body", ()):
        if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield ast.get_docstring(inner) or ""
            yield from _docstrings(inner)
