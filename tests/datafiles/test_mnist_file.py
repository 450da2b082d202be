"""The real MNIST file, where the machine has it."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from datafiles import encode_labels, read

FOLDER = os.environ.get("POTSTILL_TEST_DATA")


@pytest.mark.skipif(FOLDER is None, reason="POTSTILL_TEST_DATA names no folder with mnist/mnist.npz")
def test_mnist_is_read_as_numpy_reads_it_and_fast():
    path = Path(FOLDER or "") / "mnist" / "mnist.npz"
    times = []
    for _ in range(3):
        start = time.perf_counter()
        data = read(path, "mnist.npz")
        times.append(time.perf_counter() - start)
    assert {split: table.rows for split, table in data.splits.items()} == {"train": 60_000, "test": 10_000}
    assert data.classes() == [str(digit) for digit in range(10)]
    with np.load(path) as arrays:
        for split in ("train", "test"):
            assert np.array_equal(data.splits[split].columns["x"], arrays[f"x_{split}"])
            assert np.array_equal(encode_labels(data.splits[split].columns["y"], data.classes() or [], split), arrays[f"y_{split}"])
    assert min(times) < 1  # about 0.12 s; the room is for a busy machine
