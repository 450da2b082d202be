"""`make bench-gpu`: language models distilled on one GPU, beside Hugging Face's Trainer and TRL's GKDTrainer with equal settings, and the
losses of a vocabulary of 152,000 in pieces beside torch's own functions. Some eight minutes; where there is no GPU it says so.

`python -m benchmarks.gpu --peers PYTHON`: that of an environment as `python -m benchmarks.training` takes it, with torch for CUDA. Networks
have random weights, as how good a teacher is changes nobody's work, and read English text out of Python's own library. Each contender
trains as long as `SECONDS` of products at half the speed that was measured would take. Utilisation is what the networks' products need,
2 for each weight and token of the teacher and 6 of the student, attention included, over the seconds and the speed of a large product.
"""

import argparse
import time
from pathlib import Path
from pydoc_data.topics import topics
from statistics import median
from typing import Any, NamedTuple

import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from benchmarks import figures
from benchmarks.products import fastest
from benchmarks.training.__main__ import contend
from benchmarks.training.inputs import blocks, like, texts
from benchmarks.training.tasks import Order, of_words

SECONDS, LONGEST = 12.0, 420.0  # for each contender; no round begins later
MASKED = {"potstill": "ours", "HF Trainer": "words_trainer"}
CAUSAL = {**MASKED, "TRL GKD": "words_trl"}
VOCABULARY, TOKENS, WIDTH = 151_936, 4096, 1024


class Case(NamedTuple):
    task: str
    block: int
    batch: int
    vocabulary: int  # of both networks; their tokenizer makes fewer
    contenders: dict[str, str]


