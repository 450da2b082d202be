"""Texts that networks write: how near they are to what was to be written, and a teacher's in place of the targets."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Literal

import torch
from torch import nn

from contract.errors import ErrorCode, InvalidSpec, JobError
from contract.events import LogLine, PhaseChanged, RunEvent
from contract.evidence import Statistic, statistic
from contract.status import Phase
from distill import cache
from distill.data import Rows, TextSplit
from distill.data.batch import TokenBatch
from distill.data.tokens import Tokens
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
    asked = to_go_on(split) if teacher.config.task == "causal-lm" else split
    emit(PhaseChanged(phase=Phase.TEACHER_INFERENCE, message=f"{len(asked):,} texts to write"))
    rows = teacher.rows(replace(asked, targets=None)) if teacher.config.task != "causal-lm" else beginnings(teacher.network, asked)
    found, done = kept(teacher, rows)
    emit(LogLine(message=f"the teacher has written {len(asked):,} texts, cache: {done.cache}", data=done.summary()))
    return replace(asked, targets=found), done


def to_go_on(split: TextSplit) -> TextSplit:
    """Of texts without targets each one's first half in words, for somebody to go on; those of a single word cannot be cut."""
    cut = [(row, begun) for row, text in enumerate(split.texts[0]) if (begun := first_half(text))]
    if not cut:
        raise JobError(
            "data.train: no text has two words, so there is nothing for the teacher to go on from.",
            code=ErrorCode.INVALID_DATA,
            param="data.train",
            hint="Use longer texts.",
        )
    rows = split.rows(torch.tensor([row for row, _ in cut]))
    return replace(rows, texts=([begun for _, begun in cut],))


def first_half(text: str) -> str:
    """Up to the middle one of its words; nothing of a single word."""
    ends = [found.end() for found in re.finditer(r"\S+", text)]
    return text[: ends[len(ends) // 2 - 1]] if len(ends) > 1 else ""


def beginnings(network: nn.Module, split: TextSplit) -> Tokens:
    """Texts to be gone on from, as a language model reads them."""
    if not isinstance(network, LibraryNetwork):
        raise InvalidSpec(
            "teacher: this network cannot write texts.",
            code=ErrorCode.DOES_NOT_FIT,
            param="teacher",
            hint="Use a transformer (gpt2, llama, qwen2), or a recipe that needs no texts.",
        )
    return network.reader.beginnings(split, network.reading)


def kept(teacher: Teacher, rows: Rows, most: int | None = None) -> tuple[list[str], Written]:
    """What the teacher writes for the rows, once for all jobs and seeds: its letters, under a key of its weights and the rows; `most`: of
    the first rows only."""
    count = len(rows) if most is None else min(most, len(rows))
    network = teacher.network
    assert isinstance(network, LibraryNetwork)
    how: Any = network.inner.generation_config  # what it may write, and how its tokens are spelled, weights do not say
    spelled = sha256((how.to_json_string() + network.reader.tokenizer.to_str()).encode()).hexdigest()
    key = sha256(f"written/3/{teacher.sha256}/{spelled}/{rows.digest()}/{count}".encode()).hexdigest()
    found, built = cache.kept(teacher.cache, key, letters_of(count), lambda: packed(texts(network, rows, count)), teacher.warn)
    return unpacked(found), Written(count, sum(tensor.nbytes for tensor in found.values()), built)


def letters_of(count: int) -> cache.Shapes:
    """The shapes of so many texts, packed."""
    return {"letters": (None,), "ends": (count,)}


def packed(written: list[str]) -> cache.Tensors:
    """Texts as their letters, and where each ends."""
    raw = [text.encode() for text in written]
    ends = torch.tensor([len(each) for each in raw], dtype=torch.int64).cumsum(0)
    return {"letters": torch.frombuffer(bytearray(b"".join(raw)) or bytearray(1), dtype=torch.uint8), "ends": ends}


def unpacked(found: cache.Tensors) -> list[str]:
    letters, ends = found["letters"].numpy().tobytes(), found["ends"].tolist()
    return [letters[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)]
