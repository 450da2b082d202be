"""`python -m benchmarks.full_size`: BERT-base and DistilBERT in full size, random weights: parameters, and time for texts of 128 tokens.

DistilBERT is made of BERT's layers 0, 2, 4, 7, 9, 11, as published. Both run interleaved, so that the ratio is of like conditions. What is
found is kept beside the results of `make results`.
"""

import time
from collections.abc import Callable
from statistics import median, quantiles
from typing import Any

import torch

from benchmarks.results import store
from contract.registry import Bert
from distill.device import autocast, survives_bf16
from distill.networks import distilbert
from distill.networks.library import of_layers

VOCABULARY, TOKENS, ROUNDS = 30_522, 128, 9
LAYERS = [0, 2, 4, 7, 9, 11]
CPU = torch.device("cpu")


def main() -> None:
    torch.manual_seed(0)
    bert, small = _networks()
    found: dict[str, Any] = {"parameters": [_count(bert), _count(small)], "tokens": TOKENS, "rounds": ROUNDS, "timed": []}
    for batch, threads in ((1, 1), (8, 1)):
        for bf16 in (False, True) if survives_bf16() else (False,):
            torch.set_num_threads(threads)
            times = _interleaved(bert, small, torch.randint(0, VOCABULARY, (batch, TOKENS)), bf16)
            ratios = [a / b for a, b in zip(*times, strict=True)]
            low, _, high = quantiles(ratios, n=4)
            row = {"batch": batch, "threads": threads, "bf16": bf16, "ms": [median(each) for each in times]}
            found["timed"].append({**row, "ratio": median(ratios), "quartiles": [low, high]})
            print(found["timed"][-1], flush=True)
    store.write("full-size", found)


def _networks() -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModelForMaskedLM

    spec = Bert(layers=12, hidden=768, heads=12, positions=512)
    bert = AutoModelForMaskedLM.from_config(AutoConfig.for_model("bert", **spec.settings(), vocab_size=VOCABULARY, pad_token_id=0))
    small = AutoModelForMaskedLM.from_config(AutoConfig.for_model("distilbert", **distilbert.settings(bert.config, len(LAYERS))))
    distilbert.put(of_layers(bert.state_dict(), LAYERS), small, classifies=False)
    return bert.eval(), small.eval()


def _count(network: Any) -> int:
    """Of the encoder with its embeddings, which is what the paper counts."""
    return sum(p.numel() for p in network.base_model.parameters())


def _interleaved(bert: Any, small: Any, ids: torch.Tensor, bf16: bool) -> tuple[list[float], list[float]]:
    """Milliseconds of each pass through the encoders."""
    runs: list[Callable[[], Any]] = [lambda net=net: net.base_model(input_ids=ids) for net in (bert, small)]  # type: ignore[misc]
    times: tuple[list[float], list[float]] = ([], [])
    with torch.inference_mode(), autocast(CPU, bf16):
        for run in runs:
            run()
        for _ in range(ROUNDS):
            for run, into in zip(runs, times, strict=True):
                start = time.perf_counter()
                run()
                into.append(1000 * (time.perf_counter() - start))
    return times


if __name__ == "__main__":
    main()
