"""Small jobs on texts whose class is in their words."""

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from contract.check import parse_spec
from contract.spec import JobSpec

WORDS = {"fruit": ["apple", "pear", "cherry"], "tool": ["hammer", "saw", "pliers"]}
FILLER = [
    "the",
    "a",
    "one",
    "big",
    "small",
    "old",
    "new",
    "is",
    "was",
    "on",
    "under",
    "near",
    "table",
    "garden",
    "house",
    "today",
    "again",
    "and",
]
TRANSFORMER: dict[str, Any] = {"layers": 3, "hidden": 16, "heads": 2, "positions": 64, "dropout": 0.1}
STUDENTS: dict[str, dict[str, Any]] = {
    "lstm": {"arch": "lstm", "embedding": 8, "hidden": 8, "layers": 2, "dropout": 0.1},
    "bilstm": {"arch": "bilstm", "embedding": 8, "hidden": 8},
    "gru": {"arch": "gru", "embedding": 8, "hidden": 8},
    "textcnn": {"arch": "textcnn", "embedding": 8, "channels": 4, "widths": [2, 3]},
    "bert": {"arch": "bert", **TRANSFORMER},
    "roberta": {"arch": "roberta", **TRANSFORMER},
    "distilbert": {"arch": "distilbert", **TRANSFORMER},
}
STEPS = 12


def write_texts(path: Path, rows: int = 130, pairs: bool = False, seed: int = 0) -> Path:
    """Sentences of 1 to 20 words, one of which says the class."""
    draw = random.Random(seed)
    with path.open("w") as file:
        for number in range(rows):
            label = list(WORDS)[number % 2]
            words = [*draw.choices(FILLER, k=draw.randrange(20)), draw.choice(WORDS[label])]
            draw.shuffle(words)
            row = {"text": " ".join(words), "label": label}
            file.write(json.dumps({"text_pair": "which is it ?", **row} if pairs else row) + "\n")
    return path


def texts(path: Path, teacher: Path | dict[str, Any] | None = None, **changes: Any) -> JobSpec:
    """4 epochs of 3 steps on 90 rows, 40 to validate. With a teacher it distils."""
    document: dict[str, Any] = {
        "kind": "train",
        "task": "text-classification",
        "data": {"train": {"path": str(path)}, "validation": 0.3},
        "student": STUDENTS["bilstm"],
        "training": {"epochs": 4, "batch_size": 32, "optimizer": {"lr": 5e-3}},
    }
    return changed(document, teacher, changes)


def language(path: Path, task: str, student: dict[str, Any], teacher: Path | dict[str, Any] | None = None, **changes: Any) -> JobSpec:
    """A language model on the same sentences in blocks of 16 tokens; with a teacher it distils."""
    document: dict[str, Any] = {
        "kind": "train",
        "task": task,
        "data": {"train": {"path": str(path)}, "validation": 0.3, "max_length": 16},
        "student": student,
        "training": {"epochs": 2, "batch_size": 16, "optimizer": {"lr": 5e-3}},
    }
    return changed(document, teacher, changes)


def changed(document: dict[str, Any], teacher: Path | dict[str, Any] | None, changes: dict[str, Any]) -> JobSpec:
    """`data` and `training` are added to, other parts replaced."""
    if teacher is not None:
        document |= {"kind": "distill", "teacher": {"path": str(teacher)} if isinstance(teacher, Path) else teacher}
    for part, value in changes.items():
        document[part] = document[part] | value if part in ("data", "training") else value
    return parse_spec(document)


# Runs in an empty interpreter: each card's block as it stands in the file, on the texts beside it.
STRANGER = """
import json, os, re, sys
for folder in sys.argv[1:]:
    os.chdir(folder)
    names = {"texts": json.load(open("texts.json"))}
    exec(re.search("```python\\n(.*?)```", open("README.md").read(), re.S).group(1), names)
    from safetensors.torch import save_file
    save_file({"logits": names["logits"].detach().contiguous()}, "logits.safetensors")
ours = {name.partition(".")[0] for name in sys.modules} & {"contract", "datafiles", "distill", "potstill", "models", "api", "worker"}
assert not ours, ours
"""


def use_cards(folders: Iterable[Path], rows: list[str]) -> None:
    """Leaves each network's logits for these texts as logits.safetensors in its folder."""
    for folder in folders:
        (folder / "texts.json").write_text(json.dumps(rows))
    done = subprocess.run([sys.executable, "-I", "-c", STRANGER, *map(str, folders)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def kept_is_live(engine: Any, spec: Callable[..., JobSpec]) -> None:
    """Kept answers teach what live ones do: shuffled, in micro-batches, and stopped in between; the whole answer is kept, so that only
    rounding differs. spec: of a student, to be changed."""
    kept = spec(teacher_outputs="cached", teacher_top_k=65_536)
    heard, read = engine.run(spec()), engine.run(kept)
    assert [run.report["teacher_outputs"]["mode"] for run in (heard, read)] == ["live", "cached"]
    for (_, a), (_, b) in zip(heard.curve(), read.curve(), strict=True):
        assert a == pytest.approx(b, rel=2e-2, abs=2e-3)
    stopped = engine.run(kept, stop_after=3)
    assert engine.run(kept, resume=stopped.checkpoints).weights == read.weights
    again = engine.run(kept)
    assert again.report["teacher_outputs"]["cache"] == "hit" and again.weights == read.weights
