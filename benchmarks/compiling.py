"""`python -m benchmarks.compiling`: a training step of a small BERT compiled and as it is, on this processor; one thread.

Says why `compile: auto` compiles nothing on CPUs.
"""

import time
from statistics import median

import torch

SIZES = ((64, 2), (256, 4))  # width, layers
LENGTHS = (24, 32, 40, 28)
STEPS = 16


def _steps(width: int, layers: int, compiled: bool) -> tuple[float, float]:
    """Seconds of the first steps, which compile, and milliseconds of a later one: 64 texts of changing length."""
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=max(2, width // 64),
        intermediate_size=4 * width,
        vocab_size=8192,
    )
    network = BertForSequenceClassification(config).train()
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    if compiled:
        network.base_model.compile(dynamic=True)
    times = []
    for step in range(STEPS):
        ids = torch.randint(0, 8192, (64, LENGTHS[step % len(LENGTHS)]))
        start = time.perf_counter()
        network(input_ids=ids, labels=ids[:, 0] % 2).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - start)
    return sum(times[:4]), 1000 * median(times[4:])


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"{'width':>6} {'layers':>6} {'as it is, ms':>13} {'compiled, ms':>13}  times as fast  seconds to compile")
    for width, layers in SIZES:
        (before, plain), (first, fused) = _steps(width, layers, False), _steps(width, layers, True)
        print(f"{width:>6} {layers:>6} {plain:>13.1f} {fused:>13.1f}  {plain / fused:<13.2f}  {first - before:.0f}")
