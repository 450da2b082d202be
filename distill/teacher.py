"""Teacher inference, once for the same teacher and rows: outputs are kept under a key made of content, never of position.

The key hashes the teacher's weights and config and the rows' features. Any job with both equal, in any order of epochs and
batches, reads the same file; anything changed is another key.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from contract.model import ModelConfig
from distill import cache
from distill.data import Rows, Split, TextSplit
from distill.data.batch import Given
from distill.device import autocast, in_bf16
from distill.inside import NOTHING, Looks
from distill.networks import digest, load, logits_of, rows_for, said_of, weight_bytes, worth_of
from distill.objectives import Said

BATCH = 1024


@dataclass(frozen=True)
class Outputs:
    """A teacher asked once: logits [N, C] in float32, in the order of the rows asked for. several: rows may have any number of classes."""

    logits: Tensor
    cache: Literal["built", "hit"]
    several: bool = False

    def of(self, index: Tensor, given: Given) -> Said:
        return Said.of(self.logits.index_select(0, index), self.several)

    def summary(self) -> dict[str, object]:
        return {"mode": "cached", "cache": self.cache, "rows": len(self.logits), "bytes": self.logits.numel() * self.logits.element_size()}


class Live:
    """A teacher asked for each batch: for rows that look different every time, or where its outputs are not to be kept.

    rows: as the teacher reads them; None where it sees what the student sees, augmentation included.
    """

    def __init__(self, teacher: "Teacher", count: int, rows: Rows | None = None, looks: Looks = NOTHING) -> None:
        self.teacher, self.count, self.rows, self.looks = teacher, count, rows, looks

    def of(self, index: Tensor, given: Given) -> Said:
        """What the teacher says of the rows `index`, which the student sees as `given`."""
        with torch.no_grad(), autocast(self.teacher.device, self.teacher.bf16):
            return said_of(self.teacher.network, self.teacher.config, self.shown(index, given), self.looks)

    def shown(self, index: Tensor, given: Given) -> Given:
        """The rows `index` as the teacher sees them."""
        return given if self.rows is None else self.rows.batch(index).given

    def summary(self) -> dict[str, object]:
        return {"mode": "live", "cache": None, "rows": self.count, "bytes": 0}


class Teacher:
    """A network in evaluation mode that no gradient reaches."""

    bf16 = False  # of several, each by itself

    def __init__(
        self, folder: Path, outputs: cache.Cache, device: torch.device, warn: Callable[[str], None], precision: str = "fp32"
    ) -> None:
        """precision: that of what it teaches; measured is always in fp32."""
        self.network, self.config = load(folder)
        self.bf16 = in_bf16(device, precision, *worth_of(self.network))
        self.network.eval().requires_grad_(False).to(device)
        self.device = device
        self.cache, self.warn = outputs, warn
        self.sha256 = digest(folder)
        self.size_bytes = weight_bytes(folder)

    def rows(self, split: Split | TextSplit) -> Rows:
        """The rows as this teacher takes them."""
        return rows_for(self.network, self.config, split).to(self.device)

    def outputs(self, split: Split | TextSplit, measured: bool = False) -> Outputs:
        """The logits for these rows, from the cache when this teacher has seen them before. measured: to measure the teacher by, not to
        teach."""
        rows, bf16 = self.rows(split), self.bf16 and not measured
        key = self.key("logits/1", rows.digest(), bf16)
        shape = (len(rows), len(self.config.classes))

        def build() -> dict[str, Tensor]:
            with autocast(self.device, bf16):
                return {"logits": infer(self.network, self.config, rows)}

        found, how = cache.kept(self.cache, key, {"logits": shape}, build, self.warn)
        return Outputs(found["logits"].to(self.device), how, self.config.multi_label)

    def key(self, what: str, content: str, bf16: bool) -> str:
        """Of what this teacher says of such content, computed so."""
        return sha256(f"{what}/{self.sha256}/{content}{'/bf16' if bf16 else ''}".encode()).hexdigest()


def infer(network: nn.Module, config: ModelConfig, rows: Rows, batch: int = BATCH) -> Tensor:
    """Logits [N, C] in float32, network in evaluation mode, no gradients."""
    network.eval()
    with torch.inference_mode():
        parts = [(index, logits_of(network, config, rows.batch(index).given).float()) for index in rows.chunks(batch)]
        order = torch.cat([index for index, _ in parts])
        logits = torch.cat([part for _, part in parts])
        found = torch.empty_like(logits)
        found[order] = logits
    return found.clone()
