"""docs/reference/cli.md: every command's own help, word for word."""

from typing import Any

from docgen.text import table
from potstill.cli import app, failures
from potstill.errors import JobCancelled, JobFailed, Unauthorized, WaitTimeout

INTRO = """# The command line

Data goes to stdout, everything else to stderr. `--json` prints JSON, one line each where a command streams. Without a terminal,
output is plain lines; `NO_COLOR` is honoured. Ctrl-C on `watch` and `logs -f` detaches, and the job goes on.
"""

EXIT_CODES = [
    (0, "done; of `watch`, `submit --watch`: the job succeeded"),
    (1, "an error; stderr says which, and what to do"),
    (2, "wrong usage"),
    (failures.EXIT_CODES[Unauthorized], "no key, or not a valid one"),
    (failures.EXIT_CODES[JobFailed], "the job failed"),
    (failures.EXIT_CODES[JobCancelled], "the job was cancelled"),
    (failures.EXIT_CODES[WaitTimeout], "`--timeout` is over; the job goes on"),
    (130, "Ctrl-C"),
]


def page() -> str:
    root = app.build()
    parts = [INTRO, "## Exit codes", table(["code", "meaning"], [(str(code), meaning) for code, meaning in EXIT_CODES])]
    for panel, entries in app.PANELS.items():
        parts.append(f"## {panel}")
        for name in entries:
            parts += _command(name, app._load(name), _context(root, "potstill", None))
    return "\n\n".join(parts)


def _command(name: str, command: Any, parent: Any) -> list[str]:
    here = _context(command, name, parent)
    found = [f"### `potstill {name}`", _help(here)]
    for inner, below in sorted(getattr(command, "commands", {}).items()):
        found += [f"#### `potstill {name} {inner}`", _help(_context(below, inner, here))]
    return found


def _context(command: Any, name: str, parent: Any) -> Any:
    """What the command line knows when it prints this command's help, on a terminal of 100 columns."""
    return command.context_class(
        command, info_name=name, parent=parent, terminal_width=100, max_content_width=100, **command.context_settings
    )


def _help(context: Any) -> str:
    return f"```text\n{context.get_help().strip()}\n```"
