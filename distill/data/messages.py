"""Parallel text that needs no download: the messages of an installed web framework and their translations, from its gettext catalogues."""

import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from gettext import GNUTranslations
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.errors import JobError
from contract.registry import BUILTINS

PACKAGE, LANGUAGE = "django", "fr"
MARKUP = frozenset("<>{}%\n&$_|\\")  # of messages with something to be filled in
LONGEST = 200  # characters
CONTEXT = "\x04"  # stands between what tells equal messages apart and the message


@cache
def messages() -> dict[str, tuple[NDArray[np.generic], NDArray[np.generic]]]:
    """English and French of each split. Which messages there are depends on the framework's version; their number does not."""
    sizes = BUILTINS["messages"].rows
    # By their hash: an order that has nothing to do with where they stand, and that another version hardly changes.
    ordered = sorted(pairs(catalogues([PACKAGE], LANGUAGE)).items(), key=lambda pair: sha256(pair[0].lower().encode()).digest())
    if len(ordered) < sum(sizes.values()):
        raise JobError(
            f"messages: {len(ordered)} translated messages were found where the job runs, and {sum(sizes.values())} are needed.",
            hint="They are Django's: pip install 'potstill[messages]' on the machine of the worker.",
        )
    found, begin = {}, 0
    for split, count in sizes.items():
        sources, targets = zip(*ordered[begin : begin + count], strict=True)
        found[split] = np.array(sources, dtype=object), np.array(targets, dtype=object)
        begin += count
    return found


def pairs(paths: Iterable[Path]) -> dict[str, str]:
    """English → its translation, as the catalogues have it, capitals and all; of equal English ones the first."""
    found: dict[str, str] = {}
    for path in sorted(paths):
        with path.open("rb") as file:
            known: dict[str | tuple[str, int], str] = GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        for key, translated in known.items():
            if isinstance(key, tuple):  # forms for one and for many
                continue
            source, target = key.partition(CONTEXT)[2].strip() or key.strip(), translated.strip()
            if not MARKUP & {*source, *target} and 2 <= len(source) <= LONGEST and 2 <= len(target) <= LONGEST and source != target:
                found.setdefault(source, target)
    return found


def catalogues(packages: Iterable[str], language: str) -> Iterator[Path]:
    """The compiled catalogues of those packages that are installed."""
    for package in packages:
        try:
            found = importlib.util.find_spec(package)
        except ModuleNotFoundError:  # the package above it
            continue
        for folder in (found.submodule_search_locations or []) if found is not None else []:
            yield from Path(folder).rglob(f"{language}/LC_MESSAGES/*.mo")
