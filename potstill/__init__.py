"""Potstill for Python: submit distillation jobs, follow them, pull their students.

    from potstill import Client

    client = Client()  # POTSTILL_URL, POTSTILL_KEY, or the local key file
    job = client.jobs.submit("digits.yaml")
    for event in job.stream():
        print(event)
    path = job.wait(timeout=600).pull("./student")

Names are loaded when they are first used, so that `potstill --help` does not wait for an HTTP client.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from potstill.client import Client as Client
    from potstill.errors import ChecksumMismatch as ChecksumMismatch
    from potstill.errors import Conflict as Conflict
    from potstill.errors import ConnectionFailed as ConnectionFailed
    from potstill.errors import InvalidData as InvalidData
    from potstill.errors import InvalidSpec as InvalidSpec
    from potstill.errors import JobCancelled as JobCancelled
    from potstill.errors import JobFailed as JobFailed
    from potstill.errors import NotFound as NotFound
    from potstill.errors import PotstillError as PotstillError
    from potstill.errors import Refused as Refused
    from potstill.errors import TooLarge as TooLarge
    from potstill.errors import Unauthorized as Unauthorized
    from potstill.errors import Unavailable as Unavailable
    from potstill.errors import WaitTimeout as WaitTimeout
    from potstill.job import Job as Job

    __version__: str

_HOMES = {
    "potstill.client": ("Client",),
    "potstill.job": ("Job",),
    "potstill.errors": (
        "ChecksumMismatch", "Conflict", "ConnectionFailed", "InvalidData", "InvalidSpec", "JobCancelled", "JobFailed", "NotFound",
        "PotstillError", "Refused", "TooLarge", "Unauthorized", "Unavailable", "WaitTimeout",
    ),
}  # fmt: skip
_HOME = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(_HOME[name]), name)
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("potstill")
        except PackageNotFoundError:  # a checkout nobody installed
            return "0"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__, "__version__"]
