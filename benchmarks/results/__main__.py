"""`python -m benchmarks.results [primer] [features] [page]`: the named parts, or all of them."""

import os
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks.results import gradients, runner

PRIMER = ("teacher", "own-reduction", "t20", "t4", "t2", "alpha-zero", "alone", "t4-hundred", "t2-hundred")
FEATURES = ("teacher", "logit-mse", "kl")


def primer() -> None:
    runner.run("primer", PRIMER, "ds_MNIST", _mnist)


def features() -> None:
    with tempfile.TemporaryDirectory() as folder:
        runner.run("features", FEATURES, "ds_FEATURES", lambda: gradients.write(_mnist(), Path(folder) / "features.npz"))


def page() -> None:
    from benchmarks.results import page as writer  # only here is the plotting library needed

    writer.write()


def _mnist() -> Path:
    folder = os.environ.get("POTSTILL_TEST_DATA")
    path = Path(folder or "", "mnist", "mnist.npz")
    if not folder or not path.exists():
        raise SystemExit("POTSTILL_TEST_DATA must name a folder with mnist/mnist.npz (x_train, y_train, x_test, y_test).")
    return path


PARTS = {"primer": primer, "features": features, "page": page}

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a time limit ends the service as well
    asked = sys.argv[1:] or list(PARTS)
    if unknown := [name for name in asked if name not in PARTS]:
        raise SystemExit(f"There is no part {', '.join(unknown)}; there are {', '.join(PARTS)}.")
    for name in asked:
        PARTS[name]()
