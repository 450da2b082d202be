"""`python -m benchmarks.precision`: a training step of a small BERT in bf16 beside fp32, for several widths; one thread, interleaved.

Says from which width on `precision: auto` should choose bf16 (`distill.device.WORTH`).
"""

import time
from statistics import median

import torch

from distill.device import autocast, survives_bf16

WIDTHS = (16, 32, 64, 128, 256, 384)
ROUNDS = 7


def _step(width: int) -> "tuple[float, float]":
    """Milliseconds of processor time of one step in fp32 and in bf16: 64 texts of 32 tokens, two layers."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        hidden_size=width, num_hidden_layers=2, num_attention_heads=max(2, width // 64), intermediate_size=4 * width, vocab_size=8192
    )
    network = BertForSequenceClassification(config).train()
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    ids = torch.randint(0, 8192, (64, 32))
    found: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(ROUNDS):
        for bf16, times in found.items():
            start = time.process_time()
            with autocast(torch.device("cpu"), bf16):
                loss = network(input_ids=ids, labels=ids[:, 0] % 2).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            times.append(1000 * (time.process_time() - start))
    return median(found[False][1:]), median(found[True][1:])


if __name__ == "__main__":
    torch.set_num_threads(1)
    if not survives_bf16():
        raise SystemExit("This processor does not compute in bf16.")
    print(f"{'width':>6} {'fp32, ms':>9} {'bf16, ms':>9}  times as fast")
    for width in WIDTHS:
        plain, short = _step(width)
        print(f"{width:>6} {plain:>9.1f} {short:>9.1f}  {plain / short:.2f}")
