"""What the contract shows is accepted, and what is resolved means the same when it is read again."""

import json
from typing import Any

import pytest
import yaml
from contract_specs import DISTILL, EVALUATE, EXPORT, TEACHER, TRAIN, put

from contract.check import parse_spec
from contract.document import parse_mapping
from contract.registry import (
    ARCHITECTURES,
    BUILTINS,
    RECIPES,
    TASKS,
    Cnn,
    CrossEntropy,
    Hinton,
    Kl,
    Logistic,
    LogitMse,
    Mlp,
    SoftCrossEntropy,
)
from contract.spec import JobKind, ModelRef, Source, Training

# The example of the contract's page with a job's id written out.
PAGE = f"""
version: 1
kind: distill
name: digits-mlp
task: image-classification        # tabular-classification
data: {{train: digits, validation: 0.1, test: digits, max_train_samples: 800}}
      # a comment
teacher: {{job: {TEACHER["job"]}}}     # | {{model: mdl_…}}
student: {{arch: mlp, hidden: [4]}} # | {{job: …}}
recipe: {{name: hinton, temperature: 4.0, alpha: 0.7}}
training: {{epochs: 40, batch_size: 64, optimizer: {{name: adam, lr: 5.0e-3, weight_decay: 0}},
           schedule: {{name: constant, warmup: 0}}, seed: 42, precision: auto, clip_norm: null, checkpoint_every_seconds: 300,
           keep: {{last: 2, best: 1}}, early_stopping: null}}
evaluation: {{control: false, seeds: 1}}
priority: 0
metadata: {{}}
"""


def test_the_example_of_the_contract_is_accepted_as_yaml_and_as_json_with_the_same_meaning():
    from_yaml = parse_spec(parse_mapping(PAGE.encode(), "application/yaml"))
    from_json = parse_spec(parse_mapping(json.dumps(yaml.safe_load(PAGE)).encode(), "application/json"))
    assert from_yaml == from_json
    assert from_yaml.kind is JobKind.DISTILL
    assert from_yaml.name == "digits-mlp"
    assert from_yaml.data.train == from_yaml.data.test == Source(dataset="digits")
    assert from_yaml.data.validation == 0.1
    assert from_yaml.data.max_train_samples == 800
    assert from_yaml.teacher == ModelRef(job=TEACHER["job"])
    assert from_yaml.student == Mlp(hidden=[4])
    assert from_yaml.recipe == Hinton(temperature=4.0, alpha=0.7)
    assert from_yaml.training.epochs == 40
    assert from_yaml.training.optimizer.lr == 0.005
    assert from_yaml.training.clip_norm is None


def test_the_objective_of_the_contract_is_the_recipe_it_stands_for():
    terms = [{"loss": "kl", "temperature": 4.0, "weight": 0.7}, {"loss": "cross_entropy", "weight": 0.3}]
    spec = parse_spec({**DISTILL, "objective": terms})
    recipe = parse_spec({**DISTILL, "recipe": {"name": "hinton", "temperature": 4.0, "alpha": 0.7}})
    assert spec.terms == [Kl(temperature=4.0, weight=0.7), CrossEntropy(weight=0.3)]
    assert [type(term) for term in recipe.terms] == [Kl, CrossEntropy]
    assert [term.weight for term in recipe.terms] == pytest.approx([0.7, 0.3])


SPECS: dict[str, dict[str, Any]] = {
    "train": TRAIN,
    "distill": DISTILL,
    "evaluate": EVALUATE,
    "export": EXPORT,
    "an adapted student": {
        **DISTILL,
        "task": "text-classification",
        "data": {"train": "messages"},
        "student": {**TEACHER, "lora": {"rank": 4, "targets": ["query"]}},
    },
    "an export of one file": {**EXPORT, "export": {"quantize": "none", "tolerance": 0.01}},
    "a batch member": put(DISTILL, "teacher", {"job": "@assistant"}),
    "a registered teacher": put(DISTILL, "teacher", {"model": "mdl_" + "0" * 32}),
    "a teacher in a folder": put(DISTILL, "teacher", {"path": "/models/teacher"}),
    "a student that goes on from a job": put(TRAIN, "student", TEACHER),
    "a recipe by name": {**DISTILL, "recipe": "logit_mse"},
    "a recipe with parameters": {**DISTILL, "recipe": {"name": "hinton", "temperature": 2, "alpha": 0.25}},
    "terms": {**DISTILL, "objective": [{"loss": "soft_cross_entropy", "t_squared": False}, {"loss": "logit_mse", "weight": 0}]},
    "label smoothing": {**TRAIN, "objective": [{"loss": "cross_entropy", "label_smoothing": 0.1}]},
    "a convolutional student": put(TRAIN, "student", {"arch": "cnn", "channels": [8], "hidden": 16, "dropout": 0.5}),
    "a linear student": put(TRAIN, "student", {"arch": "logistic"}),
    "a table": {
        **TRAIN,
        "task": "tabular-classification",
        "data": {
            "train": {"dataset": "ds_" + "0" * 32, "split": "train", "columns": {"label": "stars", "features": ["a", "b"]}},
            "test": {"path": "rows.csv"},
            "validation": 0.25,
        },
    },
    "every training field": {
        **TRAIN,
        "data": {"train": "digits", "validation": 0.2},
        "training": {
            "epochs": 3,
            "batch_size": 8,
            "optimizer": {"name": "sgd", "lr": 1, "weight_decay": 1e-4, "momentum": 0.9},
            "schedule": {"name": "cosine", "warmup": 0.1},
            "seed": 2**31 - 2,
            "precision": "bf16",
            "clip_norm": 1,
            "checkpoint_every_seconds": 0,
            "keep": {"last": 5, "best": 0},
            "early_stopping": {"patience": 1, "min_delta": 0.001, "metric": "loss"},
        },
    },
    "several runs": {**DISTILL, "evaluation": {"control": True, "seeds": 5}},
    "names and numbers at their limits": {
        **TRAIN,
        "name": "ü" * 100,
        "priority": -1000,
        "metadata": {str(i): "x" * 512 for i in range(16)},
    },
}


