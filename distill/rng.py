"""The states of the random generators: torch's, the GPU's, NumPy's and Python's."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

DEVICES = ("torch", "cuda")


def tensors() -> dict[str, Tensor]:
    """All but Python's, which is no tensor."""
    kind, keys, position, has_gauss, cached = np.random.get_state()
    assert kind == "MT19937"
    found = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray(keys, dtype=np.int64)),
        "numpy_position": torch.tensor([float(position), float(has_gauss), float(cached)], dtype=torch.float64),
    }
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_rng_state()
    return found


def prepared(found: dict[str, Tensor], python: tuple[Any, ...] | None, seed: int) -> tuple[Callable[[], None], list[str]]:
    """What puts the states back, and the names of those that are missing, which start from `seed` instead. Each state is tried
    on a generator nobody uses, so that nonsense raises (ValueError, TypeError or RuntimeError) before anything is changed."""
    numpy = _numpy(found["numpy"], found["numpy_position"]) if {"numpy", "numpy_position"} <= found.keys() else None
    here = ["torch", "cuda"] if torch.cuda.is_available() else ["torch"]
    for device in here:
        if device in found:
            torch.Generator("cpu" if device == "torch" else device).set_state(found[device])
    if numpy is not None:
        np.random.RandomState().set_state(numpy)
    if python is not None:
        random.Random().setstate(python)  # noqa: S311 - it draws nothing

    def restore() -> None:
        torch.manual_seed(seed)  # the GPU's too
        if "torch" in found:
            torch.set_rng_state(found["torch"])
        if "cuda" in here and "cuda" in found:
            torch.cuda.set_rng_state(found["cuda"])
        if numpy is not None:
            np.random.set_state(numpy)
        if python is not None:
            random.setstate(python)

    missing = [device for device in here if device not in found]
    missing += [name for name, state in (("numpy", numpy), ("python", python)) if state is None]
    return restore, missing


def _numpy(keys: Tensor, position: Tensor) -> tuple[str, Any, int, int, float]:
    index, has_gauss, cached = position.tolist()
    if not 0 <= index <= 624:  # NumPy would read beyond its array
        raise ValueError("NumPy's random state has a position that it cannot have")
    return "MT19937", keys.numpy().astype(np.uint32), int(index), int(has_gauss), cached
