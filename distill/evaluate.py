"""Measuring a network on rows: metrics with their uncertainty, size and speed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import exp
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contract.by_class import Counts
from contract.errors import InvalidData
from contract.evidence import Statistic, pack_bits, statistic
from contract.model import ModelConfig
from contract.registry.tasks import LANGUAGE
from distill import scores
from distill.data import Rows, Split, TextSplit
from distill.data.batch import IGNORED, Given, TokenBatch
from distill.device import threads
from distill.losses import kl
from distill.networks import count_parameters, said_of
from distill.objectives import PIECE, Said, known_of
from distill.tasks import slices
from distill.teacher import infer

Z95 = 1.959963984540054
CARRIED_ROWS = 100_000
SHOWN = 300  # characters of a text in the report
TOKEN_BATCH = 32  # rows


@dataclass(frozen=True)
class Measured:
    """top [N]: the class or token found likeliest for each row or token measured, and what the report says of them."""

    top: Tensor
    metrics: dict[str, dict[str, Any]]
    rows_right: str | None  # which rows had the right class, packed; None for more rows than are worth carrying, and for tokens
    by_class: Counts | None = None  # None where a row is not of one class, or there are very many


def quick(network: nn.Module, config: ModelConfig, rows: Rows) -> dict[str, float]:
    """Accuracy and loss, and of a language model its perplexity, for the curve during training."""
    if config.by_token:
        told = tell(network, config, rows)
        loss = told.losses.mean().item()
        found = {"accuracy": (told.top == told.right).float().mean().item(), "loss": loss}
        return {**found, "perplexity": perplexity(loss)} if config.task in LANGUAGE else found
    logits = infer(network, config, rows)
    return {"accuracy": _right(logits, rows.labels).float().mean().item(), "loss": _losses(logits, rows.labels).mean().item()}


def _right(logits: Tensor, labels: Tensor) -> Tensor:
    """[N]: whether a row's class was found, or all of its classes and no other."""
    return ((logits > 0) == labels.bool()).all(1) if labels.ndim == 2 else logits.argmax(1) == labels


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    """[N] in nats; where classes each hold or not, the mean over them."""
    if labels.ndim == 2:
        return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="none").mean(1)
    return F.cross_entropy(logits, labels, reduction="none")


def measure(logits: Tensor, rows: Rows, config: ModelConfig | None = None) -> Measured:
    """Accuracy with its Wilson interval and mean loss with a bootstrap interval, both over rows: one seed has no other spread. Of several
    tasks, which `config` then names, accuracy, F1 and correlation of each besides."""
    right = _right(logits, rows.labels)
    losses = _losses(logits.double(), rows.labels).cpu().numpy()
    packed = pack_bits(right.tolist()) if len(rows) <= CARRIED_ROWS else None
    accuracy = right.double().mean().item()
    metrics = {
        "accuracy": statistic([accuracy], wilson(accuracy, len(rows))),
        "loss": statistic([float(losses.mean())], bootstrap(losses)),
        **(scores.of_several(logits, rows.labels) if rows.labels.ndim == 2 else scores.of_classes(logits, rows.labels)),
    }
    if rows.tasks is not None and config is not None:
        metrics |= _by_task(logits, rows.labels, rows.tasks, config)
    if rows.labels.ndim == 2:
        return Measured((logits > 0).flatten(), metrics, packed)
    top = logits.argmax(1)
    return Measured(top, metrics, packed, scores.counted(top, rows.labels, config.classes) if config is not None else None)


def _by_task(logits: Tensor, labels: Tensor, tasks: Tensor, config: ModelConfig) -> dict[str, Statistic]:
    """Of logits [N, C], labels [N] and tasks [N]."""
    found: dict[str, Statistic] = {}
    for number, (name, own) in enumerate(zip(config.tasks, slices(config), strict=True)):
        mine = tasks == number
        z, y = logits[mine, own], labels[mine] - own.start
        accuracy = _right(z, y).double().mean().item()
        found[f"accuracy/{name}"] = statistic([accuracy], wilson(accuracy, len(y)))
        told = scores.of_classes(z, y)
        found |= {f"{score}/{name}": told[score] for score in ("f1", "mcc") if score in told}
    return found


