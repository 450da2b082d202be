"""The documentation as data: pages, their fenced blocks, the commands in them and what each is said to print."""

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
FENCE = re.compile(r"^(`{3,})([\w-]*)\s*$")


@dataclass
class Block:
    """A fenced block: its language, first line (from 1) and lines; `not_run` is the reason in the marker above it."""

    page: Path
    language: str
    line: int
    lines: list[str]
    not_run: str | None = None

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass
class Command:
    """What is typed, and the lines that are said to come."""

    text: str
    place: str
    language: str = "bash"
    strict: bool = False  # of several lines, none may fail
    says: list[str] = field(default_factory=list)


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    reason, ticks = None, ""
    for number, line in enumerate(page.read_text("utf-8").splitlines(), start=1):
        fence = FENCE.match(line)
        if ticks:
            if line.strip() == ticks:
                ticks = ""
            else:
                found[-1].lines.append(line)
        elif fence:
            ticks = fence[1]
            found.append(Block(page, fence[2], number + 1, [], reason))
            reason = None
        elif marker := NOT_RUN.fullmatch(line.strip()):
            reason = marker[1]
        elif line.strip():
            reason = None  # a marker speaks of the next block alone
    assert not ticks, f"{page}: a block is not closed"
    return found


def commands(page: Path) -> list[Command]:
    """Everything on the page that is run, in order. A `text` block right after a `python` one is what that prints."""
    found: list[Command] = []
    before: Block | None = None
    for block in blocks(page):
        if block.not_run is None:
            if block.language == "bash":
                found.append(Command(block.text, block.place, strict=True))
            elif block.language == "console":
                found += _typed(block)
            elif block.language == "python":
                found.append(Command(block.text, block.place, "python"))
            elif block.language == "text" and before is not None and before.language == "python" and before.not_run is None:
                found[-1].says = block.lines
        before = block
    return found


def _typed(block: Block) -> list[Command]:
    """`$ ` begins a command, `> ` continues it, everything else is output."""
    found: list[Command] = []
    for offset, line in enumerate(block.lines):
        if line.startswith("$ "):
            found.append(Command(line[2:], f"{block.page.relative_to(ROOT)}:{block.line + offset}"))
        elif line.startswith("> ") and found and not found[-1].says:
            found[-1].text += "\n" + line[2:]
        else:
            assert found, f"{block.place}: output before a command"
            found[-1].says.append(line)
    return found


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
