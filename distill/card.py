"""The README.md beside a student: what it is, how good, and the lines that load it with torch alone."""

import inspect
from typing import Any

from torch import nn

from contract.model import ModelConfig
from distill.networks.build import count_parameters
from distill.networks.residual import Residual


def write(network: nn.Sequential, config: ModelConfig, report: dict[str, Any]) -> str:
    arm = report["arms"].get("student") or report["arms"]["model"]
    rows = "\n".join(
        f"| {name} | {value['mean']:.4f} | {value['ci95'][0]:.4f} – {value['ci95'][1]:.4f} |" for name, value in arm["metrics"].items()
    )
    classes = ", ".join(config.classes[:20]) + (", …" if len(config.classes) > 20 else "")
    tags = ["potstill", config.task, *(["knowledge-distillation"] if "student" in report["arms"] else [])]
    front = "\n".join(["---", "library_name: pytorch", "tags:", *(f"- {tag}" for tag in tags), "---"])
    return f"""{front}

# {config.arch} for {config.task}

{report["verdict"]}

{count_parameters(network):,} parameters · {len(config.classes)} classes: {classes}

| {report["split"]} ({report["rows"]:,} rows) | value | 95 % |
| --- | --- | --- |
{rows}

## Load it

```python
import torch; from safetensors.torch import load_file
{_classes_used(network)}model = torch.nn.{_source(network)}
model.load_state_dict(load_file("model.safetensors")); model.eval()
```

`model(x)` gives logits [N, {len(config.classes)}] for `x` of shape [N, {", ".join(map(str, config.shape))}]; the class of row i is
`{_classes_source(config)}[logits[i].argmax()]`. {_input(config)}
"""


def _source(network: nn.Sequential) -> str:
    """The constructor call that rebuilds the network: torch's own repr of each layer is one."""
    return "Sequential(" + ", ".join(repr(layer) if isinstance(layer, Residual) else f"torch.nn.{layer!r}" for layer in network) + ")"


def _classes_used(network: nn.Sequential) -> str:
    """Source of the classes of ours that the network has, so that the card needs torch alone."""
    return f"\n{inspect.getsource(Residual)}\n" if any(isinstance(layer, Residual) for layer in network) else ""


def _classes_source(config: ModelConfig) -> str:
    return 'json.load(open("config.json"))["classes"]'


def _input(config: ModelConfig) -> str:
    if isinstance(config.input.divide, list) or isinstance(config.input.subtract, list):
        return "Raw numbers go in as `(x - subtract) / divide`, both listed under `input` in config.json."
    if config.input.divide == 1.0 and config.input.subtract == 0.0:
        return "Numbers go in as they are, in float32."
    return f"Raw pixels go in as `x / {config.input.divide:g}`, in float32."