CASES = {
    "BERT-base → 6 layers, 128 tokens": Case("masked", 128, 64, 30_522, MASKED),
    "BERT-base → 6 layers, 512 tokens": Case("masked", 512, 16, 30_522, MASKED),
    "GPT-2 → 6 layers, 512 tokens": Case("causal", 512, 16, 50_257, CAUSAL),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--peers", help="the Python of the peers' environment; without it this project alone is measured")
    parser.add_argument("--work", default=Path("build/gpu"), type=Path, help="networks, texts and results of contenders")
    parser.add_argument("--try", dest="trial", action="store_true", help="on the processor, tiny and of no worth: whether it works")
    asked = parser.parse_args()
    asked.threads, asked.device = 8, "cpu" if asked.trial else "cuda"
    if not asked.trial and not torch.cuda.is_available():
        print("There is no GPU that torch can use: nothing was measured. `--try` shows on the processor that all of it runs.")
        return
    speed, began = fastest(torch.bfloat16, [8192] if asked.device == "cuda" else [256], asked.device), time.monotonic()
    print(f"{_name(asked.device)}: {speed / 1e12:.1f} Tflop/s in a large product", flush=True)
    orders = {title: _order(case, asked, speed) for title, case in CASES.items()}
    rounds: list[dict[str, Any]] = []
    while not rounds or (not asked.trial and time.monotonic() - began < LONGEST * len(rounds) / (len(rounds) + 1)):
        rounds.append({title: _round(title, orders[title], asked, len(rounds)) for title in CASES})
    rows = [_row(title, contender, rounds, orders[title]["flops"], speed) for title in CASES for contender in rounds[0][title]]
    losses = _losses(asked)
    if not asked.trial:
        figures.write("gpu", "make bench-gpu", gpu=_name(asked.device), product=speed, rounds=len(rounds), rows=rows, losses=losses)


def _name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "no GPU"


def _seconds(work: Any, device: str) -> float:
    for _ in range(2):  # the first warms up
        began = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
    return time.perf_counter() - began


def _order(case: Case, asked: Any, speed: float) -> Order:
    """flops: of one token."""
    folder = asked.work.absolute() / f"{case.task}-{case.block}"
    text = "\n".join(topics.values())[: 60_000 if asked.trial else None]
    held_out = len(text) // 20
    spec = texts(folder / "small", case.task, text[:-held_out], text[-held_out:], case.block, {"layers": 1, "hidden": 64, "heads": 1})
    kind, bert = (AutoModelForMaskedLM, True) if case.task == "masked" else (AutoModelForCausalLM, False)
    names = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size") if bert else ("n_layer", "n_embd", "n_head")
    flops = 0
    for name, layers, times in (("teacher", 12, 2), ("student", 6, 6)):
        width, heads = (64, 1) if asked.trial else (768, 12)
        sizes = dict(zip(names, (2 if asked.trial else layers, width, heads, 4 * width), strict=False))
        like(folder / "small/teacher", folder / name, kind, {**sizes, "vocab_size": case.vocabulary})
        network = kind.from_pretrained(folder / name)
        looked_up = sum(each.weight.numel() for key, each in network.named_modules() if key.endswith(("position_embeddings", "wpe")))
        attended = sizes[names[0]] * 2 * case.block * width * (1 if bert else 0.5)  # half of it lies in the future of a causal one
        flops += times * (sum(weight.numel() for weight in network.parameters()) - looked_up + attended)
    made = blocks(spec, folder / "small", case.block)
    epochs = 1 if asked.trial else max(1, round(SECONDS * speed / 2 / flops / made["tokens"]))
    return {**of_words(case.task, folder, made, epochs, case.batch, bf16=not asked.trial), "flops": flops}


def _round(title: str, order: Order, asked: Any, number: int) -> dict[str, Any]:
    contenders = {name: script for name, script in CASES[title].contenders.items() if asked.peers or script == "ours"}
    names = list(contenders)[number % len(contenders) :] + list(contenders)[: number % len(contenders)]
    given = {**order, "threads": asked.threads, "device": asked.device}
    found = {name: contend(contenders[name], given, asked.work.absolute() / "runs", asked, warm=False) for name in names}
    return {name: found[name] for name in contenders}


def _row(title: str, contender: str, rounds: list[dict[str, Any]], flops: float, speed: float) -> dict[str, Any]:
    mine = [one[title][contender] for one in rounds]
    rates = [one["tokens"] / one["train_s"] for one in mine]
    ratios = [one[title][contender]["train_s"] / one[title]["potstill"]["train_s"] for one in rounds]
    row = {
        "what": title, "who": contender, "tokens_per_second": round(median(rates)), "rates": [round(rate) for rate in rates],
        "utilisation": round(median(rates) * flops / speed, 3), "peak_mib": round(median(one["peak_mb"] for one in mine)),
        "loss": round(median(one["loss"] for one in mine), 3), "potstill_is": [round(ratio, 2) for ratio in ratios],
    }  # fmt: skip
    print(row, flush=True)
    return row


def _losses(asked: Any) -> list[dict[str, Any]]:
    """Seconds and peak MiB of kl + clm, forward and backward, for 4,096 tokens and heads of 1,024 × 151,936."""
    from contract.registry import Clm, Kl
    from distill import objectives

    device, size = asked.device, (512, 256, 64) if asked.trial else (VOCABULARY, TOKENS, WIDTH)
    vocabulary, tokens, width = size
    heads = [torch.nn.Linear(width, vocabulary, bias=False, device=device) for _ in range(2)]
    heads[1].requires_grad_(False)
    labels = torch.randint(0, vocabulary, (tokens,), device=device)
    features = [torch.randn(tokens, width, device=device, requires_grad=first) for first in (True, False)]
    objective = objectives.Objective([Kl(temperature=2.0), Clm()])

    def ours() -> None:
        student, teacher = (objectives.Said(x, head, vocabulary) for x, head in zip(features, heads, strict=True))
        objective(student, labels, teacher)[0].backward()

    def torchs() -> None:
        z_s, z_t = heads[0](features[0]), heads[1](features[1])
        soft = functional.kl_div(functional.log_softmax(z_s / 2, -1), functional.softmax(z_t / 2, -1), reduction="batchmean")
        (4 * soft + functional.cross_entropy(z_s, labels)).backward()

    found = []
    for name, work in (("in pieces", ours), ("torch's functions", torchs)):
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        with torch.autocast(device, torch.bfloat16):
            seconds = _seconds(work, device)
        peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else 0.0
        found.append({"how": name, "seconds": seconds, "peak_mib": round(peak)})
        print(found[-1], flush=True)
    return found


if __name__ == "__main__":
    main()
