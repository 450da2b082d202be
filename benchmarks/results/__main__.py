"""`python -m benchmarks.results [primer] [features] [sst2] … [page]`: the named parts one after another, or all of them. `--together`
runs the named ones on one service at once, which is faster; what they took is then not told.
"""

import signal
import sys

from benchmarks.results import parts, runner


def page() -> None:
    from benchmarks.results import page as writer  # only here is the plotting library needed

    writer.write()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a time limit ends the service as well
    together = "--together" in sys.argv[1:]
    known = {part.name: part for part in parts.PARTS}
    asked = [name for name in sys.argv[1:] if name != "--together"] or [*known, "page"]
    if unknown := [name for name in asked if name not in {*known, "page"}]:
        raise SystemExit(f"There is no part {', '.join(unknown)}; there are {', '.join(known)} and page.")
    wanted = [known[name] for name in asked if name != "page"]
    for group in [wanted] if together else [[part] for part in wanted]:
        runner.run(*group)
    if "page" in asked:
        page()
