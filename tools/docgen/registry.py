"""docs/reference/registry.md: tasks, architectures, losses, recipes, built-in datasets, file formats."""

import json
from typing import Any

import datafiles
from contract.base import Choice
from contract.registry import ARCHITECTURES, BUILTINS, LOSSES, RECIPES, TASKS
from contract.registry.terms import Anneal
from docgen.text import code, in_words, table

WORDS = {
    "TangWords": "[words by Tang's rules](spec.md#words-by-tangs-rules)",
    "TinyBertWords": "[words by TinyBERT's rules](spec.md#words-by-tinyberts-rules)",
}
INTRO = """# What can be asked for

A spec names what stands here, never an import path. The service tells the same under `GET /v1/tasks`, `/v1/architectures`,
`/v1/losses` and `/v1/recipes`; so do `potstill tasks`, `architectures`, `losses` and `recipes`.

z_s and z_t are the logits of student and teacher, [rows, classes]; p = softmax(z / T); y the labels.
"""

# A format is one reader in datafiles/; what a file of it holds is said here.
FORMATS = {
    "npz": "NumPy archive; an array `x_train` is column `x` of split `train`, and so on for `validation` (or `val`) and `test`. "
    "An array without a split belongs to `train`. Columns may be arrays: images [rows, height, width] or with channels first or last.",
    "csv": "Commas and a header line. Numbers, true/false or text; no empty cells. One split, `train`.",
    "jsonl": "One JSON object on each line, all with the same keys; numbers, true/false, text, or lists of numbers or of text. "
    "One split, `train`.",
    "parquet": "Numbers, true/false, text, lists of numbers that all have the same length, or lists of text. One split, `train`.",
    "txt": "Plain text: each line that is not blank is a row of the one column `text`. One split, `train`.",
}


def page() -> str:
    missing = set(datafiles.FORMATS) ^ FORMATS.keys()
    if missing:
        raise SystemExit(f"docgen/registry.py and datafiles do not know the same formats: {', '.join(sorted(missing))}")
    return "\n\n".join(
        [
            INTRO,
            _tasks(),
            *_choices("Architectures", "architecture", "Networks that `student` can describe.", ARCHITECTURES),
            *_choices("Losses", "loss", "Terms of an `objective`. Each is computed in float32.", LOSSES),
            _anneal(),
            *_choices("Recipes", "recipe", "A recipe is nothing but its expansion into terms.", RECIPES),
            _builtins(),
            _formats(),
        ]
    )


def _tasks() -> str:
    rows = [
        (f"`{task.name}`", task.meaning, task.inputs, f"{task.metric}, {'higher' if task.higher_is_better else 'lower'} is better")
        for task in TASKS.values()
    ]
    return f"## Tasks\n\n{table(['task', 'meaning', 'rows', 'metric'], rows)}"


def _choices(title: str, kind: str, intro: str, choices: tuple[type[Choice], ...]) -> list[str]:
    return [f"## {title}", intro, *(_choice(kind, choice.entry()) for choice in choices)]


def _choice(kind: str, entry: dict[str, Any]) -> str:
    said = [f"### `{entry['name']}` ({kind})", entry["meaning"]]
    if entry["formula"]:
        said.append(f"```text\n{entry['formula']}\n```")
    if entry["paper"]:
        said.append(f"From: {entry['paper']}.")
    if "expands_to" in entry:
        said.append(f"With its defaults it stands for `objective: {json.dumps(entry['expands_to'])}`.")
    rows = [
        (f"`{p['name']}`", in_words(p["schema"], WORDS), "required" if p["required"] else code(p["default"]), p["meaning"])
        for p in entry["parameters"]
    ]
    said.append(table(["parameter", "type", "default", "meaning"], rows) if rows else "No parameters.")
    return "\n\n".join(said)


def _anneal() -> str:
    schema = Anneal.model_json_schema()
    rows = [
        (f"`{name}`", in_words(part, {}), code(part.get("default")), Anneal.model_fields[name].description or "")
        for name, part in schema["properties"].items()
    ]
    told = " ".join((Anneal.__doc__ or "").split())
    example = """```yaml
objective:
  - {loss: kl, temperature: 4, weight: 1, anneal: {weight: 0}}
  - {loss: cross_entropy, weight: 0, anneal: {weight: 1}}
```"""
    return "\n\n".join(["### `anneal`, of every loss", told, example, table(["field", "type", "default", "meaning"], rows)])


def _builtins() -> str:
    rows = [
        (
            f"`{b.name}`",
            b.meaning,
            "×".join(map(str, b.shape)) or "text",
            ", ".join(f"{name} {count:,}" for name, count in b.rows.items()),
            ", ".join(b.tasks),
        )
        for b in BUILTINS.values()
    ]
    return f"## Built-in datasets\n\n{table(['name', 'meaning', 'shape', 'rows', 'tasks'], rows)}"


def _formats() -> str:
    intro = "The name's ending decides; each may also be compressed, as `.csv.gz`."
    rows = [(f"`.{name}`", FORMATS[name]) for name in datafiles.FORMATS]
    return f"## File formats\n\n{intro}\n\n{table(['ending', 'holds'], rows)}"
