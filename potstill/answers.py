"""Answers that are no success → the exception they stand for."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2
from pydantic import ValidationError

from contract.errors import PotstillError, Problem, Unauthorized
from potstill import settings
from potstill.errors import ConnectionFailed

RETRIED = frozenset({429, 502, 503, 504})  # asking again may help
PROXIES_SAY = RETRIED | {401, 403, 413}


def unreachable(url: str, error: Exception) -> ConnectionFailed:
    """Nobody answered, or not to the end."""
    if isinstance(error, httpx2.ConnectError):
        return ConnectionFailed(f"Nothing answers at {url} ({error}).")
    if isinstance(error, httpx2.TimeoutException):
        return ConnectionFailed(f"{url} did not answer in time.", hint="It may be overloaded; `potstill doctor` looks closer.")
    return ConnectionFailed(f"The connection to {url} broke: {error or type(error).__name__}.")


def refusal(url: str, response: httpx2.Response, *, with_key: bool) -> PotstillError:
    """problem+json back into the exception it was made from."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return foreign(url, response)
    error = PotstillError.from_problem(problem.model_dump())
    if isinstance(error, Unauthorized) and not with_key:
        error.hint = f"No key was found: set POTSTILL_KEY, or let `potstill up` write one to {settings.key_file()}."
    return error


def foreign(url: str, response: httpx2.Response) -> PotstillError:
    """An answer that is not in Potstill's words: a proxy's, or that of another service."""
    status = response.status_code
    said = f"{url} answered {status} {response.reason_phrase}".strip()
    if status in PROXIES_SAY:
        return PotstillError.from_problem({"status": status, "detail": f"{said}, not in Potstill's words.", "hint": "A proxy in between?"})
    if response.is_redirect:
        return ConnectionFailed(f"{said} and points to {response.headers['location']}.", hint="Set POTSTILL_URL to that address.")
    kind = response.headers.get("content-type", "no content type").split(";")[0]
    return ConnectionFailed(f"{said} with {kind}: that is not Potstill's API.", hint="Is POTSTILL_URL (or --url) right?")


def retry_after(response: httpx2.Response) -> float | None:
    """Seconds of a Retry-After header, which may also be a date."""
    given = response.headers.get("retry-after", "")
    if given.isdigit():
        return float(given)
    try:
        moment = parsedate_to_datetime(given)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
