"""What the contenders are given: rows, a trained teacher and a student's first weights, made once in a folder and the same for all."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from benchmarks.results.parts import encoder
from contract.check import parse_spec
from distill.data import load as data_of
from distill.inputs import Inputs
from distill.networks import load, rows_for
from distill.train import run

MAX_LENGTH = 64
BLOCK, LETTERS, VOCABULARY = 128, 150_000, 8192
SOURCES = {"masked": "wikitext-2/valid.txt", "causal": "tinyshakespeare/input.txt"}
TEACHER = {"arch": "bert", "layers": 6, "hidden": 256, "heads": 4, "positions": 128}


def sentences(data: Path, folder: Path, rows: int) -> None:
    """The first rows of SST-2, its 872 held-out ones, a BERT of 6 × 256 that has seen those rows once, and one of 2 × 128 with new weights.
    How good the teacher is changes no contender's work."""
    _reviews(data, folder, rows, TEACHER, 3e-4)
    if not (folder / "student").exists():
        _small(folder / "teacher", folder / "student", AutoModelForSequenceClassification)


def pretrained(data: Path, folder: Path, rows: int) -> None:
    """The same rows, MiniLM (6 × 384, pre-trained) that has seen them once, and every other one of its layers."""
    _reviews(data, folder, rows, {"path": str(encoder())}, 5e-5)
    if not (folder / "student").exists():
        network = AutoModelForSequenceClassification.from_pretrained(folder / "teacher")
        network.bert.encoder.layer = network.bert.encoder.layer[1::2]
        network.config.num_hidden_layers = len(network.bert.encoder.layer)
        del network.config.potstill  # what is known of the teacher alone
        network.save_pretrained(folder / "student")
        _with_tokenizer(folder / "teacher", folder / "student")


def _reviews(data: Path, folder: Path, rows: int, teacher: dict[str, Any], rate: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = (data / "sst2/train.jsonl").read_text().splitlines(keepends=True)
    (folder / "train.jsonl").write_text("".join(lines[:rows]))
    shutil.copy(data / "sst2/dev.jsonl", folder / "test.jsonl")
    if not (folder / "teacher").exists():
        training = {"epochs": 1, "batch_size": 32, "optimizer": {"name": "adamw", "lr": rate}, "clip_norm": 1.0, "seed": 1}
        places = {"train": {"path": str(folder / "train.jsonl")}, "test": {"path": str(folder / "test.jsonl")}, "max_length": MAX_LENGTH}
        _trained({"task": "text-classification", "data": places, "student": teacher, "training": training}, folder)


def words(data: Path, folder: Path, task: str) -> dict[str, Any]:
    """A text cut into blocks of 128 tokens, a teacher that has read them once, and a student with new weights; what was made, by name."""
    text = (data / SOURCES[task]).read_text()
    spec = texts(folder, task, text[:LETTERS], text[-LETTERS // 4 :], BLOCK, {"layers": 6, "hidden": 256, "heads": 4})
    if not (folder / "student").exists():
        _small(folder / "teacher", folder / "student", AutoModelForMaskedLM if task == "masked" else AutoModelForCausalLM)
    return blocks(spec, folder, BLOCK)


def texts(folder: Path, task: str, train: str, held_out: str, block: int, sizes: dict[str, int]) -> dict[str, Any]:
    """Both texts as files, and a teacher of such sizes that has read the first one once, with a tokenizer made of it. Its spec."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {"train": folder / "train.txt", "test": folder / "held-out.txt"}
    paths["train"].write_text(train)
    paths["test"].write_text(held_out)
    places = {**{name: {"path": str(path)} for name, path in paths.items()}, "max_length": block}
    teacher = {"arch": "bert" if task == "masked" else "gpt2", **sizes, "positions": block, "dropout": 0.0}
    training = {"epochs": 1, "batch_size": 16, "optimizer": {"name": "adamw", "lr": 5e-4}, "clip_norm": 1.0, "seed": 1}
    tokenizer = {"vocabulary": VOCABULARY, "lowercase": False}
    spec = {"task": f"{task}-lm", "data": places, "tokenizer": tokenizer, "student": teacher, "training": training}
    if not (folder / "teacher").exists():
        _trained(spec, folder)
    return spec


def blocks(spec: dict[str, Any], folder: Path, block: int) -> dict[str, Any]:
    """What peers are given of it: the same blocks of tokens, as lists."""
    parsed = parse_spec({"kind": "train", **spec})
    network, config = load(folder / "teacher")
    found = data_of(parsed, Inputs.local(parsed, folder / "cache"))
    for name, part in (("blocks", found.train), ("held_out", found.test)):
        rows = rows_for(network, config, part)
        whole = rows.padded(rows.flat, (rows.lengths == block).nonzero()[:, 0], 0)[0]
        (folder / f"{name}.json").write_text(json.dumps(whole.tolist()))
    tokenizer = AutoTokenizer.from_pretrained(folder / "teacher")
    paths = {name: str(folder / f"{name}.json") for name in ("blocks", "held_out")}
    marks = {"mask": tokenizer.mask_token_id, "special": tokenizer.all_special_ids, "vocabulary": len(tokenizer)}
    return {"places": spec["data"], "tokens": len(json.loads((folder / "blocks.json").read_text())) * block, **paths, **marks}


def digits(data: Path, folder: Path) -> None:
    """The primer's teacher: 784-16-10 on all of MNIST."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "teacher").exists():
        places = {"train": {"path": str(data / "mnist/mnist.npz")}, "test": {"path": str(data / "mnist/mnist.npz")}}
        training = {"epochs": 3, "batch_size": 64, "optimizer": {"name": "adam", "lr": 5e-3}, "seed": 42}
        student = {"arch": "mlp", "hidden": [16]}
        _trained({"task": "image-classification", "data": places, "student": student, "training": training}, folder)


def _trained(document: dict[str, Any], folder: Path) -> None:
    spec = parse_spec({"kind": "train", **document})
    made = folder / "making"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    run(spec, made, lambda _event: None, lambda: False, inputs=Inputs.local(spec, folder / "cache"))
    (made / "result/student").rename(folder / "teacher")
    shutil.rmtree(made)


def _small(teacher: Path, folder: Path, kind: Any) -> None:
    """A third of the teacher's layers and half of its width."""
    bert = {"num_hidden_layers": 2, "hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 512}
    like(teacher, folder, kind, bert if kind is not AutoModelForCausalLM else {"n_layer": 2, "n_embd": 128, "n_head": 2})


def like(teacher: Path, folder: Path, kind: Any, sizes: dict[str, int]) -> None:
    """One of the teacher's kind with new weights and other sizes, and the teacher's tokenizer beside it."""
    torch.manual_seed(7)
    config = AutoConfig.from_pretrained(teacher)
    for name, value in sizes.items():
        setattr(config, name, value)
    del config.potstill  # what is known of the teacher alone
    kind.from_config(config).save_pretrained(folder)
    _with_tokenizer(teacher, folder)


def _with_tokenizer(teacher: Path, folder: Path) -> None:
    for path in teacher.glob("tokenizer*"):
        shutil.copy(path, folder)


def tokens(folder: Path) -> int:
    """How many tokens the training sentences are, special ones included."""
    rows = [json.loads(line)["text"] for line in (folder / "train.jsonl").read_text().splitlines()]
    read = AutoTokenizer.from_pretrained(folder / "teacher")(rows, truncation=True, max_length=MAX_LENGTH)
    return sum(map(len, read["input_ids"]))
