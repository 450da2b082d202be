"""Texts that networks write: how near they are to what was to be written, and a teacher's in place of the targets."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Literal

import torch
from torch import nn

from contract.events import LogLine, PhaseChanged, RunEvent
from contract.evidence import Statistic, statistic
from contract.status import Phase
from distill import cache
from distill.data import Rows, TextSplit
from distill.data.batch import TokenBatch
from distill.device import derived_seed
from distill.networks.reading import LibraryNetwork
from distill.teacher import Teacher

BATCH = 32
MEASURED = 2000  # rows whose texts are written at the end
RESAMPLES = 1000


def texts(network: nn.Module, rows: Rows, most: int | None = None) -> list[str]:
    """What the network writes for each row, in their order; `most`: of the first rows only."""
    assert isinstance(network, LibraryNetwork)
    network.eval()
    found = [""] * len(rows)
    with torch.inference_mode():
        for index in rows.chunks(BATCH):
            if most is not None:
                index = index[index < most]
            if len(index):
                given = rows.batch(index).given
                assert isinstance(given, TokenBatch)
                for row, text in zip(index.tolist(), network.written(given), strict=True):
                    found[row] = text
    return found[:most]


def nearness(said: list[str], targets: list[str]) -> dict[str, Statistic]:
    """chrF (Popović 2015, https://aclanthology.org/W15-3049) and BLEU (Papineni et al. 2002) of all texts together, 0 to 1, as sacrebleu
    counts them (Post 2018, https://arxiv.org/abs/1804.08771), with bootstrap intervals over texts."""
    import sacrebleu

    found = {}
    for name, metric in (("chrf", sacrebleu.CHRF()), ("bleu", sacrebleu.BLEU())):
        value = float(metric.corpus_score(said, [targets]).score) / 100
        found[name] = statistic([value], _interval(metric, said, targets))
    return found


def _interval(metric: Any, said: list[str], targets: list[str]) -> tuple[float, float]:
    """Of resampled sums of what sacrebleu counts of each text. Its own resampling stumbles over texts that have nothing in common."""
    import numpy as np

    counts = np.array(metric._extract_corpus_statistics(said, [targets]), dtype=np.float64)
    draw = np.random.default_rng(derived_seed("bootstrap"))
    sums = (counts[draw.integers(0, len(counts), len(counts))].sum(0) for _ in range(RESAMPLES))
    low, high = np.quantile([float(metric._compute_score_from_stats(each).score) / 100 for each in sums], [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class Written:
    """A teacher's texts: how many, and whether they had been written before."""

    rows: int
    bytes: int
    cache: Literal["built", "hit"]

    def summary(self) -> dict[str, object]:
        return {"mode": "text", "cache": self.cache, "rows": self.rows, "bytes": self.bytes}


def by_teacher(teacher: Teacher, split: TextSplit, emit: Callable[[RunEvent], None]) -> tuple[TextSplit, Written]:
    """The same rows, with what the teacher writes as their targets (Kim, Rush 2016, https://arxiv.org/abs/1606.07947)."""
    emit(PhaseChanged(phase=Phase.TEACHER_INFERENCE, message=f"{len(split):,} texts to write"))
    found, done = kept(teacher, teacher.rows(split))
    emit(LogLine(message=f"the teacher has written {len(split):,} texts, cache: {done.cache}", data=done.summary()))
    return replace(split, targets=found), done


def kept(teacher: Teacher, rows: Rows, most: int | None = None) -> tuple[list[str], Written]:
    """What the teacher writes for the rows, once for all jobs and seeds: its letters, under a key of its weights and the rows; `most`: of
    the first rows only."""
    count = len(rows) if most is None else min(most, len(rows))
    key = sha256(f"written/2/{teacher.sha256}/{rows.digest()}/{count}".encode()).hexdigest()

    def build() -> cache.Tensors:
        raw = [text.encode() for text in texts(teacher.network, rows, count)]
        ends = torch.tensor([len(each) for each in raw], dtype=torch.int64).cumsum(0)
        return {"letters": torch.frombuffer(bytearray(b"".join(raw)) or bytearray(1), dtype=torch.uint8), "ends": ends}

    found, how = cache.kept(teacher.cache, key, {"letters": (None,), "ends": (count,)}, build, teacher.warn)
    letters, ends = found["letters"].numpy().tobytes(), found["ends"].tolist()
    said = [letters[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)]
    return said, Written(count, sum(tensor.nbytes for tensor in found.values()), how)
