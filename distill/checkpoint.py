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
from distill.ranks import ALONE, Ranks
from distill.sharding import whole
from distill.state import Identity, Progress, State, put_weights, weights

BEST, OBJECTIVE = "best", "objective"
Groups = dict[str, dict[str, Tensor]]  # by file


@dataclass
class _Document:
    """state.json."""

    progress: Progress
    identity: Identity
    python_random: tuple[int, tuple[int, ...], float | None] | None = None


_DOCUMENT, _PROGRESS = TypeAdapter(_Document), TypeAdapter(Progress)


class Restored(NamedTuple):
    """inexact: why the resume is not exact, None when it is; found: the tensors, as they were saved."""

    inexact: str | None
    found: Groups


def save(folder: Path, state: State, identity: Identity, ranks: Ranks = ALONE) -> None:
    """Writes the checkpoint to `folder`, whole or not at all. Every rank must call it, the first one writes. JobError when the disk is
    full."""
    groups = _groups(state, ranks)
    if ranks.rank:
        return
    for left in folder.parent.glob(".*.tmp"):  # by a crash; there may be one for each
        shutil.rmtree(left, ignore_errors=True)
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
        if state.keeps_best and progress.best is not None:
            _check_tensors(BEST, found[BEST], expected, finite=True)
        seed = derived_seed("resumed", progress.step)
        restore_random, missing = rng.prepared(found.get("rng", {}), document.python_random, seed)
    except (LookupError, TypeError, ValueError, ArithmeticError, SafetensorError, RuntimeError, OSError) as error:
        raise CheckpointInvalidError(f"{folder.name} cannot be read: {str(error)[:500]}") from None
    _put(state, progress, found)
    restore_random()
    was, is_ = document.identity.fingerprint, identity.fingerprint
    changed = [f"{name} {was.get(name)} → {is_.get(name)}" for name in {**is_, **was} if was.get(name) != is_.get(name)]
    inexact = ", ".join(changed + [f"the random state of {name} is missing" for name in missing]) or None
    return Restored(inexact, found)


def follow(state: State, ranks: Ranks, restored: Restored | None) -> None:
    """Every rank stands where the first does, which alone has read a checkpoint, if there was one. A rank that has no random state there,
    because there were fewer, starts from one of its own."""
    said = ranks.told(asdict(state.progress) if restored is not None else None)
    if said is None:
        return
    found = restored.found if restored is not None else {}
    groups = {name: ranks.given(found.get(name, {})) for name in ranks.told(sorted(found))}
    if ranks.rank == 0:
        return
    _put(state, _PROGRESS.validate_python(said), groups)
    own = {name.partition("/")[2]: value for name, value in groups["rng"].items() if name.startswith(f"{ranks.rank}/")}
    restore_random, _ = rng.prepared(own, None, derived_seed("resumed", state.progress.step, ranks.rank))
    restore_random()


def _groups(state: State, ranks: Ranks) -> Groups:
    """What changes, whole; of other ranks than the first the generators that draw in training, as `1/torch`."""
    groups = {"model": weights(state.network), "optimizer": optim.moments(state.optimizer), "rng": rng.tensors()}
    if projections := state.objective.state_dict():
        groups[OBJECTIVE] = projections
    if state.best_weights is not None:
        groups[BEST] = state.best_weights
    if ranks.world > 1:
        groups = {name: {key: whole(tensor) for key, tensor in group.items()} for name, group in groups.items()}
        every = {name: ranks.gathered(drawn) for name, drawn in rng.tensors().items() if name in rng.DEVICES}
        groups["rng"] |= {f"{rank}/{name}": states[rank] for name, states in every.items() for rank in range(1, ranks.world)}
    return groups


def _put(state: State, progress: Progress, groups: Groups) -> None:
    put_weights(state.network, groups["model"])
    put_weights(state.objective, groups.get(OBJECTIVE, {}))
    optim.set_moments(state.optimizer, groups["optimizer"])
    state.progress = progress
    device = next(state.network.parameters()).device
    kept = state.keeps_best and progress.best is not None
    state.best_weights = {name: value.to(device) for name, value in groups[BEST].items()} if kept else None


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
