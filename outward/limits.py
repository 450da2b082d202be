"""What an endpoint says of when it wants to be asked again: Retry-After (RFC 9110, 10.2.3), and the headers of OpenAI and its kin."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import uniform

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def backoff(failures: int, longest: float = 30.0) -> float:
    """Seconds to wait after so many failures in a row: doubling, with jitter, so that many do not come back in step."""
    return min(longest, 0.5 * 2.0 ** min(failures - 1, 16)) * uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


def asked_to_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds, by the headers of a refusal; None where they say nothing."""
    milliseconds = headers.get("retry-after-ms")
    if milliseconds is not None and (found := _number(milliseconds)) is not None:
        return found / 1000
    written = headers.get("retry-after")
    return _seconds_until(written) if written is not None else None


def used_up(headers: Mapping[str, str]) -> float | None:
    """Seconds until there are requests or tokens again, where an answer says that none are left."""
    waits = [
        _duration(headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{what}") == "0"
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def _seconds_until(written: str) -> float | None:
    if (found := _number(written)) is not None:
        return found
    try:
        at = parsedate_to_datetime(written)
    except ValueError:
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())


def _duration(written: str) -> float | None:
    """`6m0s`, `20ms` or `1.5`."""
    if (found := _number(written)) is not None:
        return found
    parts = _PART.findall(written)
    return sum(float(number) * _UNITS[unit] for number, unit in parts) if parts else None


def _number(written: str) -> float | None:
    try:
        found = float(written)
    except ValueError:
        return None
    return found if 0 <= found < 1e9 else None
