"""The README.md beside a student: what it is, how good, and the lines that load it with torch alone, or with transformers."""

import inspect
from typing import Any

from torch import nn

from contract.model import ModelConfig
from distill.networks.build import count_parameters
from distill.networks.library import OPENERS
from distill.networks.reading import LibraryNetwork, TextNetwork
from distill.networks.residual import Residual
from distill.networks.texts import Recurrent, RecurrentLm, TextCnn
from distill.tasks import slices


def write(network: nn.Module, config: ModelConfig, report: dict[str, Any]) -> str:
    arm = report["arms"].get("student") or report["arms"]["model"]
    rows = "\n".join(
        f"| {name} | {value['mean']:.4f} | {value['ci95'][0]:.4f} – {value['ci95'][1]:.4f} |" for name, value in arm["metrics"].items()
    )
    pipelines = {"masked-lm": "fill-mask", "causal-lm": "text-generation", "seq2seq": "text2text-generation"}
    classes = ", ".join(config.classes[:20]) + (", …" if len(config.classes) > 20 else "")
    tags = ["potstill", config.task, *(["knowledge-distillation"] if "student" in report["arms"] else [])]
    library = "transformers" if config.of_library else "pytorch"
    more = [f"pipeline_tag: {pipelines.get(config.task, config.task)}"] if config.of_library else []
    front = "\n".join(
        ["---", f"library_name: {library}", *more, "tags:", *(f"- {tag}" for tag in tags), _index(config, report, arm), "---"]
    )
    return f"""{front}

# {config.arch} for {config.task}

{report["verdict"]}

{count_parameters(network):,} parameters{_adapted(arm)}{f" · {len(config.classes)} classes: {classes}" if classes else ""}
{_tasks(config)}
| {report["split"]} ({report["rows"]:,} rows) | value | 95 % |
| --- | --- | --- |
{rows}

## Load it

{_loading(network, config)}
"""


def _adapted(arm: dict[str, Any]) -> str:
    trained = arm.get("trainable_parameters")
    return f", of which {trained:,} were trained: LoRA, merged; `adapter/` has it by itself" if trained is not None else ""


def _tasks(config: ModelConfig) -> str:
    """Of several tasks each with its classes, in the order of the logits."""
    told = "".join(f"- `{task}`: {', '.join(classes)}\n" for task, classes in config.by_task.items())
    return f"\n{len(config.tasks)} tasks, each with a head of its own:\n\n{told}" if told else ""


def _index(config: ModelConfig, report: dict[str, Any], arm: dict[str, Any]) -> str:
    """The figures as the Hub reads them (https://huggingface.co/docs/hub/model-cards, model-index)."""
    rows = f"{report['split']}, {report['rows']} rows, sha256 {report['rows_sha256'][:12]}"
    metrics = [f"    - {{type: {name}, value: {value['mean']:.6g}}}" for name, value in arm["metrics"].items()]
    head = [f"- name: {config.arch}", "  results:", f"  - task: {{type: {config.task}}}", f"    dataset: {{type: custom, name: '{rows}'}}"]
    return "\n".join(["model-index:", *head, "    metrics:", *metrics])


def _loading(network: nn.Module, config: ModelConfig) -> str:
    if isinstance(network, LibraryNetwork):
        return _with_transformers(config)
    if isinstance(network, TextNetwork):
        return _with_tokenizers(network, config)
    assert isinstance(network, nn.Sequential)
    return f"""```python
import torch; from safetensors.torch import load_file
{_classes_used(network)}model = torch.nn.{_source(network)}
model.load_state_dict(load_file("model.safetensors")); model.eval()
```

`model(x)` gives logits [N, {len(config.classes)}] for `x` of shape [N, {", ".join(map(str, config.shape))}]; the class of row i is
`{CLASSES}[logits[i].argmax()]`. {_input(config)}"""


def _with_transformers(config: ModelConfig) -> str:
    assert config.text is not None
    kind = OPENERS[config.task]
    pair = ", second_texts" if config.text.texts == 2 else ""
    given = f'tokenizer(texts{pair}, padding=True, truncation=True, max_length={config.text.max_length}, return_tensors="pt")'
    told = {
        "question-answering": "answer = model(**given)",
        "seq2seq": f"ids = model.generate(**given, max_new_tokens={config.text.max_length})\n"
        "written = tokenizer.batch_decode(ids, skip_special_tokens=True)",
    }.get(config.task, "logits = model(**given).logits")
    return f"""```python
from transformers import {kind}, AutoTokenizer
tokenizer, model = AutoTokenizer.from_pretrained("."), {kind}.from_pretrained(".")
given = {given}
{told}
```

{_answers(config, "model.config.id2label[logits[i].argmax().item()]")}"""


