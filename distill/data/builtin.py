"""Datasets that come inside a dependency, or inside Python."""

import base64
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.data.arguments import arguments
from distill.data.docstrings import docstrings
from distill.data.messages import messages
from distill.data.returns import returns

Table = tuple[NDArray[np.generic], NDArray[np.generic]]  # features, labels


# A bit for each row, whether it is a test row: what scikit-learn's train_test_split draws with test_size=0.2, stratify and random_state=0.
_DIGITS_TEST = (
    "AAAEiDUkEEAABkEAk0IFABoACAEAJAAoBiwSABAAlAoAkBkSBCD4oAKBEKAACAqIIEQVJElCQKAKAAAAQATYAACBgCAASAXEABBA"
    "CKAQAAVASAAwEAACDsQJAAIkhACDqAE8IKaYCgAAAAsIQAgEoBhIAgJAQcEAgARARoQ3aoECFgBEgABAQqCkGApQAIQLhWHGCBCA"
    "CABMgMAgBAaOAAEIggCBADgIA8AIGQAAEA4BAIQQoCEAMygpBMBEwIBoDgECgwCCAIgipkAsJAQhCKhggJCBoAwCggJCEgE4pBUA"
)


@cache
def digits() -> dict[str, Table]:
    """scikit-learn's 8×8 digits, pixels 0 … 16 as uint8, in a stratified 80/20 split that never changes.

    Its file is read without importing the library: that takes longer than importing torch."""
    package = find_spec("sklearn")
    assert package is not None and package.origin is not None  # one of our dependencies
    table = np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",", dtype=np.int64)
    images, labels = table[:, :-1].reshape(-1, 8, 8).astype(np.uint8), table[:, -1]
    test = np.unpackbits(np.frombuffer(base64.b64decode(_DIGITS_TEST), np.uint8), count=len(table)).astype(bool)
    return {name: (images[part], labels[part]) for name, part in (("train", ~test), ("test", test))}


SOURCES = {"digits": digits, "docstrings": docstrings, "returns": returns, "arguments": arguments, "messages": messages}
DIVIDE = {"digits": 16.0}  # the largest pixel value
