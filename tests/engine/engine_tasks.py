"""Small jobs of several tasks on texts: one task is of single texts with two classes, the other of pairs with three."""

import json
import random
from pathlib import Path
from typing import Any

from engine_texts import FILLER, STUDENTS, changed, write_texts

from contract.spec import JobSpec

MOODS = {"glad": ["happy", "merry"], "sad": ["gloomy", "weeping"], "calm": ["quiet", "still"]}
CLASSES = ["mood/calm", "mood/glad", "mood/sad", "thing/fruit", "thing/tool"]


def write_tasks(folder: Path) -> dict[str, Path]:
    """60 pairs with three classes, under odd names of columns, and 130 texts with two."""
    draw, path = random.Random(1), folder / "mood.jsonl"
    with path.open("w") as file:
        for number in range(60):
            label = list(MOODS)[number % 3]
            words = [*draw.choices(FILLER, k=draw.randrange(8)), draw.choice(MOODS[label])]
            file.write(json.dumps({"question": "which mood is it ?", "reply": " ".join(words), "kind": label}) + "\n")
    return {"mood": path, "thing": write_texts(folder / "thing.jsonl")}


def sources(paths: dict[str, Path]) -> dict[str, Any]:
    columns = {"text": "question", "text_pair": "reply", "label": "kind"}
    return {"thing": {"path": str(paths["thing"])}, "mood": {"path": str(paths["mood"]), "columns": columns}}


def tasks(paths: dict[str, Path], teachers: dict[str, Any] | Path | None = None, **changes: Any) -> JobSpec:
    """133 rows to train on in 5 steps of an epoch, 57 to measure on. teachers: of each task, or of all together."""
    data = {"train": {"tasks": sources(paths)}, "validation": 0.3}
    teacher = (
        {"tasks": {name: one if isinstance(one, dict) else {"path": str(one)} for name, one in teachers.items()}}
        if isinstance(teachers, dict)
        else teachers
    )
    return changed(document(data), teacher, changes)


def alone(paths: dict[str, Path], task: str, teacher: Path | dict[str, Any] | None = None, **changes: Any) -> JobSpec:
    """One of the tasks as a job of its own."""
    return changed(document({"train": sources(paths)[task], "validation": 0.3}), teacher, changes)


def document(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "train",
        "task": "text-classification",
        "data": data,
        "student": STUDENTS["bilstm"],
        "training": {"epochs": 3, "batch_size": 32, "optimizer": {"lr": 5e-3}},
    }
