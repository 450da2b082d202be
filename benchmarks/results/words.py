"""How figures are said: never more than their interval shows."""

import textwrap
from collections.abc import Sequence
from typing import Any

from contract.evidence import Statistic

NOT_SHOWN = "no difference shown"
WIDTH = 140


def verdict(gain: Statistic) -> str:
    low, high = gain["ci95"]
    return "helped" if low > 0 else "hurt" if high < 0 else NOT_SHOWN


def points(share: float, digits: int = 1, factor: float = 100) -> str:
    """A difference of shares in points of a hundred; with factor 1 of what is no share."""
    return f"{factor * share:+.{digits}f}".replace("-", "−")


def interval(gain: Statistic, digits: int = 1, factor: float = 100) -> str:
    mean, low, high = (points(share, digits, factor) for share in (gain["mean"], *gain["ci95"]))
    return f"{mean} ({low} to {high})"


def percent(found: Statistic, digits: int = 1, factor: float = 100) -> str:
    spread = f" ± {factor * found['std']:.{digits}f}" if len(found["values"]) > 1 else ""
    return f"{factor * found['mean']:.{digits}f}{spread}"


def listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def wrapped(page: str) -> str:
    """Markdown with its paragraphs filled to one width; tables, pictures, headings and code stay as they are."""
    blocks = page.strip().split("\n\n")
    return "\n\n".join(block if block.startswith(("|", "#", "!", "```")) else _filled(block) for block in blocks)


def _filled(paragraph: str) -> str:
    return textwrap.fill(paragraph, WIDTH, break_long_words=False, break_on_hyphens=False)
