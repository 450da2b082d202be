"""Networks of the transformers library: opened from a folder, built from a description, made of another one's layers.

Safetensors only, no code from outside, nothing is downloaded. The library is imported when the first such network is needed.
"""

import json
import logging
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from contract.errors import ErrorCode, InvalidSpec, JobError
from contract.model import OURS, ModelConfig, Reading, of_transformers
from contract.registry import T5, Bert, Distilbert, Gpt2, Llama, Qwen2, Roberta
from contract.registry.tasks import LANGUAGE
from contract.shapes import DataShape
from distill.networks import distilbert
from distill.networks.reader import Reader
from distill.networks.reading import LibraryNetwork

Transformer = Bert | Roberta | Distilbert | Gpt2 | Llama | Qwen2 | T5
OPENERS = {
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "seq2seq": "AutoModelForSeq2SeqLM",
    "masked-lm": "AutoModelForMaskedLM",
    "causal-lm": "AutoModelForCausalLM",
}
BENDS = ("final_logit_softcapping", "logit_scale", "logits_scaling")  # what some networks do to logits after the last matrix
BLOCK = re.compile(r"(?P<before>(?:.*?\.)?(?:layers?|h|blocks?)\.)(?P<number>\d+)(?P<after>\..*)")
OF_DECODERS = "num_decoder_layers", "decoder_layers"  # T5's word, and BART's
SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def opened(folder: Path, config: ModelConfig, task: str, made_for: DataShape) -> tuple[LibraryNetwork, ModelConfig]:
    """The network in a folder, in float32, with the head for `task`. Where it has none, or one of another kind, it gets a new head, drawn
    from torch's random state. JobError where weights and config disagree."""
    several = made_for.answers == "classes"
    new_head = config.task != task or (bool(made_for.classes) and config.multi_label != several)
    if not new_head:
        made_for = config.made_for
    labels = _labels(made_for) if new_head else {}
    try:
        inner, found = _auto(task).from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=new_head, **SAFE, **labels
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise _invalid(folder, str(error).strip().splitlines()[0][:300]) from None
    base = set(inner.base_model.state_dict())
    prefix = f"{inner.base_model_prefix}."
    missing = [name for name in found["missing_keys"] if not new_head or name.removeprefix(prefix) in base]
    missing = [name for name in missing if "pooler" not in name]  # many are published without, and only classifiers need one
    odd = sorted(name for name, *_ in found["mismatched_keys"] if name.removeprefix(prefix) in base)
    if odd:
        raise _invalid(folder, f"{len(odd)} of its tensors have other shapes than its config.json describes, {odd[0]} among them")
    if missing:
        raise _invalid(folder, f"its weights lack {len(missing)} tensors that its config.json describes, {missing[0]} among them")
    return _with_reader(inner, Reader.load(folder), config, task, made_for)


def built(spec: Transformer, task: str, reader: Reader, made_for: DataShape, max_length: int | None) -> tuple[LibraryNetwork, ModelConfig]:
    """A described network, its weights drawn from torch's random state."""
    from transformers import AutoConfig

    auto = _auto(task)
    given = {**spec.settings(), "vocab_size": reader.vocabulary, "pad_token_id": reader.pad, **_labels(made_for)}
    if isinstance(spec, (Gpt2, Llama, Qwen2)):
        given |= {"bos_token_id": reader.end, "eos_token_id": reader.end}
    if isinstance(spec, T5):
        given |= {"decoder_start_token_id": reader.pad, "eos_token_id": reader.end}
    inner = auto.from_config(AutoConfig.for_model(spec.arch, **given))
    length = min(max_length or spec.positions, spec.positions)
    return _finished(inner, reader, Reading(texts=made_for.texts, vocabulary=reader.vocabulary, max_length=length), made_for)


def from_layers(
    folder: Path, layers: list[int], task: str, made_for: DataShape, arch: str | None = None
) -> tuple[LibraryNetwork, ModelConfig]:
    """Embeddings and head of the network in `folder`, and of its blocks those in `layers` (Sanh et al. 2019, section 3). arch:
    `distilbert` makes one of a BERT's."""
    from transformers import AutoConfig

    config = ModelConfig.read(json.loads((folder / "config.json").read_text()))
    if not config.of_library:
        raise InvalidSpec(
            f"student.init: a {config.arch} has no layers to take; that is for networks of transformers.",
            param="student.init",
            hint="Describe the student by `arch`.",
        )
    whole, config = opened(folder, config, task, made_for)
    source: Any = whole.inner
    deep = [getattr(source.config, name, None) for name in ("num_hidden_layers", *OF_DECODERS)]
    count = min(depth for depth in deep if depth is not None)
    if layers[-1] >= count:
        raise InvalidSpec(
            f"student.layers: there is no layer {layers[-1]}; that network has {count}, 0 to {count - 1}.",
            param="student.layers",
            hint=f"Half of them: {list(range(0, count, 2))}.",
        )
    assert config.text is not None
    if arch == "distilbert":
        inner = _auto(task).from_config(
            AutoConfig.for_model(arch, **distilbert.settings(source.config, len(layers)), **_labels(config.made_for))
        )
        distilbert.put(of_layers(source.state_dict(), layers), inner, classifies=task == "text-classification")
        return _finished(inner, whole.reader, config.text, config.made_for)
    fewer = AutoConfig.from_pretrained(folder, **SAFE)
    fewer.num_hidden_layers = len(layers)
    for name in OF_DECODERS:
        if getattr(fewer, name, None) is not None:
            setattr(fewer, name, len(layers))
    for name, value in _labels(config.made_for).items():
        setattr(fewer, name, value)
    if isinstance(getattr(fewer, "layer_types", None), list):
        fewer.layer_types = [source.config.layer_types[layer] for layer in layers]
    inner = _auto(task).from_config(fewer)
    inner.load_state_dict(of_layers(source.state_dict(), layers))
    return _finished(inner, whole.reader, config.text, config.made_for)


