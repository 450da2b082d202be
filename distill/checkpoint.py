"""Checkpoints: everything the loop needs to go on as if nothing had happened, in safetensors and JSON.

Written to a temporary folder, fsynced, named in a manifest with the SHA-256 of each file, then renamed: a folder with a
manifest is whole. Reading verifies it.
"""

import json
import os
import random
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from hashlib import file_digest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from contract.spec import Keep
from distill.errors import CheckpointInvalidError

MANIFEST = "manifest.json"


@dataclass
class Progress:
    """Where the loop stands, apart from tensors."""

    step: int = 0
    best: float | None = None
    best_step: int = 0
    best_validation: dict[str, float] = field(default_factory=dict)
    epochs_without_gain: int = 0
    stopped_early: bool = False
    first_loss: float | None = None
    sums: dict[str, float] = field(default_factory=dict)  # metrics since the last point
    summed_steps: int = 0
    validation: dict[str, float] = field(default_factory=dict)  # the latest validation's metrics
    saved: dict[str, float | None] = field(default_factory=dict)  # kept checkpoints: step → validation metric


@dataclass
class State:
    """All that changes while training."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    progress: Progress
    best_weights: dict[str, Tensor] | None = None


def save(folder: Path, state: State, identity: dict[str, Any]) -> None:
    """Writes the checkpoint to `folder`, whole or not at all. `identity` is what must be equal for an exact resume."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    optimizer = state.optimizer.state_dict()
    moments = {f"{index}.{name}": value for index, slots in optimizer["state"].items() for name, value in slots.items()}
    tensors = {
        "model": state.network.state_dict(),
        "optimizer": {name: value for name, value in moments.items() if isinstance(value, Tensor)},
        "rng": _random_state(),
        **({"best": state.best_weights} if state.best_weights is not None else {}),
    }
    for name, group in tensors.items():
        save_file({key: value.detach().cpu().contiguous() for key, value in group.items()}, temporary / f"{name}.safetensors")
    document = {
        "progress": asdict(state.progress),
        "optimizer_groups": optimizer["param_groups"],
        "optimizer_numbers": {name: value for name, value in moments.items() if isinstance(value, int | float)},
        "python_random": random.getstate(),
        "identity": identity,
    }
    (temporary / "state.json").write_text(json.dumps(document))
    files = {path.name: _digest(path) for path in sorted(temporary.iterdir())}
    (temporary / MANIFEST).write_text(json.dumps({"files": files}, indent=1))
    for path in temporary.iterdir():
        _fsync(path)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
    _fsync(folder.parent)


def restore(folder: Path, state: State, identity: dict[str, Any]) -> str | None:
    """Puts the checkpoint into `state` and the global random states. Returns why the resume is not exact, or None when it is.
    Raises CheckpointInvalidError when files are missing, changed or for another job."""
    verify(folder)
    try:
        document = json.loads((folder / "state.json").read_text())
        if document["identity"]["job"] != identity["job"]:
            raise CheckpointInvalidError(f"{folder.name} belongs to another spec, other data or another model")
        state.network.load_state_dict(load_file(folder / "model.safetensors"))
        state.optimizer.load_state_dict(_optimizer_state(folder, document))
        state.progress = Progress(**document["progress"])
        best = folder / "best.safetensors"
        device = next(state.network.parameters()).device
        state.best_weights = {k: v.to(device) for k, v in load_file(best).items()} if best.exists() else None
        complete = _restore_random(load_file(folder / "rng.safetensors"), document["python_random"])
    except (KeyError, TypeError, ValueError, SafetensorError, RuntimeError, OSError) as error:
        raise CheckpointInvalidError(f"{folder.name} cannot be read: {error}") from None
    was, is_ = document["identity"]["fingerprint"], identity["fingerprint"]
    changed = [f"{name} {was.get(name)} → {value}" for name, value in is_.items() if was.get(name) != value]
    if not complete:
        changed.append("the GPU's random state is missing")
    return ", ".join(changed) or None


def verify(folder: Path) -> None:
    """Raises CheckpointInvalidError unless the manifest names every file there is and each is what it was."""
    try:
        files: dict[str, str] = json.loads((folder / MANIFEST).read_text())["files"]
        wrong = [name for name, sha256 in files.items() if _digest(folder / name) != sha256]
        unnamed = {path.name for path in folder.iterdir()} - files.keys() - {MANIFEST}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise CheckpointInvalidError(f"{folder.name} is not complete") from None
    if unnamed:
        raise CheckpointInvalidError(f"{folder.name}: {', '.join(sorted(unnamed))} not named in its manifest")
    if wrong:
        raise CheckpointInvalidError(f"{folder.name}: {', '.join(wrong)} changed since it was written")


def retain(saved: dict[str, float | None], keep: Keep, higher_is_better: bool) -> list[int]:
    """Takes steps out of `saved` until only the newest `keep.last` and the best `keep.best` are left; returns those dropped."""
    steps = sorted(map(int, saved))
    keepers = set(steps[-keep.last :])
    judged = [step for step in steps if saved[str(step)] is not None]
    judged.sort(key=lambda step: (saved[str(step)] or 0.0) * (-1 if higher_is_better else 1))
    keepers |= set(judged[: keep.best])
    dropped = [step for step in steps if step not in keepers]
    for step in dropped:
        del saved[str(step)]
    return dropped


def _optimizer_state(folder: Path, document: dict[str, Any]) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {}
    for name, value in [*load_file(folder / "optimizer.safetensors").items(), *document["optimizer_numbers"].items()]:
        index, slot = name.split(".", 1)
        state.setdefault(int(index), {})[slot] = value
    return {"state": state, "param_groups": document["optimizer_groups"]}


def _random_state() -> dict[str, Tensor]:
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


def _restore_random(found: dict[str, Tensor], python: Sequence[Any]) -> bool:
    torch.set_rng_state(found["torch"])
    position, has_gauss, cached = found["numpy_position"].tolist()
    np.random.set_state(("MT19937", found["numpy"].numpy().astype(np.uint32), int(position), int(has_gauss), cached))
    random.setstate((python[0], tuple(python[1]), python[2]))
    if torch.cuda.is_available():
        if "cuda" not in found:
            return False
        torch.cuda.set_rng_state(found["cuda"])
    return True


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
