"""One thread for everything, a teacher trained once, an engine with a folder of its own."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from engine_runs import Engine, small

from distill import disk, evaluate
from distill.device import threads

# Some virtual machines announce AMX and then stop the process at its first instruction; bf16 alone would use it.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_FP16")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads change the order of sums, and the machine is shared."""
    with threads(1):
        yield


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three passes for the report's speeds instead of 50 ms of them, and no waiting for a disk that others use too: what speeds
    say is not asked here, and where fsync matters a test looks at it."""
    timed = evaluate._timed
    monkeypatch.setattr(evaluate, "_timed", lambda *given, seconds: timed(*given, seconds=0.0))
    monkeypatch.setattr(disk, "fsync", lambda path: None)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path / "engine")


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small teacher with dropout, trained on 100 digits."""
    spec = small(student={"arch": "mlp", "hidden": [32], "dropout": 0.5}, training={"epochs": 20})
    with threads(1):
        return Engine(tmp_path_factory.mktemp("teacher")).run(spec).student


@pytest.fixture
def npz(tmp_path: Path) -> Callable[..., str]:
    """npz(x_train=…, y_train=…) writes such a file and says where."""

    def write(name: str = "rows.npz", **arrays: object) -> str:
        path = tmp_path / name
        np.savez(path, **{key: np.asarray(values) for key, values in arrays.items()})
        return str(path)

    return write


@pytest.fixture
def text(tmp_path: Path) -> Callable[[str, str], str]:
    """text(name, content) writes a .csv or .jsonl and says where."""

    def write(name: str, content: str) -> str:
        path = tmp_path / name
        path.write_text(content)
        return str(path)

    return write