def of_layers(weights: dict[str, torch.Tensor], layers: list[int]) -> dict[str, torch.Tensor]:
    """The weights with only these blocks, counted anew."""
    place = {layer: number for number, layer in enumerate(layers)}
    found = {}
    for name, tensor in weights.items():
        match = BLOCK.fullmatch(name)
        if match is None or "relative_attention_bias" in name:  # which stands in the first block, for all
            found[name] = tensor
        elif int(match["number"]) in place:
            found[f"{match['before']}{place[int(match['number'])]}{match['after']}"] = tensor
    return found


def save(network: LibraryNetwork, config: ModelConfig, folder: Path) -> None:
    """A folder that transformers opens, with what only we know under a key of its own in config.json."""
    inner: Any = network.inner
    assert config.text is not None
    tasks = {"tasks": config.tasks} if config.tasks else {}
    setattr(inner.config, OURS, {"task": config.task, "text": config.text.model_dump(), "weights": config.weights, **tasks})
    inner.save_pretrained(folder)
    names = ["input_ids", *(["token_type_ids"] if network.takes_segments else []), "attention_mask"]
    network.reader.save(folder, model_input_names=names)


def _finished(inner: Any, reader: Reader, reading: Reading, made_for: DataShape) -> tuple[LibraryNetwork, ModelConfig]:
    setattr(inner.config, OURS, {"text": reading.model_dump()})
    inner.config.architectures = [type(inner).__name__]
    config = of_transformers(inner.config.to_dict())
    return _with_reader(inner, reader, config, config.task, made_for)


def _with_reader(inner: Any, reader: Reader, config: ModelConfig, task: str, made_for: DataShape) -> tuple[LibraryNetwork, ModelConfig]:
    if reader.vocabulary > inner.config.vocab_size:
        raise JobError(
            f"The tokenizer knows {reader.vocabulary:,} tokens and the network {inner.config.vocab_size:,}.",
            code=ErrorCode.INVALID_MODEL,
            hint="Tokenizer and weights must be of one network.",
        )
    bent = next((name for name in BENDS if getattr(inner.config, name, None) not in (None, 1.0)), None)
    if bent is not None and task in LANGUAGE:
        raise JobError(f"Networks with {bent} are not known as language models yet.", code=ErrorCode.INVALID_MODEL)
    padding = inner.config.pad_token_id
    if padding is None:
        inner.config.pad_token_id = reader.pad
    elif 0 <= padding < inner.config.vocab_size:
        reader.padding = padding
    weights = sum(parameter.numel() for parameter in inner.parameters())
    told = {"classes": made_for.classes, "multi_label": made_for.answers == "classes", "tasks": list(made_for.tasks)}
    config = config.model_copy(update={**told, "weights": weights, "task": task})
    assert config.text is not None
    return LibraryNetwork(inner, reader, config.text), config


def _auto(task: str) -> Any:
    import transformers
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.getLogger("transformers").setLevel(logging.ERROR)  # its hints are for notebooks; what matters is checked here
    return getattr(transformers, OPENERS[task])


def _labels(made_for: DataShape) -> dict[str, Any]:
    """What transformers' config says of classes."""
    if made_for.answers == "span":
        return {"num_labels": 2}  # the first token and the last
    names = dict(enumerate(made_for.classes))
    if not names:
        return {}
    kind = "multi_label_classification" if made_for.answers == "classes" else None
    return {"num_labels": len(names), "id2label": names, "label2id": {name: number for number, name in names.items()}, "problem_type": kind}


def _invalid(folder: Path, why: str) -> JobError:
    return JobError(
        f"{folder.name} is not a model Potstill can load: {why}.",
        code=ErrorCode.INVALID_MODEL,
        hint="A model is a folder as save_pretrained writes it: config.json, model.safetensors, tokenizer.json. Pickles are never opened.",
    )