@pytest.mark.parametrize("sent", SPECS.values(), ids=SPECS.keys())
def test_a_resolved_spec_says_everything_and_reads_back_as_itself(sent):
    """The worker gets the resolved spec from the database: reading it must change nothing, the second time either."""
    spec = parse_spec(sent)
    resolved = spec.resolved()
    written = json.loads(json.dumps(resolved.model_dump(mode="json")))
    again = parse_spec(written)
    assert again == resolved
    assert again.resolved() == resolved
    assert again.resolved().model_dump(mode="json") == written
    assert resolved.recipe is None
    assert resolved.training == spec.training
    assert set(written) == set(type(spec).model_fields)
    assert (resolved.export is not None) == (spec.kind is JobKind.EXPORT)
    if spec.kind in (JobKind.EVALUATE, JobKind.EXPORT):
        assert resolved.objective is None
    else:
        assert resolved.objective == spec.terms
        assert all(term.weight > 0 for term in spec.terms)


@pytest.mark.parametrize("sent", SPECS.values(), ids=SPECS.keys())
def test_reading_a_spec_leaves_what_was_sent_untouched(sent):
    before = json.dumps(sent)
    parse_spec(sent)
    assert json.dumps(sent) == before


def test_what_is_not_said_is_what_the_contract_promises():
    spec = parse_spec(TRAIN)
    assert (spec.version, spec.priority, spec.metadata, spec.name) == (1, 0, {}, None)
    assert spec.training == Training(epochs=10, batch_size=64, seed=42, precision="auto", checkpoint_every_seconds=300)
    assert (spec.training.keep.last, spec.training.keep.best) == (2, 1)
    assert (spec.evaluation.control, spec.evaluation.seeds) == (False, 1)
    assert spec.terms == [CrossEntropy()]
    assert [type(term) for term in parse_spec(DISTILL).terms] == [Kl, CrossEntropy]


@pytest.mark.parametrize("name", BUILTINS)
def test_every_built_in_dataset_can_be_named(name):
    assert parse_spec(put(TRAIN, "data.train", name)).data.train.dataset == name


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.key())
def test_every_recipe_can_be_named_and_is_worth_a_whole(recipe):
    task, student = {
        "masked-lm": ("masked-lm", {"arch": "bert"}),
        "text-classification": ("text-classification", {"arch": "bilstm"}),
        "seq2seq": ("seq2seq", {"arch": "t5"}),
        "causal-lm": ("causal-lm", {"arch": "gpt2"}),
    }.get(recipe.ONLY_FOR[0] if recipe.ONLY_FOR else "", (DISTILL["task"], DISTILL["student"]))
    example = recipe.example()
    needed = any(field.is_required() for field in recipe.model_fields.values())
    asked = example.model_dump(mode="json", exclude_none=True) if needed else recipe.key()
    teacher = None if recipe.OWN_TEACHER else {"ensemble": [DISTILL["teacher"]] * 2} if recipe.SEVERAL_TEACHERS else DISTILL["teacher"]
    data = {"train": {"tasks": {"a": "docstrings", "b": "docstrings"}}} if recipe.SEVERAL_TASKS else DISTILL["data"]
    by_name = parse_spec({**DISTILL, "teacher": teacher, "task": task, "data": data, "student": student, "recipe": asked})
    assert by_name.recipe == example
    assert by_name.resolved().objective == example.expand()


@pytest.mark.parametrize("alpha", [0, 1])
def test_a_term_that_alpha_silences_is_left_out(alpha):
    terms = parse_spec({**DISTILL, "recipe": {"name": "hinton", "alpha": alpha}}).terms
    assert [type(term) for term in terms] == [[CrossEntropy], [Kl]][alpha]
    assert terms[0].weight == 1


def test_terms_of_weight_zero_do_not_count():
    spec = parse_spec({**DISTILL, "objective": [{"loss": "logit_mse"}, {"loss": "kl", "weight": 0}]})
    assert spec.terms == [LogitMse()]
    assert spec.resolved().objective == [LogitMse()]


