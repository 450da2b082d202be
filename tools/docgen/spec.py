"""docs/reference/spec.md: every field of the job spec, and the rules between fields with the answers they really give."""

from typing import Any

from pydantic import BaseModel

from contract.check import parse_spec
from contract.errors import InvalidSpec
from contract.networks import ModelRef
from contract.registry import ARCHITECTURES, LOSSES, RECIPES
from contract.sources import Augment, Columns, Data, Source
from contract.spec import JobSpec
from contract.training import EarlyStopping, Evaluation, Keep, Optimizer, Schedule, Training
from docgen.text import anchor, code, in_words, table

# Heading, model, what it is.
SECTIONS: list[tuple[str, type[BaseModel], str]] = [
    ("The job", JobSpec, "The whole document. A `distill` job also needs `teacher`."),
    ("data", Data, "The rows to train, validate and test on."),
    ("A source of rows", Source, "Under `data.train` and `data.test`. A text is short for `{dataset: …}`. Without `split` it means split "
     "`train` under `data.train`, split `test` under `data.test`. A file that is one table has the one split `train`."),
    ("columns", Columns, "Which columns of a table to use."),
    ("data.augment", Augment, "Random changes to each training image, new each time. The teacher is then asked live, not from the cache."),
    ("A trained network", ModelRef, "Under `teacher`, and under `student` to start from one. Exactly one of the three."),
    ("training", Training, "How to train."),
    ("training.optimizer", Optimizer, ""),
    ("training.schedule", Schedule, "How the learning rate changes over the steps."),
    ("training.keep", Keep, "Which checkpoints stay."),
    ("training.early_stopping", EarlyStopping, "When to stop before the last epoch."),
    ("evaluation", Evaluation, "What the report is made from; see [how the evidence is made](../explanation/evidence.md)."),
]  # fmt: skip

# Fields whose code has no description of its own.
MEANINGS = {
    "JobSpec.version": "Version of this format.",
    "JobSpec.kind": "`train` a network on labels, `distill` a teacher into a student, `evaluate` a trained network.",
    "JobSpec.name": "What the job is called in lists; the kind when not said.",
    "JobSpec.task": "What is to be learned; see [tasks](registry.md#tasks).",
    "JobSpec.data": "Rows.",
    "JobSpec.teacher": "The network to learn from. `distill` only.",
    "JobSpec.student": "The network to train: a described [architecture](registry.md#architectures), or a trained one to start from. "
    "An `evaluate` job measures it.",
    "JobSpec.recipe": "A named combination of losses; its name alone is enough. See [recipes](registry.md#recipes).",
    "JobSpec.objective": "The loss terms themselves, in place of a recipe. See [losses](registry.md#losses). "
    "Without either, `distill` uses `hinton` and `train` uses `cross_entropy`.",
    "JobSpec.training": "How to train.",
    "JobSpec.evaluation": "Control arm and seeds.",
    "JobSpec.metadata": "Your own labels; lists of jobs can be filtered by them.",
    "Source.dataset": "A built-in name, or the id of an uploaded dataset: ds_….",
    "Source.path": "A file; for `potstill run` only.",
    "Source.split": "Which split of it.",
    "Source.columns": "Which columns.",
    "ModelRef.job": "The job that trained it, job_…; it may still be running. @name inside a batch.",
    "ModelRef.model": "A registered model, mdl_….",
    "ModelRef.path": "A folder with a pulled student; for `potstill run` only.",
    "Optimizer.weight_decay": "Weight decay; decoupled in `adamw`, part of the gradient in `adam` and `sgd`.",
    "EarlyStopping.min_delta": "What counts as an improvement.",
    "Training.epochs": "Passes over the training rows.",
    "Training.optimizer": "Optimizer and learning rate.",
    "Training.schedule": "Course of the learning rate.",
    "Training.seed": "Decides initial weights, row order and dropout, each from a stream of its own.",
    "Training.keep": "Checkpoints that stay.",
}