def _with_tokenizers(network: TextNetwork, config: ModelConfig) -> str:
    assert config.text is not None
    pair = "list(zip(texts, second_texts))" if config.text.texts == 2 else "texts"
    return f"""```python
import json, torch; from safetensors.torch import load_file; from tokenizers import Tokenizer

{_classes_of(network.inner)}
model = {_call(network.inner)}
model.load_state_dict(load_file("model.safetensors")); model.eval()
tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_truncation({config.text.max_length}); tokenizer.enable_padding(pad_id={network.reader.pad})
rows = tokenizer.encode_batch({pair})
logits = model(torch.tensor([row.ids for row in rows]), torch.tensor([row.attention_mask for row in rows]).bool())
```

{_answers(config, f"{CLASSES}[logits[i].argmax()]")}"""


def _answers(config: ModelConfig, best: str) -> str:
    if config.task == "seq2seq":
        return "`written` is what becomes of each of N `texts`."
    if config.task == "question-answering":
        return "`texts` are N questions, `second_texts` what they are about; `answer.start_logits` and `answer.end_logits` are [N, length]."
    if config.by_token and config.classes:
        best = best.replace("logits[i]", "logits[i, k]")
        return (
            f"`logits` is [N, length, {len(config.classes)}] for a list of N texts; the class of a word whose first token is k is `{best}`."
        )
    if config.multi_label:
        named = best.replace("logits[i].argmax().item()", "c").replace("logits[i].argmax()", "c")
        return f"`logits` is [N, {len(config.classes)}] for a list of N texts; row i has class c, `{named}`, where `logits[i, c] > 0`."
    if config.tasks:
        own = ", ".join(f"`{task}` {place.start} to {place.stop - 1}" for task, place in zip(config.tasks, slices(config), strict=True))
        return f"`logits` is [N, {len(config.classes)}] for a list of N texts, of each task its own: {own}; the largest is the row's class."
    if config.classes:
        return f"`logits` is [N, {len(config.classes)}] for a list of N texts; the class of row i is `{best}`."
    told = "the token after it" if config.task == "causal-lm" else "the token itself, where `tokenizer.mask_token` hides it"
    return f"`logits` is [N, length, vocabulary] for a list of N texts: at each place those of {told}."


CLASSES = 'json.load(open("config.json"))["classes"]'


def _classes_of(inner: nn.Module) -> str:
    """Source of its class, and of what that is made from."""
    ours = [kind for kind in reversed(type(inner).mro()) if kind.__module__ == Recurrent.__module__]
    return "\n\n".join(inspect.getsource(kind) for kind in ours)


def _call(inner: nn.Module) -> str:
    """The constructor call that rebuilds a small text network."""
    if isinstance(inner, Recurrent):
        layers, wide = inner.layers, inner.embedding
        figures = (layers.mode, wide.num_embeddings, wide.embedding_dim, layers.hidden_size, layers.num_layers, layers.bidirectional)
    elif isinstance(inner, TextCnn):
        first, wide = inner.convolutions[0], inner.embedding
        assert isinstance(first, nn.Conv1d)
        figures = (wide.num_embeddings, wide.embedding_dim, first.out_channels, inner.widths)  # type: ignore[assignment]
    elif isinstance(inner, RecurrentLm):
        layers, wide = inner.layers, inner.embedding
        figures = (layers.mode, wide.num_embeddings, wide.embedding_dim, layers.hidden_size, layers.num_layers)  # type: ignore[assignment]
        return f"RecurrentLm({', '.join(map(repr, (*figures, inner.dropout.p)))})"
    else:
        raise TypeError(f"no card is known for {type(inner).__name__}")
    return f"{type(inner).__name__}({', '.join(map(repr, (*figures, inner.dropout.p, inner.classifier.out_features)))})"


def _source(network: nn.Sequential) -> str:
    """The constructor call that rebuilds the network: torch's own repr of each layer is one."""
    return "Sequential(" + ", ".join(repr(layer) if isinstance(layer, Residual) else f"torch.nn.{layer!r}" for layer in network) + ")"


def _classes_used(network: nn.Sequential) -> str:
    """Source of the classes of ours that the network has, so that the card needs torch alone."""
    return f"\n{inspect.getsource(Residual)}\n" if any(isinstance(layer, Residual) for layer in network) else ""


def _input(config: ModelConfig) -> str:
    if isinstance(config.input.divide, list) or isinstance(config.input.subtract, list):
        return "Raw numbers go in as `(x - subtract) / divide`, both listed under `input` in config.json."
    if config.input.divide == 1.0 and config.input.subtract == 0.0:
        return "Numbers go in as they are, in float32."
    return f"Raw pixels go in as `x / {config.input.divide:g}`, in float32."
