"""docs/reference/spec.md: every field of the job spec, and the rules between fields with the answers they really give."""

from typing import Any

from pydantic import BaseModel

from contract.check import parse_spec
from contract.errors import InvalidSpec
from contract.export import Export
from contract.lora import Lora
from contract.networks import Ensemble, FromLayers, NewTokenizer, TaskTeachers, TrainedStudent
from contract.refs import ModelRef
from contract.registry import ARCHITECTURES, LOSSES, RECIPES
from contract.remote import RemoteTeacher
from contract.resources import Resources
from contract.sources import Augment, Columns, Data, Source, TaskSources
from contract.spec import JobSpec
from contract.sweep import Grid, Halving, RandomSearch, Range, SweepSpec, Tpe
from contract.training import EarlyStopping, Evaluation, Keep, Optimizer, Schedule, Training
from contract.words import TangWords, TinyBertWords
from docgen.text import anchor, code, in_words, table

# Heading, model, what it is.
SECTIONS: list[tuple[str, type[BaseModel], str]] = [
    ("The job", JobSpec, "The whole document. A `distill` job also needs `teacher`."),
    ("data", Data, "The rows to train, validate and test on."),
    ("A source of rows", Source, "Under `data.train` and `data.test`. A text is short for `{dataset: …}`. Without `split` it means split "
     "`train` under `data.train`, split `test` under `data.test`. A file that is one table has the one split `train`."),
    ("Sources of several tasks", TaskSources, "One student of several tasks (`text-classification`): under `data.train`, and with "
     "the same names under `data.test`; see [methods](../methods.md#several-tasks)."),
    ("columns", Columns, "Which columns of a table to use."),
    ("data.augment", Augment, "Random changes to each training row, new each time; the teacher is then asked live, not from the cache. "
     "Rows made by changing `words` are made once, and the teacher's answers to them are kept."),
    ("Words by Tang's rules", TangWords, "Under `data.augment.words`: [rows made of others](../methods.md#rows-made-of-others)."),
    ("Words by TinyBERT's rules", TinyBertWords, "Under `data.augment.words`: [rows made of others](../methods.md#rows-made-of-others)."),
    ("A trained network", ModelRef, "Under `teacher`, and under `student` to start from one. Exactly one of `job`, `model`, "
     "`hub` and `path`."),
    ("A trained student", TrainedStudent, "The same under `student`, to start from."),
    ("student.lora", Lora, "Under `student`, of a trained transformer; see "
     "[bring a teacher](../how-to/bring-a-teacher.md#train-a-part-of-it)."),
    ("Layers of a network", FromLayers, "Under `student`: some of the layers of a trained transformer, of the teacher say."),
    ("A new tokenizer", NewTokenizer, "Under `tokenizer`: made of the training texts."),
    ("Several teachers", Ensemble, "Under `teacher`; see [methods](../methods.md#several-teachers)."),
    ("Teachers of several tasks", TaskTeachers, "Under `teacher`, where `data.train` has several tasks: {job: …} or "
     "{ensemble: […]} for each."),
    ("A remote teacher", RemoteTeacher, "Under `teacher`: see [use a remote teacher](../how-to/use-a-remote-teacher.md)."),
    ("training", Training, "How to train."),
    ("training.optimizer", Optimizer, ""),
    ("training.schedule", Schedule, "How the learning rate changes over the steps."),
    ("training.keep", Keep, "Which checkpoints stay."),
    ("training.early_stopping", EarlyStopping, "When to stop before the last epoch."),
    ("evaluation", Evaluation, "What the report is made from; see [how the evidence is made](../explanation/evidence.md)."),
    ("resources", Resources, "See [run on GPUs](../how-to/run-on-gpus.md) and [several devices](../how-to/several-devices.md)."),
    ("export", Export, "Of an `export` job; see [export a student](../how-to/export-a-student.md)."),
    ("A sweep", SweepSpec, "Many jobs that differ in a few fields, for `POST /v1/sweeps` and `potstill sweeps add`; see "
     "[find good values](../how-to/find-good-values.md)."),
    ("A range of values", Range, "Under `space`, in place of a list."),
    ("search: grid", Grid, "Every combination. Searches may be called by their name alone where they need nothing else."),
    ("search: random", RandomSearch, "Independent draws."),
    ("search: tpe", Tpe, "A tree-structured Parzen estimator, Optuna's: ten are drawn, each later one is likely to be better by what "
     "is known then."),
    ("halving", Halving, "Asynchronous successive halving ([Li et al. 2018](https://arxiv.org/abs/1810.05934)): from `first_epochs` · "
     "factor^k epochs on a trial goes on only while it is among the best 1/factor of those that have come as far."),
]  # fmt: skip