DIGITS: dict[str, Any] = {"kind": "train", "task": "image-classification", "data": {"train": "digits"}, "student": {"arch": "logistic"}}
JOB = "job_" + "0" * 32
# What breaks each rule between fields. The answers are not written here: the real ones are asked for.
BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("`recipe` beside `objective`", {"kind": "distill", "teacher": {"job": JOB}, "recipe": "hinton", "objective": [{"loss": "kl"}]}),
    ("`distill` without a teacher", {"kind": "distill"}),
    ("`train` with a teacher", {"teacher": {"job": JOB}}),
    ("`train` with a recipe", {"recipe": "hinton"}),
    ("`train` with a loss that needs a teacher", {"objective": [{"loss": "kl"}]}),
    ("`evaluate` of a network that is only described", {"kind": "evaluate"}),
    ("`evaluate` with an objective", {"kind": "evaluate", "student": {"job": JOB}, "objective": [{"loss": "cross_entropy"}]}),
    ("every weight zero", {"objective": [{"loss": "cross_entropy", "weight": 0.0}]}),
    ("early stopping without validation rows", {"training": {"early_stopping": {}}}),
    ("`control` outside `distill`", {"evaluation": {"control": True}}),
    ("several seeds of an `evaluate` job", {"kind": "evaluate", "student": {"job": JOB}, "evaluation": {"seeds": 2}}),
    ("augmented tables", {"task": "tabular-classification", "data": {"train": "digits", "augment": {"flip": True}}}),
    ("momentum of another optimizer than sgd", {"training": {"optimizer": {"momentum": 0.9}}}),
    ("a source that names two places", {"data": {"train": {"dataset": "digits", "path": "x.csv"}}}),
    ("a misspelt field", {"training": {"epoch": 3}}),
]  # fmt: skip

INTRO = """# The job spec

One document, as YAML or JSON, for HTTP, command line, Python client and `potstill run` alike. Unknown fields are refused, and the
answer names the nearest known one. `potstill validate SPEC` checks a spec without queueing anything; `GET /v1/jobs/{id}` shows it with
every default written out, under `resolved_spec`.

```yaml
kind: distill
name: digits-student
task: image-classification
data: {train: digits, test: digits, max_train_samples: 400}
teacher: {job: "@digits-teacher"}
student: {arch: mlp, hidden: [32]}
recipe: {name: hinton, temperature: 4.0, alpha: 0.7}
training: {epochs: 40, optimizer: {lr: 5.0e-3}}
evaluation: {control: true, seeds: 5}
```

Numbers are read as YAML 1.2 has them: `5e-3` is a number, `no` is a word. A key that is given twice is refused.
"""


def page() -> str:
    parts = [INTRO, *(_section(*section) for section in SECTIONS), _rules()]
    unused = MEANINGS.keys() - {f"{model.__name__}.{name}" for _, model, _ in SECTIONS for name in model.model_fields}
    if unused:
        raise SystemExit(f"docgen/spec.py describes fields that are gone: {', '.join(sorted(unused))}")
    return "\n\n".join(parts)


def _section(heading: str, model: type[BaseModel], intro: str) -> str:
    rows = [_row(model, name) for name in model.model_fields]
    head = f"## {heading if ' ' in heading else f'`{heading}`'}"
    return "\n\n".join(filter(None, [head, intro, table(["field", "type", "default", "meaning"], rows)]))


def _row(model: type[BaseModel], name: str) -> tuple[str, str, str, str]:
    field = model.model_fields[name]
    schema = {k: v for k, v in model.model_json_schema(ref_template="{model}")["properties"][name].items() if k != "default"}
    given = MEANINGS.get(f"{model.__name__}.{name}")
    if bool(given) == bool(field.description):
        raise SystemExit(f"{model.__name__}.{name} needs one description: its own in contract, or in docgen/spec.py")
    return f"`{name}`", in_words(schema, _links()).removesuffix(" or null"), _default(field), given or field.description or ""


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    if field.default is None:
        return "–"
    return "all defaults" if isinstance(field.default, BaseModel) else code(field.default)


def _links() -> dict[str, str]:
    here = {model.__name__: f"[{heading[0].lower()}{heading[1:]}](#{anchor(heading)})" for heading, model, _ in SECTIONS}
    there = {
        **{choice.__name__: f"[{choice.key()}](registry.md#{anchor(choice.key())}-architecture)" for choice in ARCHITECTURES},
        **{choice.__name__: f"[{choice.key()}](registry.md#{anchor(choice.key())}-recipe)" for choice in RECIPES},
        **{choice.__name__: f"[{choice.key()}](registry.md#{anchor(choice.key())}-loss)" for choice in LOSSES},
    }
    return {**here, **there, "JobKind": "`train`, `distill`, `evaluate`"}


def _rules() -> str:
    intro = (
        "## Rules between fields\n\nWhat does not go together, and what the service answers. Whether data, teacher and student fit each "
        "other is checked on submission, too (`does_not_fit`)."
    )
    rows = []
    for what, change in BROKEN:
        try:
            parse_spec({**DIGITS, **change})
        except InvalidSpec as error:
            rows.append((what, f"`{error.code}`", f"{error.detail}{f' — {error.hint}' if error.hint else ''}"))
        else:
            raise SystemExit(f"docgen/spec.py says that this is refused, and it is not: {what}")
    return f"{intro}\n\n{table(['what', 'code', 'answer'], rows)}"
