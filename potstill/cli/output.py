"""What commands print: data to stdout, everything else to stderr; nothing a service says can command the terminal."""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from contract.units import age, clock, compact, duration, size

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["age", "clean", "clock", "compact", "console", "duration", "emit", "fields", "line", "note", "plain", "prose", "size", "table"]

INDENT = 14  # where `line` puts its text
GAP = 2  # spaces between columns
SHORTEST = 10  # of a column that may be cut
UNBROKEN = "\u00a0"
NARROWEST = 20  # columns below which breaking between words helps nobody
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

    screen = console(stderr=stderr)
    said = Text.assemble((mark, _COLOURS.get(mark, "")), f" {clean(word):<11} {_indented(screen, text)}")
    screen.print(said)
    if hint:
        screen.print(Text(" " * INDENT + _indented(screen, hint), "dim"))


def _indented(screen: "Console", text: str, indent: int = INDENT) -> str:
    """Further lines stand below the first, where none of them can pass for a line of ours; a terminal's end between words."""
    lines = clean(text, keep="\n").split("\n")
    if screen.is_terminal and (width := screen.width - indent) >= NARROWEST:
        lines = [part for line in lines for part in wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""]]
    return ("\n" + " " * indent).join(lines)


def note(text: str) -> None:
    """A remark for the person at the terminal."""
    from rich.text import Text

    console(stderr=True).print(Text(clean(text), "dim"))


def prose(text: str) -> None:
    """Sentences to stdout, on a terminal broken between words."""
    print(_indented(console(), text, 0), flush=True)


def secret(text: str | None, of: str, cure: str) -> str:
    """A secret as it is shown once. PotstillError where the service had said it before: its answer was lost on the way."""
    from contract.errors import PotstillError

    if text is None:
        raise PotstillError(f"{of} is there, but its secret was in an answer that did not arrive, and is not said twice.", hint=cure)
    return clean(text)


def emit(value: Any, *, stream: bool = False) -> None:
    """JSON to stdout: one line each while streaming or piped, indented for a reader. ASCII, so no terminal obeys it."""
    print(json.dumps(plain(value), indent=2 if sys.stdout.isatty() and not stream else None), flush=stream)


def plain(value: Any) -> Any:
    """Views as the JSON they came from."""
    if hasattr(value, "model_dump"):  # a pydantic model; pydantic itself takes longer to load than help takes to read
        return value.model_dump(mode="json")
    return [plain(item) for item in value] if isinstance(value, list) else value


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, cut: int | None = None) -> None:
    """Columns, plain and never cut; on a terminal coloured and broken between words, the column `cut` shortened where it must be. Where
    even that does not fit, each row becomes a paragraph."""
    headers = [clean(header) for header in headers]
    cells = [[_cell(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
        for row in (list(headers), *cells):
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    from rich.table import Table
    from rich.text import Text

    columns, gaps = list(zip(headers, *cells, strict=True)), GAP * (len(headers) - 1)
    natural = [max(map(len, column)) for column in columns]
    least = [max((len(word) for cell in column for word in cell.split()), default=0) for column in columns]
    if cut is not None:
        least[cut] = min(natural[cut], SHORTEST)
    if sum(least) + gaps > console().width:
        _paragraphs(headers, cells)
        return
    shown = Table(box=None, pad_edge=False, header_style="dim", padding=(0, GAP, 0, 0), collapse_padding=True)
    for i, (header, width) in enumerate(zip(headers, _widths(natural, least, console().width - gaps, cut), strict=True)):
        shown.add_column(header, no_wrap=i in (0, cut), overflow="ellipsis", width=width)
    for row in cells:
        shown.add_row(*(Text(cell, _colour(header, cell)) for header, cell in zip(headers, row, strict=True)))
    console().print(shown, soft_wrap=False)


def _widths(natural: Sequence[int], least: Sequence[int], room: int, cut: int | None) -> list[int]:
    """Of columns that together have `room`: the one that may be cut gives first, then whoever can spare most."""
    widths = list(natural)
    if cut is not None:
        widths[cut] = max(least[cut], min(natural[cut], room - sum(natural) + natural[cut]))
    while sum(widths) > room:
        widths[max(range(len(widths)), key=lambda i: widths[i] - least[i])] -= 1
    return widths


def _paragraphs(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A line with what the row is called, and below it the rest, each with its header."""
    from rich.text import Text

    for row in rows:
        called, *rest = [f"{header.lower()} {cell}" for header, cell in zip(headers, row, strict=True) if cell]
        console().print(Text(called.removeprefix("id ").strip(), "bold"))
        whole = [part.replace(" ", UNBROKEN) if len(part) < console().width - 6 else part for part in rest]
        console().print(Text("  " + _indented(console(), " · ".join(whole), 2).replace(UNBROKEN, " ")))


def _colour(header: str, cell: str) -> str:
    return _COLOURS.get(cell.partition(" ")[0], "") if header in ("STATUS", "STATE") else ""


def fields(pairs: Iterable[tuple[str, object]]) -> None:
    """`name   value` lines; those without a value are left out."""
    given = [(clean(name), _cell(value)) for name, value in pairs if value not in (None, "", [], {})]
    width = max((len(name) for name, _ in given), default=0)
    for name, value in given:
        print(f"{name:<{width}}  {_indented(console(), value, width + 2)}")


def _cell(value: object) -> str:
    """Text as it is, None as nothing, anything else as JSON writes it."""
    if value is None:
        return ""
    return clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
