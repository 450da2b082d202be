"""What is measured: each task with its contenders, and the order that each of them is handed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.training import inputs
from distill.device import in_bf16

SENTENCES = 2048
Order = dict[str, Any]


class Task(NamedTuple):
    """contenders: name → script, and whether its cache of teacher outputs is warm; peers run in the environment given by --peers."""

    title: str
    contenders: dict[str, str]
    make: Callable[[Path, Path], Order]  # data folder, work folder → the order


def in_bf16_here() -> bool:
    """Whether it gains by it, for whoever can compute in it."""
    return in_bf16(torch.device("cpu"), "auto", 128)


def primer(seeds: int, arms: int) -> Callable[[Path, Path], Order]:
    """784-4-10 taught by 784-16-10, 800 images, 40 epochs, batches of 64."""

    def make(data: Path, work: Path) -> Order:
        folder = work / "mnist"
        inputs.digits(data, folder)
        npz = str(data / "mnist/mnist.npz")
        common = {"epochs": 40, "batch": 64, "lr": 5e-3, "temperature": 4.0, "alpha": 0.8, "seed": 42}
        spec = {
            "kind": "distill",
            "task": "image-classification",
            "data": {"train": {"path": npz}, "test": {"path": npz}, "max_train_samples": 800},
            "teacher": {"path": str(folder / "teacher")},
            "student": {"arch": "mlp", "hidden": [4]},
            "recipe": {"name": "hinton", "temperature": 4.0, "alpha": 0.8},
            "training": {"epochs": 40, "batch_size": 64, "optimizer": {"name": "adam", "lr": 5e-3}, "seed": 42},
            "evaluation": {"control": arms > 1, "seeds": seeds},
        }
        places = {"train": npz, "teacher": str(folder / "teacher"), "cache": str(folder / "cache"), "rows": 800}
        return {"task": "mnist", "spec": spec, "seeds": seeds, "arms": arms, "tokens": 0, **common, **places}

    return make


def sentences(
    epochs: int, given: Callable[[Path, Path, int], None] = inputs.sentences, rate: float = 5e-4
) -> Callable[[Path, Path], Order]:
    """A BERT of so many layers and a smaller one, on short sentences, batches of 32."""

    def make(data: Path, work: Path) -> Order:
        folder = work / given.__name__
        given(data, folder, SENTENCES)
        places = {name: str(folder / name) for name in ("teacher", "student", "cache")}
        rows = {name: str(folder / f"{name}.jsonl") for name in ("train", "test")}
        common = {"epochs": epochs, "batch": 32, "lr": rate, "temperature": 4.0, "alpha": 0.7, "seed": 42, "max_length": inputs.MAX_LENGTH}
        common["bf16"] = in_bf16_here()
        optimizer = {"name": "adamw", "lr": rate, "weight_decay": 0.0}
        spec = {
            "kind": "distill",
            "task": "text-classification",
            "data": {**{name: {"path": path} for name, path in rows.items()}, "max_length": inputs.MAX_LENGTH},
            "teacher": {"path": places["teacher"]},
            "student": {"path": places["student"]},
            "recipe": {"name": "hinton", "temperature": 4.0, "alpha": 0.7},
            "training": {
                "epochs": epochs, "batch_size": 32, "optimizer": optimizer, "schedule": {"name": "linear"}, "clip_norm": 1.0,
                "precision": "auto", "seed": 42,
            },
        }  # fmt: skip
        return {"task": "text", "spec": spec, "tokens": inputs.tokens(folder) * epochs, **common, **places, **rows}

    return make


def words(task: str) -> Callable[[Path, Path], Order]:
    """BERT or GPT-2 of 6 × 256 → 2 × 128, a vocabulary of 8,192, some 300 blocks of 128 tokens, batches of 16, 2 epochs."""

    def make(data: Path, work: Path) -> Order:
        folder = work / task
        return of_words(task, folder, inputs.words(data, folder, task), epochs=2, batch=16, bf16=in_bf16_here())

    return make


def of_words(task: str, folder: Path, made: dict[str, Any], epochs: int, batch: int, bf16: bool) -> Order:
    places = {name: str(folder / name) for name in ("teacher", "student", "cache")}
    alpha, temperature = (0.5, 2.0) if task == "masked" else (1.0, 1.0)
    terms = [{"loss": "kl", "temperature": temperature, "weight": alpha}, {"loss": "mlm", "weight": 1 - alpha}]
    common = {"epochs": epochs, "batch": batch, "lr": 1e-3, "temperature": temperature, "alpha": alpha, "seed": 42, "bf16": bf16}
    spec = {
        "kind": "distill",
        "task": f"{task}-lm",
        "data": made["places"],
        "teacher": {"path": places["teacher"]},
        "student": {"path": places["student"]},
        "objective": terms if task == "masked" else terms[:1],
        "training": {
            "epochs": epochs, "batch_size": batch, "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.0},
            "schedule": {"name": "linear"}, "clip_norm": 1.0, "precision": "auto", "seed": 42,
        },
    }  # fmt: skip
    return {"task": task, "spec": spec, **common, **places, **made, "tokens": made["tokens"] * epochs}


PRIMER = {"plain loop": "mnist_plain", "potstill": "ours"}
TEXT = {
    "plain loop": "text_plain",
    "TextBrewer": "text_textbrewer",
    "HF Trainer": "text_trainer",
    "every trick, cold": "text_tricks",
    "every trick, warm": "text_tricks",
    "potstill, cold": "ours",
    "potstill, warm": "ours",
}
WORDS = {"plain loop": "words_plain", "HF Trainer": "words_trainer", "potstill": "ours"}
TASKS = {
    "mnist": Task("MNIST MLP, one run", PRIMER, primer(1, 1)),
    "mnist-many": Task("MNIST MLP, 20 seeds × 2 arms", PRIMER, primer(20, 2)),
    "text-1": Task("Text classification, 1 epoch", TEXT, sentences(1)),
    "text-4": Task("Text classification, 4 epochs", TEXT, sentences(4)),
    "text-16": Task("Text classification, 16 epochs", TEXT, sentences(16)),
    "text-minilm": Task("Text classification, MiniLM to three of its layers, 4 epochs", TEXT, sentences(4, inputs.pretrained, 5e-5)),
    "masked": Task("Masked language model, live teacher", WORDS, words("masked")),
    "causal": Task("Causal language model, live teacher", {"TRL GKD": "words_trl", **WORDS}, words("causal")),
}
OURS = {"ours"}  # scripts that run in this project's environment
