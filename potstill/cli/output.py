"""What commands print: data to stdout, everything else to stderr; nothing a service says can command the terminal."""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from rich.console import Console

# Control characters, line separators, surrogates, and the marks that turn the direction of writing.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_COLOURS = {
    "✓": "green", "✗": "red", "!": "yellow",
    "succeeded": "green", "failed": "red", "cancelled": "yellow", "running": "cyan", "paused": "yellow",
}  # fmt: skip


def clean(text: object, keep: str = "") -> str:
    """`text` with everything a terminal would obey written out (\\x1b); characters in `keep` stay."""
    return _UNSAFE.sub(lambda m: m[0] if m[0] in keep else m[0].encode("unicode_escape").decode(), str(text))


@cache
def console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)


def line(mark: str, word: str, text: str, *, hint: str | None = None, stderr: bool = True) -> None:
    """`✓ queued      job_…`, and a hint below."""
    from rich.text import Text

    said = Text.assemble((mark, _COLOURS.get(mark, "")), f" {clean(word):<11} {_indented(text)}")
    console(stderr=stderr).print(said)
    if hint:
        console(stderr=stderr).print(Text(" " * 14 + _indented(hint), "dim"))


def _indented(text: str) -> str:
    """Further lines stand below the first, where none of them can pass for a line of ours."""
    return clean(text, keep="\n").replace("\n", "\n" + " " * 14)


def note(text: str) -> None:
    """A remark for the person at the terminal."""
    from rich.text import Text

    console(stderr=True).print(Text(clean(text), "dim"))


def emit(value: Any, *, stream: bool = False) -> None:
    """JSON to stdout: one line each while streaming or piped, indented for a reader. ASCII, so no terminal obeys it."""
    print(json.dumps(plain(value), indent=2 if sys.stdout.isatty() and not stream else None), flush=stream)


def plain(value: Any) -> Any:
    """Views as the JSON they came from."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [plain(item) for item in value] if isinstance(value, list) else value


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns: coloured and fitted on a terminal, plain and never cut elsewhere."""
    headers = [clean(header) for header in headers]
    cells = [[_cell(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
        for row in (list(headers), *cells):
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for i, header in enumerate(headers):
        shown.add_column(header, no_wrap=i == 0, overflow="fold")
    for row in cells:
        shown.add_row(*(Text(cell, _COLOURS.get(cell, "")) for cell in row))
    console().print(shown, soft_wrap=False)


def fields(pairs: Iterable[tuple[str, object]]) -> None:
    """`name   value` lines; those without a value are left out."""
    given = [(clean(name), _cell(value)) for name, value in pairs if value not in (None, "", [], {})]
    width = max((len(name) for name, _ in given), default=0)
    for name, value in given:
        print(f"{name:<{width}}  {value}")


def _cell(value: object) -> str:
    """Text as it is, None as nothing, anything else as JSON writes it."""
    if value is None:
        return ""
    return clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


def size(count: int) -> str:
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.{0 if unit == 'B' else 1}f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def compact(count: float) -> str:
    """1,797 · 2.4 k · 66 M."""
    if count < 2000:
        return f"{count:,.0f}"
    for unit in ("k", "M"):
        count /= 1000
        if count < 1000:
            return f"{count:.{1 if count < 10 else 0}f} {unit}"
    return f"{count / 1000:.1f} G"


def duration(seconds: float) -> str:
    """4.1 s · 3:05 · 2:03:05."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def clock(seconds: float) -> str:
    """Remaining time: 0:01."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def age(moment: datetime) -> str:
    """How long ago, in the largest unit that fits."""
    seconds = max(0.0, (datetime.now(UTC) - moment).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
