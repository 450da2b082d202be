"""Teacher inference, once for the same teacher and rows: outputs are kept under a key made of content, never of position.

The key hashes the teacher's weights and config and the rows' features. Any job with both equal, in any order of epochs and
batches, reads the same file; anything changed is another key.
"""

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from contract.errors import JobError
from contract.model import ModelConfig
from distill import disk
from distill.data import Split
from distill.networks import digest, load, scaled
from distill.networks.files import WEIGHTS

BATCH = 1024


@dataclass(frozen=True)
class Outputs:
    """A teacher asked once: logits [N, C] in float32, in the order of the rows asked for."""

    logits: Tensor
    cache: Literal["built", "hit"]

    def of(self, index: Tensor, features: Tensor) -> Tensor:
        return self.logits[index]

    def summary(self) -> dict[str, object]:
        return {"mode": "cached", "cache": self.cache, "rows": len(self.logits), "bytes": self.logits.numel() * self.logits.element_size()}


class Live:
    """A teacher asked for each batch: for rows that look different every time."""

    def __init__(self, teacher: "Teacher", rows: int) -> None:
        self.teacher, self.rows = teacher, rows

    def of(self, index: Tensor, features: Tensor) -> Tensor:
        """Logits of these features, as they are after augmentation."""
        with torch.no_grad():
            logits: Tensor = self.teacher.network(scaled(features, self.teacher.config.input))
        return logits.float()

    def summary(self) -> dict[str, object]:
        return {"mode": "live", "cache": None, "rows": self.rows, "bytes": 0}


class Teacher:
    """A network in evaluation mode that no gradient reaches."""

    def __init__(self, folder: Path, cache: Path, device: torch.device, warn: Callable[[str], None]) -> None:
        self.network, self.config = load(folder)
        self.network.requires_grad_(False).to(device)
        self.device = device
        self._cache, self._warn = cache, warn
        self.sha256 = digest(folder)
        self.size_bytes = (folder / WEIGHTS).stat().st_size

    def outputs(self, rows: Split) -> Outputs:
        """The logits for `rows`, from the cache when this teacher has seen them before."""
        key = sha256(f"logits/1/{self.sha256}/{rows.digest()}".encode()).hexdigest()
        path = self._cache / key[:2] / f"{key}.safetensors"
        with _one_at_a_time(path):
            known = _read(path, len(rows))
            if known is not None:
                with contextlib.suppress(OSError):
                    os.utime(path)  # what was not used for longest is the first to go
                return Outputs(known.to(self.device), "hit")
            logits = infer(self.network, self.config, rows)
            try:
                _write(path, logits)
            except (JobError, OSError, SafetensorError) as error:  # it saves work, and is worth no job
                self._warn(f"the run goes on with the teacher's outputs in memory: {error}")
            return Outputs(logits, "built")


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Runs of one job start together: the second waits for the first's pass. Where no lock can be had, each makes it."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = held.enter_context(path.with_suffix(".lock").open("a"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def infer(network: nn.Module, config: ModelConfig, rows: Split, batch: int = BATCH) -> Tensor:
    """Logits [N, C] in float32, network in evaluation mode, no gradients."""
    network.eval()
    with torch.inference_mode():
        parts = [network(scaled(part, config.input)).float() for part in torch.split(rows.features, batch)]
    return torch.cat(parts).clone()


def _read(path: Path, rows: int) -> Tensor | None:
    """None where there is no file, or one that a crash of the machine tore or a disk changed: build it again."""
    try:
        with safe_open(path, framework="pt") as file:
            logits: Tensor = file.get_tensor("logits")
            written = (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        return None
    return logits if len(logits) == rows and _digest(logits) == written else None


def _digest(logits: Tensor) -> str:
    return sha256(str(tuple(logits.shape)).encode() + logits.numpy().tobytes()).hexdigest()


def _write(path: Path, logits: Tensor) -> None:
    """Whole or not at all: two jobs that build the same outputs at once both succeed, and write the same bytes."""
    for left in path.parent.glob(f".{path.stem}.*"):  # by a crash; there may be one for each
        shutil.rmtree(left, ignore_errors=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}")
    kept = logits.cpu().contiguous()
    with disk.writing("The cache of teacher outputs", temporary, kept.nbytes):
        temporary.mkdir()
        save_file({"logits": kept}, temporary / path.name, metadata={"sha256": _digest(kept)})
        os.replace(temporary / path.name, path)  # noqa: PTH105 - the atomic rename is the point
    temporary.rmdir()
