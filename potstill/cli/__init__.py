"""The command line: one command is run, and what goes wrong becomes a line, a hint and an exit code (see failures.py)."""

import io
import sys


def main() -> None:
    from potstill.cli.app import build

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ✓ shows ?, and does not end the command
    try:
        build()(prog_name="potstill")
    except Exception as error:
        from potstill.cli.failures import explain

        code = explain(error)
        if code is None:
            raise
        sys.exit(code)
