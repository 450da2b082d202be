"""What is measured: each task with its contenders, and the order that each of them is handed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.training import inputs

SENTENCES = 2048
Order = dict[str, Any]


class Task(NamedTuple):
    """contenders: name → script, and whether its cache of teacher outputs is warm; peers run in the environment given by --peers."""

    title: str
    contenders: dict[str, str]
    make: Callable[[Path, Path], Order]  # data folder, work folder → the order


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


def sentences(epochs: int) -> Callable[[Path, Path], Order]:
    """BERT 6 × 256 → 2 × 128 on short sentences, batches of 32."""

    def make(data: Path, work: Path) -> Order:
        folder = work / "sentences"
        inputs.sentences(data, folder, SENTENCES)
        places = {name: str(folder / name) for name in ("teacher", "student", "cache")}
        rows = {name: str(folder / f"{name}.jsonl") for name in ("train", "test")}
        common = {"epochs": epochs, "batch": 32, "lr": 5e-4, "temperature": 4.0, "alpha": 0.7, "seed": 42, "max_length": inputs.MAX_LENGTH}
        optimizer = {"name": "adamw", "lr": 5e-4, "weight_decay": 0.0}
        spec = {
            "kind": "distill",
            "task": "text-classification",
            "data": {**{name: {"path": path} for name, path in rows.items()}, "max_length": inputs.MAX_LENGTH},
            "teacher": {"path": places["teacher"]},
            "student": {"path": places["student"]},
            "recipe": {"name": "hinton", "temperature": 4.0, "alpha": 0.7},
            "training": {
                "epochs": epochs, "batch_size": 32, "optimizer": optimizer, "schedule": {"name": "linear"}, "clip_norm": 1.0,
                "precision": "fp32", "seed": 42,
            },
        }  # fmt: skip
        return {"task": "text", "spec": spec, "tokens": inputs.tokens(folder) * epochs, **common, **places, **rows}

    return make


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
TASKS = {
    "mnist": Task("MNIST MLP, one run", PRIMER, primer(1, 1)),
    "mnist-many": Task("MNIST MLP, 20 seeds × 2 arms", PRIMER, primer(20, 2)),
    "text-1": Task("Text classification, 1 epoch", TEXT, sentences(1)),
    "text-4": Task("Text classification, 4 epochs", TEXT, sentences(4)),
    "text-16": Task("Text classification, 16 epochs", TEXT, sentences(16)),
}
OURS = {"ours"}  # scripts that run in this project's environment
