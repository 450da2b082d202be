"""Datasets that come inside a dependency, or inside Python."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from distill.data.arguments import arguments
from distill.data.docstrings import docstrings
from distill.data.messages import messages
from distill.data.returns import returns

Table = tuple[NDArray[np.generic], NDArray[np.generic]]  # features, labels


@cache
def digits() -> dict[str, Table]:
    """scikit-learn's 8×8 digits, pixels 0 … 16 as uint8, in a stratified 80/20 split that never changes."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    found = load_digits()
    rows = np.arange(len(found.target))
    train, test = train_test_split(rows, test_size=0.2, stratify=found.target, random_state=0)
    images = found.images.astype(np.uint8)
    return {name: (images[np.sort(part)], found.target[np.sort(part)]) for name, part in (("train", train), ("test", test))}


SOURCES = {"digits": digits, "docstrings": docstrings, "returns": returns, "arguments": arguments, "messages": messages}
DIVIDE = {"digits": 16.0}  # the largest pixel value
