"""Rows of text made of others by changing their words. What is drawn for a row depends on its number alone: every seed and arm learns from
the same rows, and the teacher's answers to them are kept like any other.

A word is a run of letters and digits, or one other character that is no space (as BERT's basic tokenizer cuts them).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from contract.words import TangWords
from distill.data.rows import TextSplit
from distill.device import derived_seed

SPELLED = re.compile(r"\w+")
WORD = re.compile(rf"{SPELLED.pattern}|[^\w\s]")
LONGEST = 5  # words of an n-gram
Change = Callable[[int, int, np.random.Generator], str]  # column and row → the text in its place


def spans(text: str) -> list[tuple[int, int]]:
    """The characters [first, last) of each word."""
    return [found.span() for found in WORD.finditer(text)]


def with_copies(split: TextSplit, copies: int, change: Change) -> TextSplit:
    """The rows as they are, and behind them `copies` changed ones of each, with its label. Of pairs the first text is changed, then the
    second, then both, and so on (Tang et al. 2019, section 3.2)."""
    made = tuple(list(column) for column in split.texts)
    for row in range(len(split)):
        draw = np.random.default_rng(derived_seed("words", row))
        for copy in range(copies):
            for number, column in enumerate(split.texts):
                changed = len(made) == 1 or copy % 3 in (number, 2)
                made[number].append(change(number, row, draw) if changed else column[row])
    again = torch.arange(len(split)).repeat_interleave(copies)
    return replace(split, texts=made, labels=torch.cat([split.labels, split.labels[again]]))


def hidden(text: str, rules: TangWords, draw: np.random.Generator, others: Sequence[Sequence[str]] = ()) -> str:
    """Each word hidden with probability `mask`, or with probability `pos` replaced by one of the `others` that may stand in its place; with
    probability `ngram` cut to n words in a row, n ~ U{1, …, 5}, or as many as there are (Tang et al. 2019, section 3.2)."""
    words = spans(text)
    x = draw.random(len(words))
    masked = {int(number): rules.mask_token for number in np.flatnonzero(x < rules.mask)}
    if rules.pos:
        which = draw.random(len(words))
        chosen = np.flatnonzero((rules.mask <= x) & (x < rules.mask + rules.pos))
        masked |= {n: others[n][int(which[n] * len(others[n]))] for n in map(int, chosen) if others[n]}
    if not words or draw.random() >= rules.ngram:
        return _spelled(text, words, masked)
    n = min(int(draw.integers(1, LONGEST + 1)), len(words))
    first = int(draw.integers(0, len(words) - n + 1))
    start, end = words[first][0], words[first + n - 1][1]
    kept = [(a - start, b - start) for a, b in words[first : first + n]]
    return _spelled(text[start:end], kept, {number - first: word for number, word in masked.items() if first <= number < first + n})


def replaced(text: str, expected: Mapping[int, Sequence[str]], share: float, draw: np.random.Generator) -> str:
    """Each word that has `expected` ones in its place is replaced by one of them with probability `share` (Jiao et al., algorithm 1)."""
    words = spans(text)
    chosen, which = draw.random(len(words)) <= share, draw.random(len(words))
    put = {number: others[int(which[number] * len(others))] for number, others in expected.items() if chosen[number]}
    return _spelled(text, words, put)


def _spelled(text: str, words: Sequence[tuple[int, int]], put: Mapping[int, str]) -> str:
    """The text with other words in the place of some; what stands between them stays."""
    parts, last = [], 0
    for number in sorted(put):
        start, end = words[number]
        parts += [text[last:start], put[number]]
        last = end
    return "".join([*parts, text[last:]])
