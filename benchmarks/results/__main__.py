"""`python -m benchmarks.results [primer] [features] [sst2] … [sweep] [page]`: the named parts one after another, or all of them.
`--together` runs the named ones on one service at once, which is faster; what they took is then not told.
"""

import signal
import sys

from benchmarks.results import parts, runner, sizes, trials


def page() -> None:
    from benchmarks.results import page as writer  # only here is the plotting library needed

    writer.write()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a time limit ends the service as well
    together = "--together" in sys.argv[1:]
    known = {part.name: part for part in parts.PARTS}
    measured = {"sizes": sizes.measure, "sweep": trials.measure}  # these are more than jobs
    every = [*known, *measured, "page"]
    asked = [name for name in sys.argv[1:] if name != "--together"] or every
    if unknown := [name for name in asked if name not in every]:
        raise SystemExit(f"There is no part {', '.join(unknown)}; there are {', '.join(every)}.")
    wanted = [known[name] for name in asked if name in known]
    for group in [wanted] if together else [[part] for part in wanted]:
        runner.run(*group)
    for name, measure in measured.items():
        if name in asked:
            measure(parts.mnist())
    if "page" in asked:
        page()
