"""How this package says no: one error class, always with the place and the cure."""

from collections.abc import Sequence

from contract.errors import InvalidData

LONGEST_SHOWN = 80
FEW = 5


def refuse(detail: str, hint: str) -> InvalidData:
    """The error to raise: `detail` says what is wrong and where, `hint` what to do now."""
    return InvalidData(detail, param="file", hint=hint)


def plain(text: object) -> str:
    """Text that a file can have a say in (other people's error messages above all), fit for ours: short, no control characters."""
    line = str(text)
    line = line if line.isprintable() else ascii(line)[1:-1]
    return line if len(line) <= LONGEST_SHOWN else line[: LONGEST_SHOWN - 1] + "…"


def shown(text: str) -> str:
    """A name or value from the file."""
    return f"`{plain(text)}`"


def listed(names: Sequence[str]) -> str:
    """The first few of names that may be very many."""
    return ", ".join(map(shown, names[:FEW])) + (f" and {len(names) - FEW:,} more" if len(names) > FEW else "")


def size_text(size: int) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size} {unit}"
        size //= 1024
    return f"{size:,} GiB"
