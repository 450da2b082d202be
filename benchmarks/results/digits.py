"""MNIST with something wrong with it: labels that lie, or a digit kept to the end of the file.

python -m benchmarks.results.digits noisy 0.4 mnist.npz noisy.npz       # four of ten training labels name another digit
python -m benchmarks.results.digits last 3 mnist.npz threes-last.npz    # training rows of 3s come after all others
python -m benchmarks.results.digits only 3 mnist.npz threes.npz         # the 3s of the test set
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSES = 10
SEED = 0

Members = dict[str, NDArray[Any]]


def noisy(mnist: Path, share: float, out: Path) -> Path:
    """`share` of the training labels become one of the nine others, all as likely. A smaller share lies about some of the same rows,
    and the same lies."""
    members = _read(mnist)
    draw = np.random.default_rng(SEED)
    labels = members["y_train"].copy()
    order, shift = draw.permutation(len(labels)), draw.integers(1, CLASSES, len(labels))
    wrong = order[: round(share * len(labels))]
    labels[wrong] = (labels[wrong] + shift[wrong]) % CLASSES
    return _write(out, {**members, "y_train": labels})


def last(mnist: Path, digit: int, out: Path) -> Path:
    """Training rows of `digit` after all others, so that `max_train_samples` can leave them out while the class stays known."""
    members = _read(mnist)
    order = np.argsort(members["y_train"] == digit, kind="stable")
    return _write(out, {**members, "x_train": members["x_train"][order], "y_train": members["y_train"][order]})


def only(mnist: Path, digit: int, out: Path) -> Path:
    """The rows of `digit` in the test set, as the one split of a file."""
    members = _read(mnist)
    chosen = members["y_test"] == digit
    return _write(out, {"x": members["x_test"][chosen], "y": members["y_test"][chosen]})


def _read(mnist: Path) -> Members:
    with np.load(mnist) as archive:
        return {name: archive[name] for name in ("x_train", "y_train", "x_test", "y_test")}


def _write(out: Path, members: Members) -> Path:
    np.savez_compressed(out, **members)  # type: ignore[arg-type]
    return out


if __name__ == "__main__":
    what, number, source, target = sys.argv[1:5]
    if what == "noisy":
        noisy(Path(source), float(number), Path(target))
    else:
        {"last": last, "only": only}[what](Path(source), int(number), Path(target))