# What the page says beyond the code: where to look.
SEE = {
    "JobSpec.task": "[tasks](registry.md#tasks)",
    "JobSpec.student": "[architectures](registry.md#architectures)",
    "JobSpec.recipe": "[recipes](registry.md#recipes)",
    "JobSpec.objective": "[losses](registry.md#losses)",
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
    ("`export` of a task that writes word by word", {"kind": "export", "task": "seq2seq", "student": {"job": JOB}}),
    ("`export` in a job of another kind", {"export": {"quantize": "none"}}),
    ("every weight zero", {"objective": [{"loss": "cross_entropy", "weight": 0.0}]}),
    ("early stopping without validation rows", {"training": {"early_stopping": {}}}),
    ("`control` outside `distill`", {"evaluation": {"control": True}}),
    ("several seeds of an `evaluate` job", {"kind": "evaluate", "student": {"job": JOB}, "evaluation": {"seeds": 2}}),
    ("augmented tables", {"task": "tabular-classification", "data": {"train": "digits", "augment": {"flip": True}}}),
    ("other words in images", {"data": {"train": "digits", "augment": {"words": {"rules": "tang"}}}}),
    ("momentum of another optimizer than sgd", {"training": {"optimizer": {"momentum": 0.9}}}),
    ("a source that names two places", {"data": {"train": {"dataset": "digits", "path": "x.csv"}}}),
    ("a recipe of several tasks with one", {"kind": "distill", "task": "text-classification", "data": {"train": "docstrings"},
     "teacher": {"job": JOB}, "student": {"arch": "bilstm"}, "recipe": "bam"}),
    ("a task without a teacher", {"kind": "distill", "task": "text-classification", "student": {"arch": "bilstm"},
     "data": {"train": {"tasks": {"mood": "docstrings", "topic": "docstrings"}}},
     "teacher": {"tasks": {"mood": {"job": JOB}}}}),
    ("several tasks of another kind", {"data": {"train": {"tasks": {"a": "digits", "b": "digits"}}}}),
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

Editors complete and check a spec by its [JSON schema](job.schema.json) ([of a sweep](sweep.schema.json)): `potstill schema` prints it,
and above a spec stands `# yaml-language-server: $schema=` with the file, or with the service's `http://127.0.0.1:8400/schemas/job.json`.
The schema knows fields, types, ranges and choices; rules between fields, and whether things exist and fit, only `potstill validate` does.
"""


def page() -> str:
    parts = [INTRO, *(_section(*section) for section in SECTIONS), _rules()]
    return "\n\n".join(parts)


def _section(heading: str, model: type[BaseModel], intro: str) -> str:
    rows = [_row(model, name) for name in model.model_fields]
    head = f"## {heading if ' ' in heading else f'`{heading}`'}"
    return "\n\n".join(filter(None, [head, intro, table(["field", "type", "default", "meaning"], rows)]))


def _row(model: type[BaseModel], name: str) -> tuple[str, str, str, str]:
    field = model.model_fields[name]
    schema = {k: v for k, v in model.model_json_schema(ref_template="{model}")["properties"][name].items() if k != "default"}
    place = f"{model.__name__}.{name}"
    if not field.description and "const" not in schema:
        raise SystemExit(f"{place} needs a description")
    meaning = " ".join(filter(None, [field.description or "Which is meant.", f"See {SEE[place]}." if place in SEE else None]))
    return f"`{name}`", in_words(schema, _links()).removesuffix(" or null"), _default(field), meaning


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
    short = {"DatasetName": "a name or id", "RecipeName": "a name"}
    return {**here, **there, **short, "JobKind": "`train`, `distill`, `evaluate`, `export`"}


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
