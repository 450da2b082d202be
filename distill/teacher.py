"""Teacher inference, once for the same teacher and rows: outputs are kept under a key made of content, never of position.

The key hashes the teacher's weights and config and the rows' features. Any job with both equal, in any order of epochs and
batches, reads the same file; anything changed is another key.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from pathlib import Path

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
PART = 5 * 10**10  # multiply-adds: some seconds of a core


@dataclass(frozen=True)
class Outputs:
    """A teacher asked once: logits [N, C] in float32, in the order of the rows asked for. several: rows may have any number of classes."""

    logits: Tensor
    built: cache.Built
    several: bool = False

    def of(self, index: Tensor, given: Given) -> Said:
        return Said.of(self.logits.index_select(0, index), self.several)

    def summary(self) -> dict[str, object]:
        size = self.logits.numel() * self.logits.element_size()
        return {"mode": "cached", **self.built.told(), "rows": len(self.logits), "bytes": size}


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
        content, parts = rows.digest(), self._parts(rows)

        def part(begin: int, chunks: list[Tensor]) -> cache.Part:
            def build() -> cache.Tensors:
                with autocast(self.device, bf16):
                    return {"logits": infer(self.network, self.config, rows, chunks)}

            count = sum(map(len, chunks))
            key = self.key("logits/3", f"{content}/{begin}+{count}", bf16)
            return cache.Part(key, {"logits": (count, len(self.config.classes))}, build)

        begins = accumulate((sum(map(len, chunks)) for chunks in parts), initial=0)
        tensors, built = cache.all_kept(self.cache, [part(*each) for each in zip(begins, parts, strict=False)], self.warn)
        logits = in_order([each["logits"] for each in tensors], [index for chunks in parts for index in chunks])
        return Outputs(logits.to(self.device), built, self.config.multi_label)

    def _parts(self, rows: Rows) -> list[list[Tensor]]:
        """All rows in chunks that are asked at once, and these in parts of so much work that keeping one by one costs little."""
        found: list[list[Tensor]] = [[]]
        work = 0
        for index in rows.chunks(BATCH):
            if found[-1] and work >= PART:
                found.append([])
                work = 0
            found[-1].append(index)
            longest = 0 if rows.lengths is None else int(rows.lengths[index].max())
            work += len(index) * self.config.work(longest).multiply_adds
        return found

    def key(self, what: str, content: str, bf16: bool) -> str:
        """Of what this teacher says of such content, computed so."""
        return sha256(f"{what}/{self.sha256}/{content}{'/bf16' if bf16 else ''}".encode()).hexdigest()


def infer(network: nn.Module, config: ModelConfig, rows: Rows, chunks: Sequence[Tensor] | None = None) -> Tensor:
    """Logits [N, C] in float32, network in evaluation mode, no gradients: of all rows, or of some in the order of their chunks."""
    network.eval()
    asked = chunks if chunks is not None else list(rows.chunks(BATCH))
    with torch.inference_mode():
        said = torch.cat([logits_of(network, config, rows.batch(index).given).float() for index in asked])
    said = said.clone()  # outside: what it is made of may not be trained on
    return said if chunks is not None else in_order([said], asked)


def in_order(parts: Sequence[Tensor], chunks: Sequence[Tensor]) -> Tensor:
    """[N, …] by row, of parts in the order of the chunks."""
    said, order = parts[0] if len(parts) == 1 else torch.cat(list(parts)), torch.cat(list(chunks)).cpu()
    if order.equal(torch.arange(len(order))):
        return said
    found = torch.empty_like(said)
    found[order.to(said.device)] = said
    return found
