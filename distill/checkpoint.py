"""Checkpoints: everything the loop needs to go on as if nothing had happened, in safetensors and JSON.

Written to a temporary folder, fsynced, named in a manifest, then renamed. Read as if a stranger had written it: all of it is
checked before any of it is used, so one that is refused has changed nothing.
"""

import json
import random
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from distill import disk, manifest, optim, rng
from distill.device import derived_seed
from distill.errors import CheckpointInvalidError
from distill.ranks import Ranks
from distill.state import Identity, Progress, State, put_weights, weights

BEST, OBJECTIVE = "best", "objective"


@dataclass
class _Document:
    """state.json."""

    progress: Progress
    identity: Identity
    python_random: tuple[int, tuple[int, ...], float | None] | None = None


_DOCUMENT, _PROGRESS = TypeAdapter(_Document), TypeAdapter(Progress)


class Restored(NamedTuple):
    """inexact: why the resume is not exact, None when it is; others: the random states of other ranks, as `of_others` gave them."""

    inexact: str | None
    others: dict[str, Tensor]


def save(folder: Path, state: State, identity: Identity, others: Mapping[str, Tensor] | None = None) -> None:
    """Writes the checkpoint to `folder`, whole or not at all. others: of other ranks, what `of_others` gave. JobError when the disk is
    full."""
    for left in folder.parent.glob(".*.tmp"):  # by a crash; there may be one for each
        shutil.rmtree(left, ignore_errors=True)
    groups = {"model": weights(state.network), "optimizer": optim.moments(state.optimizer), "rng": rng.tensors() | dict(others or {})}
    if projections := state.objective.state_dict():
        groups[OBJECTIVE] = projections
    if state.best_weights is not None:
        groups[BEST] = state.best_weights
    document = json.dumps({"progress": asdict(state.progress), "identity": asdict(identity), "python_random": random.getstate()})
    size = len(document) + sum(tensor.nbytes for group in groups.values() for tensor in group.values())
    temporary = folder.with_name(f".{folder.name}.tmp")
    with disk.writing(f"The checkpoint of step {state.progress.step}", temporary, size):
        temporary.mkdir(parents=True)
        for name, group in groups.items():
            save_file({key: value.detach().cpu().contiguous() for key, value in group.items()}, temporary / f"{name}.safetensors")
        (temporary / "state.json").write_text(document)
        manifest.write(temporary)
        disk.settle(temporary)
        shutil.rmtree(folder, ignore_errors=True)  # only one that was refused can be in the way
        temporary.rename(folder)
        disk.fsync(folder.parent)


def restore(folder: Path, state: State, identity: Identity) -> Restored:
    """Puts the checkpoint into `state` and the global random states.
    Raises CheckpointInvalidError, with nothing changed, when files are missing, changed, nonsense or for another job."""
    manifest.verify(folder)
    try:
        document = _DOCUMENT.validate_json(manifest.read(folder / "state.json"), strict=True)
        if document.identity.job != identity.job:
            raise CheckpointInvalidError(f"{folder.name} belongs to another spec, other data or another model")
        progress = document.progress
        _check(progress, state)
        found = {path.stem: load_file(path) for path in folder.glob("*.safetensors")}
        expected = weights(state.network)
        _check_tensors("model", found["model"], expected, finite=True)
        _check_tensors("optimizer", found["optimizer"], optim.moments_expected(state.optimizer, found["optimizer"]))
        projections = state.objective.state_dict()
        _check_tensors(OBJECTIVE, found.get(OBJECTIVE, {}), projections, finite=True)
        best = found[BEST] if state.keeps_best and progress.best is not None else None
        if best is not None:
            _check_tensors(BEST, best, expected, finite=True)
        seed = derived_seed("resumed", progress.step)
        restore_random, missing = rng.prepared(found.get("rng", {}), document.python_random, seed)
    except (LookupError, TypeError, ValueError, ArithmeticError, SafetensorError, RuntimeError, OSError) as error:
        raise CheckpointInvalidError(f"{folder.name} cannot be read: {str(error)[:500]}") from None
    put_weights(state.network, found["model"])
    state.objective.load_state_dict(found.get(OBJECTIVE, {}))
    _follow(state, progress, found["optimizer"], best)
    restore_random()
    was, is_ = document.identity.fingerprint, identity.fingerprint
    changed = [f"{name} {was.get(name)} → {is_.get(name)}" for name in {**is_, **was} if was.get(name) != is_.get(name)]
    inexact = ", ".join(changed + [f"the random state of {name} is missing" for name in missing]) or None
    return Restored(inexact, {name: value for name, value in found.get("rng", {}).items() if "/" in name})


def _follow(state: State, progress: Progress, moments: dict[str, Tensor], best: dict[str, Tensor] | None) -> None:
    optim.set_moments(state.optimizer, moments)
    state.progress = progress
    device = next(state.network.parameters()).device
    state.best_weights = {name: value.to(device) for name, value in best.items()} if best is not None else None


def of_others(ranks: Ranks) -> dict[str, Tensor]:
    """The random states of all ranks but the first, as `1/torch`; what draws in training is torch's generator, and the device's."""
    if ranks.world == 1:
        return {}
    every = {name: ranks.gathered(state) for name, state in rng.tensors().items() if name in rng.DEVICES}
    return {f"{rank}/{name}": states[rank] for name, states in every.items() for rank in range(1, ranks.world)}


def follow(state: State, ranks: Ranks, restored: Restored | None) -> None:
    """Every rank stands where the first does, which alone has read a checkpoint, if there was one. Not yet the weights: those go round with
    what computes the steps."""
    progress = ranks.told(asdict(state.progress))
    best = state.best_weights or {}
    groups = {"moments": optim.moments(state.optimizer), BEST: best, "rng": dict(restored.others) if restored is not None else {}}
    given = {name: ranks.given(group) for name, group in groups.items()}
    if ranks.rank == 0 or not progress["step"]:
        return
    _follow(state, _PROGRESS.validate_python(progress), given["moments"], given[BEST] or None)
    own = {name.partition("/")[2]: value for name, value in given["rng"].items() if name.startswith(f"{ranks.rank}/")}
    restore_random, _ = rng.prepared(own, None, derived_seed("resumed", state.progress.step, ranks.rank))
    restore_random()


def _check(progress: Progress, state: State) -> None:
    """ValueError for figures that no run of this length can have."""
    step = progress.step
    kept = [int(name) for name in progress.saved]
    if not 1 <= step <= state.total_steps or max([*kept, progress.best_step, progress.summed_steps]) > step or step not in kept:
        raise ValueError(f"it cannot be of a run of {state.total_steps} steps")


def _check_tensors(what: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor], finite: bool = False) -> None:
    """ValueError unless both have the same names, shapes and types, and numbers one can train on."""
    if {n: (t.shape, t.dtype) for n, t in found.items()} != {n: (t.shape, t.dtype) for n, t in expected.items()}:
        raise ValueError(f"its {what} has other tensors than this run")
    if any((~tensor.isfinite() if finite else tensor.isnan()).any() for tensor in found.values()):
        raise ValueError(f"its {what} holds numbers that are not finite")