def test_what_a_spec_refers_to_is_found_by_field():
    spec = parse_spec({**put(DISTILL, "student", {"model": "mdl_" + "1" * 32}), "data": {"train": "digits", "test": "ds_" + "0" * 32}})
    assert spec.refs() == {"teacher": ModelRef(**TEACHER), "student": ModelRef(model="mdl_" + "1" * 32)}
    assert {field: source.dataset for field, source in spec.sources().items()} == {"data.train": "digits", "data.test": "ds_" + "0" * 32}
    assert parse_spec(TRAIN).refs() == {}


def test_adapters_stay_when_the_network_is_found_elsewhere():
    spec = parse_spec({**TRAIN, "task": "text-classification", "data": {"train": "messages"}, "student": {**TEACHER, "lora": {"rank": 4}}})
    found = spec.with_refs({"student": ModelRef(path="here")})
    assert found.refs() == {"student": ModelRef(path="here")} and found.lora == spec.lora and found.lora.rank == 4


TEXTS = {**DISTILL, "task": "text-classification", "data": {"train": "messages"}, "student": {"arch": "bilstm"}}


def test_all_arms_have_the_rows_that_a_recipe_makes_and_know_its_model():
    words = {"model": {"job": "@reads"}, "copies": 2}
    more = {"recipe": {"name": "tinybert", "words": words}, "evaluation": {"control": True, "compare": ["hinton"]}}
    spec = parse_spec({**TEXTS, **more})
    assert set(spec.refs()) == {"teacher", "recipe.words.model"}
    found = spec.with_refs({"recipe.words.model": ModelRef(path="here"), "teacher": ModelRef(path="there")})
    assert [(found.words.model.path, found.teacher.path), spec.words.model.job] == [("here", "there"), "@reads"]
    arms = {run.arm: run.spec for run in found.runs()}
    assert {arm: set(run.refs()) - {"tokenizer"} for arm, run in arms.items()} == {
        "student": {"teacher", "recipe.words.model"},
        "control": {"data.augment.words.model"},
        "hinton": {"teacher", "data.augment.words.model"},
    }
    for run in arms.values():
        assert run.words == found.words == parse_spec(run.model_dump(mode="json")).words == run.resolved().data.augment.words


def test_rows_that_are_not_made_leave_no_trace():
    """What was stored before there were any reads and resumes as it did."""
    spec = parse_spec({**TEXTS, "data": {"train": "messages", "augment": {"mixup": 0.4}}})
    assert "words" not in spec.resolved().model_dump(mode="json")["data"]["augment"]


def test_runs_of_one_seed_differ_in_the_teacher_and_in_nothing_else():
    spec = parse_spec({**DISTILL, "evaluation": {"control": True, "seeds": 2}, "training": {"seed": 7}})
    runs = spec.runs()
    assert [(run.arm, run.seed) for run in runs] == [("student", 7), ("control", 7), ("student", 8), ("control", 8)]
    for student, control in zip(runs[::2], runs[1::2], strict=True):
        assert student.spec.training == control.spec.training
        assert student.spec.training.seed == student.seed
        assert (student.spec.data, student.spec.student) == (control.spec.data, control.spec.student)
        assert control.spec.teacher is None
        assert control.spec.terms == [CrossEntropy()]
        for run in (student, control):
            written = run.spec.resolved().model_dump(mode="json")
            assert parse_spec(written).resolved().model_dump(mode="json") == written


def test_hinton_with_alpha_zero_learns_by_the_controls_objective():
    spec = parse_spec({**DISTILL, "recipe": {"name": "hinton", "alpha": 0}, "evaluation": {"control": True}})
    student, control = spec.runs()
    assert student.spec.terms == control.spec.terms == [CrossEntropy(weight=1.0)]


def test_a_spec_cannot_be_changed_after_it_was_checked():
    spec = parse_spec(TRAIN)
    with pytest.raises(ValueError, match="frozen"):
        spec.priority = 5
    with pytest.raises(ValueError, match="frozen"):
        spec.training.epochs = 1


@pytest.mark.parametrize("student", [Logistic(), Mlp(hidden=[3]), Cnn(), SoftCrossEntropy()], ids=lambda choice: choice.key())
def test_choices_read_back_as_themselves(student):
    assert type(student).model_validate(student.model_dump(mode="json")) == student


@pytest.mark.parametrize("task", TASKS)
def test_what_is_stored_of_a_spec_can_be_read_again(task):
    """A worker reads the resolved spec, in which every default is written out."""
    student = {"arch": next(arch.key() for arch in ARCHITECTURES if task in arch.SERVES)}
    student |= {"hidden": [4]} if student["arch"] == "mlp" else {}
    data = {"train": "ds_" + "0" * 32, "validation": 0.1}
    spec = parse_spec({"kind": "train", "task": task, "data": data, "student": student, "training": {"early_stopping": {"patience": 2}}})
    stored = spec.resolved().model_dump(mode="json")
    assert parse_spec(stored).resolved().model_dump(mode="json") == stored
