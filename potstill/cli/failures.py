"""Exceptions → one line on stderr, a hint, and the exit code: 1 error · 4 auth · 5 job failed · 6 job cancelled · 7 timeout.

0 is success, 2 wrong usage (typer's) or a start that would let strangers in, 130 Ctrl-C.
"""

import json
import sys
from pathlib import Path

from potstill.cli.output import line
from potstill.errors import Exposed, Forbidden, JobCancelled, JobFailed, PotstillError, Unauthorized, WaitTimeout

EXIT_CODES: dict[type[PotstillError], int] = {Exposed: 2, Unauthorized: 4, Forbidden: 4, JobFailed: 5, JobCancelled: 6, WaitTimeout: 7}
OURS = frozenset({"contract", "datafiles", "distill", "models", "migrations", "api", "worker", "potstill"})
SERVER_PARTS = "Install the part that runs jobs: pip install 'potstill[worker]'."


def explain(error: Exception) -> int | None:
    """The exit code, once the error is told; None for one that is a bug of ours and deserves its traceback."""
    if isinstance(error, PotstillError):
        _tell(error)
        return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.split(".")[0] not in OURS:
        line("✗", "error", f"This command needs {error.name}, which is not installed.", hint=SERVER_PARTS)
        return 1
    if isinstance(error, OSError):
        missing = f"Relative paths start at {Path.cwd()}." if isinstance(error, FileNotFoundError) and error.filename else None
        line("✗", "error", f"{error.filename}: {error.strerror}" if error.filename else str(error), hint=missing)
        return 1
    return None


def _tell(error: PotstillError) -> None:
    if "--json" in sys.argv:
        fields = {name: getattr(error, name) for name in ("code", "detail", "param", "hint", "request_id")}
        print(json.dumps({"error": fields | {"errors": [e.model_dump() for e in error.errors]}}), file=sys.stderr)
        return
    line("✗", "error", error.detail, hint=error.hint)
    if len(error.errors) > 1:  # the detail names the first
        for one in error.errors[1:]:
            line(" ", "", f"{one.pointer}: {one.message}")
    if error.code == "internal_error" and error.request_id:
        line(" ", "", f"The service's log has more under {error.request_id}.")
