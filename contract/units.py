"""Numbers as people read them, the same in the terminal and on the pages."""

from datetime import UTC, datetime


def size(count: float) -> str:
    """2.6 kB · 1.3 GB."""
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
