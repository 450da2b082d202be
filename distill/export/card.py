"""The part of a student's card that says how its ONNX files are run, without PyTorch."""

from typing import Any

from torch import nn

from contract.model import WEIGHTS, ModelConfig
from distill.export.running import takes_segments
from distill.networks import TextNetwork


def section(network: nn.Module, config: ModelConfig, report: dict[str, Any]) -> str:
    """The files with their figures, and the lines that run the smallest."""
    files, metric = report["export"]["files"], report["metric"]
    rows = "\n".join(_row(name, report["arms"][arm], metric) for arm, name in {"model": WEIGHTS, **files}.items())
    file = list(files.values())[-1]
    return f"""
## Run it with onnxruntime

| file | {metric} | bytes | one row |
| --- | --- | --- | --- |
{rows}

```python
{_texts(network, config, file) if isinstance(network, TextNetwork) else _numbers(file)}
```

{_said(config)}
"""


def _row(name: str, arm: dict[str, Any], metric: str) -> str:
    return f"| `{name}` | {arm['metrics'][metric]['mean']:.4f} | {arm['size_bytes']:,} | {arm['latency_ms']['p50']:.3g} ms |"


def _numbers(file: str) -> str:
    return f"""import numpy as np; import onnxruntime

session = onnxruntime.InferenceSession("{file}")
(logits,) = session.run(None, {{"features": np.asarray(x, dtype=np.float32)}})"""


def _texts(network: TextNetwork, config: ModelConfig, file: str) -> str:
    assert config.text is not None
    pair = "list(zip(texts, second_texts))" if config.text.texts == 2 else "texts"
    parts = {"input_ids": "ids", "attention_mask": "attention_mask", **({"token_type_ids": "type_ids"} if takes_segments(network) else {})}
    given = ", ".join(f'"{name}": [row.{part} for row in rows]' for name, part in parts.items())
    outputs = "first, last" if config.made_for.answers == "span" else "(logits,)"
    return f"""import numpy as np; import onnxruntime; from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_truncation({config.text.max_length}); tokenizer.enable_padding(pad_id={network.reader.pad})
rows = tokenizer.encode_batch({pair})
given = {{{given}}}
session = onnxruntime.InferenceSession("{file}")
{outputs} = session.run(None, {{name: np.asarray(values, dtype=np.int64) for name, values in given.items()}})"""


def _said(config: ModelConfig) -> str:
    if config.made_for.answers == "span":
        return "`first` and `last` are [N, length]: how likely the answer begins and ends at a token."
    shape = ", ".join(map(str, config.shape))
    taken = f"`x` is [N, {shape}], raw numbers: they are scaled inside. " if config.shape else ""
    each = "length, vocabulary" if config.made_for.speaks else f"length, {len(config.classes)}" if config.by_token else len(config.classes)
    return f"{taken}`logits` is [N, {each}], in the order of the classes above." if config.classes else f"{taken}`logits` is [N, {each}]."