class Told(NamedTuple):
    """Of each token that was to be told: loss [N] in nats, the likeliest answer [N], how sure it was [N], the right one [N], and its row
    [N]; and, beside a teacher, the mean divergence of the student from it."""

    losses: Tensor
    top: Tensor
    confidence: Tensor
    right: Tensor
    row: Tensor
    kl: float | None = None


def tell(network: nn.Module, config: ModelConfig, rows: Rows, teacher: Callable[[Tensor, Given], Said] | None = None) -> Told:
    """What a network says of tokens, piece by piece: logits of a whole vocabulary never stand for all tokens at once. teacher: what it says
    of the rows of an index, which the network sees as what is given."""
    network.eval()
    found: list[tuple[Tensor, ...]] = []
    divergence, count = 0.0, 0
    with torch.inference_mode():
        for index in rows.chunks(TOKEN_BATCH):
            batch = rows.batch(index)
            counted = (batch.labels != IGNORED).nonzero()[:, 0]
            said = said_of(network, config, batch.given)
            beside = teacher(index, batch.given) if teacher is not None else None
            of_row = index[_rows_asked(batch.given)]
            for piece in torch.split(counted, max(1, PIECE // said.classes)) if len(counted) else ():
                y, z = batch.labels[piece], said.head(said.features[piece]).float()
                confidence, top = F.softmax(z, dim=1).max(1)
                found.append((F.cross_entropy(z, y, reduction="none").double(), top, confidence, y, of_row[piece]))
                if beside is not None:
                    divergence += kl(z, known_of(beside, beside.features[piece.to(beside.features.device)], z)(1.0), 1.0).item() * len(
                        piece
                    )
                    count += len(piece)
    if not found:
        raise InvalidData("Of the rows to measure on no token can be told.", hint="Raise data.max_length, or use more rows.")
    losses, tops, confidence, right, row = (torch.cat(part) for part in zip(*found, strict=True))
    order = row.argsort(stable=True)  # rows were taken by length, which another tokenizer counts otherwise
    mean = divergence / max(1, count) if teacher is not None else None
    return Told(losses[order], tops[order], confidence[order], right[order], row[order], mean)


def _rows_asked(given: Given) -> Tensor:
    """[N]: for each token asked for, which row of the batch it stands in; of an answer the first and the last."""
    assert isinstance(given, TokenBatch)
    if given.asked is not None and given.decoder is not None:
        return given.asked // given.decoder.shape[1]
    if given.asked is None:
        return torch.arange(len(given.ids), device=given.ids.device).repeat_interleave(2)
    return given.asked // given.ids.shape[1]


def measure_tokens(told: Told, config: ModelConfig) -> Measured:
    """Loss and accuracy over the tokens, with bootstrap intervals over tokens; and perplexity, or what scores tells of tags."""
    losses = told.losses.cpu().numpy()
    accuracy, loss = (told.top == told.right).double().mean().item(), float(losses.mean())
    low, high = bootstrap(losses)
    metrics = {
        "loss": statistic([loss], (low, high)),
        "accuracy": statistic([accuracy], wilson(accuracy, len(losses))),
    }
    if config.task in LANGUAGE:
        metrics = {"perplexity": statistic([perplexity(loss)], (perplexity(low), perplexity(high))), **metrics}
    else:
        metrics |= scores.of_tags(told.confidence, told.top, told.right, told.row, config.classes)
    return Measured(told.top, metrics, None, None if config.task in LANGUAGE else scores.counted(told.top, told.right, config.classes))


def perplexity(loss: float) -> float:
    """e to the mean loss: as many equally likely tokens would surprise as much. Not more than a float should show."""
    return exp(min(loss, 50.0))


def wilson(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a binomial share (Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953)."""
    square = Z95**2 / count
    middle = (share + square / 2) / (1 + square)
    half = Z95 / (1 + square) * (share * (1 - share) / count + square / (4 * count)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap(values: "np.ndarray[Any, np.dtype[np.float64]]") -> tuple[float, float]:
    """95 % percentile interval of the mean (Efron 1979). Rows are drawn by counts, so large sets cost no more memory."""
    chosen, weights = scores.resamples(len(values))
    if chosen is None:
        low, high = np.quantile((weights @ values) / weights.sum(1), [0.025, 0.975])
    else:  # a sample of rows is enough for the spread of the mean, which then shrinks with the rest
        sample = values[chosen]
        spread = ((weights @ sample) / weights.sum(1) - sample.mean()) * (len(sample) / len(values)) ** 0.5
        low, high = np.quantile(values.mean() + spread, [0.025, 0.975])
    return float(low), float(high)


MOST_SHOWN = 10


def disagreements(theirs: Tensor, mine: Tensor, split: Split | TextSplit, classes: list[str]) -> list[dict[str, Any]]:
    """The rows of which teacher and student (logits [N, C]) find different classes likeliest, those first where the student is farthest
    from the teacher: row, text where there is one, class, and what both say with which probability."""
    log_t, log_s = F.log_softmax(theirs.double(), 1), F.log_softmax(mine.double(), 1)
    distance = (log_t.exp() * (log_t - log_s)).sum(1).masked_fill(theirs.argmax(1) == mine.argmax(1), -1.0)
    found = []
    for row in distance.argsort(descending=True, stable=True)[:MOST_SHOWN].tolist():
        if distance[row] < 0:
            break
        text = {"text": " | ".join(column[row] for column in split.texts if column[row])[:SHOWN]} if isinstance(split, TextSplit) else {}
        said = {
            name: {"class": classes[int(logs[row].argmax())], "p": round(float(logs[row].max().exp()), 4)}
            for name, logs in (("teacher", log_t), ("student", log_s))
        }
        found.append({"row": row, **text, "label": classes[int(split.labels[row])], **said, "kl": round(float(distance[row]), 4)})
    return found


def agreement(a: Tensor, b: Tensor) -> float:
    """Share of rows or tokens of which both find the same likeliest: top [N] of each."""
    return (a == b).float().mean().item()


def cost(network: nn.Module, config: ModelConfig, rows: Rows, size_bytes: int) -> dict[str, Any]:
    """Parameters, bytes, median latency of one row on one thread, and rows per second in batches of 64; of a network whose weights are
    ours to look at, the memory it needs."""
    with torch.inference_mode(), threads(1):
        one = rows.batch(_first(rows, 1)).given
        latency = 1000 * median(_timed(network, config, one, seconds=0.05))
    with torch.inference_mode():
        some = _first(rows, 64)
        batch = rows.batch(some).given
        seconds = median(_timed(network, config, batch, seconds=0.05))
    weights = sum(p.numel() for p in network.parameters())
    memory = {"peak_memory": {"batch": len(some), "bytes": peak_memory(network, config, batch)}} if weights else {}
    return {
        "parameters": count_parameters(network) or weights,
        "size_bytes": size_bytes,
        "latency_ms": {"batch": 1, "threads": 1, "p50": round(latency, 4)},
        "rows_per_second": {"batch": len(some), "value": round(len(some) / seconds, 1)},
        **memory,
    }


def _first(rows: Rows, count: int) -> Tensor:
    return torch.arange(min(count, len(rows)), device=rows.labels.device)


def peak_memory(network: nn.Module, config: ModelConfig, given: Given) -> int:
    """Bytes an inference of these rows needs: on a GPU what the allocator saw, on a CPU the weights and, at the widest layer,
    its input and output."""
    if next(network.parameters()).is_cuda:
        torch.cuda.reset_peak_memory_stats()
        with torch.inference_mode():
            _pass(network, config, given)
        return torch.cuda.max_memory_allocated()
    widest = 0

    def look(_layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal widest
        widest = max(widest, sum(each.nbytes for each in (*inputs, output) if isinstance(each, Tensor)))

    leaves = [layer for layer in network.modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(look) for layer in leaves]
    with torch.inference_mode():
        _pass(network, config, given)
    for hook in hooks:
        hook.remove()
    return widest + sum(p.nbytes for p in network.parameters())


def _pass(network: nn.Module, config: ModelConfig, given: Given) -> Tensor:
    return said_of(network, config, given).logits


def _timed(network: nn.Module, config: ModelConfig, given: Given, seconds: float) -> list[float]:
    """Durations of single forward passes, after a warm-up, until the time is used; at least three."""
    network.eval()
    on_gpu = any(p.is_cuda for p in network.parameters())
    for _ in range(3):
        _pass(network, config, given)
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        _pass(network, config, given)
        if on_gpu:
            torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return found
