"""Fields nobody knows, choices there are not, parts that do not agree: one code, the field, its pointer and a way out."""

from typing import Any

import pytest
from contract_specs import DISTILL, EVALUATE, EXPORT, STOPPING, TEACHER, TRAIN, base, put, refusal, refused

UNKNOWN = [
    (TRAIN, "prioritty", "`priority`"),
    (TRAIN, "models", "Known here: data, evaluation, export, kind"),
    (TRAIN, "data.trian", "`train`"),
    (put(TRAIN, "data.train", {"dataset": "digits"}), "data.train.slpit", "`split`"),
    (put(TRAIN, "data.test", {"dataset": "digits"}), "data.test.colums", "`columns`"),
    (put(TRAIN, "data.train", {"dataset": "digits"}), "data.train.columns.lable", "`label`"),
    (DISTILL, "teacher.modle", "`model`"),
    (put(TRAIN, "student", {"arch": "mlp", "hidden": [4]}), "student.hiden", "`hidden`"),
    (put(TRAIN, "student", {"arch": "cnn"}), "student.chanels", "`channels`"),
    (put(TRAIN, "student", {"arch": "logistic"}), "student.hidden", "Known here: arch"),
    (EVALUATE, "student.jobb", "`job`"),
    (put(DISTILL, "recipe", {"name": "hinton"}), "recipe.temprature", "`temperature`"),
    (put(DISTILL, "recipe", {"name": "logit_mse"}), "recipe.temperature", "Known here: alpha, name"),
    (put(DISTILL, "objective", [{"loss": "kl"}]), "objective.0.wieght", "`weight`"),
    (put(DISTILL, "objective", [{"loss": "kl"}, {"loss": "cross_entropy"}]), "objective.1.label_smothing", "`label_smoothing`"),
    (put(DISTILL, "objective", [{"loss": "logit_mse"}]), "objective.0.temperature", "Known here: anneal, loss, weight"),
    (TRAIN, "training.epohcs", "`epochs`"),
    (TRAIN, "training.lr", "Known here: "),
    (TRAIN, "training.optimizer.learning_rate", "Known here: lr, momentum, name, weight_decay"),
    (TRAIN, "training.schedule.warm_up", "`warmup`"),
    (TRAIN, "training.keep.lsat", "`last`"),
    (STOPPING, "training.early_stopping.patiense", "`patience`"),
    (TRAIN, "evaluation.seed", "`seeds`"),
]


@pytest.mark.parametrize(("spec", "path", "hint"), UNKNOWN, ids=[path for _, path, _ in UNKNOWN])
def test_an_unknown_field_is_named_at_every_level_with_the_nearest_known_one(spec, path, hint):
    assert "not known" in refused(put(spec, path, 1), path, "unknown_field", hint).detail


def test_the_nearest_name_is_sought_among_the_fields_of_that_very_object():
    """`hidden` is a field of mlp and not of logistic; offering it there would send people in circles."""
    error = refused(put(TRAIN, "student", {"arch": "logistic", "hiden": [4]}), "student.hiden", "unknown_field")
    assert error.hint == "Known here: arch."


def test_a_misspelt_field_is_named_before_the_one_it_leaves_missing():
    error = refused(put(TRAIN, "student", {"arch": "mlp", "hiden": [4]}), "student.hiden", "unknown_field", "`hidden`")
    assert [one.pointer for one in error.errors] == ["/student/hiden", "/student/hidden"]


@pytest.mark.parametrize(
    ("path", "value", "hint"),
    [
        ("kind", "distil", "`distill`"),
        ("kind", "Train", "`train`"),
        ("kind", "finetune", "Known here: train, distill, evaluate, export."),
        ("task", "image-clasification", "`image-classification`"),
        ("task", "chess", "Known here: "),
        ("student.arch", "mpl", "`mlp`"),
        ("student.arch", "transformer-xl-9000", "Known here: "),
        ("recipe.name", "hintn", "`hinton`"),
        ("recipe.name", "quiz-show", "Known here: "),
        ("objective.0.loss", "cross_entrpy", "`cross_entropy`"),
        ("objective.0.loss", "triplet-margin", "Known here: "),
        ("training.optimizer.name", "addam", "`adam`"),
        ("training.schedule.name", "cosin", "`cosine`"),
        ("training.precision", "fp16", ""),
        ("training.early_stopping.metric", "acuracy", "`accuracy`"),
    ],
)
def test_an_unknown_choice_is_refused_with_the_nearest_one(path, value, hint):
    error = refused(put(base(path), path, value), path, "invalid_spec", hint)
    assert f"'{value}' is not one of" in error.detail


def test_a_recipe_given_by_a_wrong_name_is_refused_like_one_written_out():
    assert refusal({**DISTILL, "recipe": "hintn"}).param == "recipe.name"
    assert refusal({**DISTILL, "recipe": "hintn"}).hint == "Did you mean `hinton`?"


@pytest.mark.parametrize("path", ["kind", "task", "data", "student", "data.train", "student.hidden"])
def test_a_missing_field_is_named_and_the_hint_says_to_add_it(path):
    spec = put(TRAIN, path, None)
    parent: Any = spec
    *parents, last = path.split(".")
    for part in parents:
        parent = parent[part]
    del parent[last]
    refused(spec, path, "invalid_spec", f"Add `{last}`.")


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        (put(DISTILL, "recipe", {"temperature": 2.0}), "recipe.name"),
        (put(DISTILL, "objective", [{"weight": 1}]), "objective.0.loss"),
        (put(DISTILL, "objective", [{"loss": "kl"}, {}]), "objective.1.loss"),
    ],
)
def test_a_choice_that_is_not_named_is_asked_for(spec, path):
    refused(spec, path, "invalid_spec", f"Add `{path.rsplit('.', 1)[1]}`.")


LIVE = {**DISTILL, "teacher_outputs": "live"}
BOTH = {"devices": 2, "teacher_sharded": True}
TANG = {"augment": {"words": {"rules": "tang"}}}
TEXTS = {**DISTILL, "task": "text-classification", "data": {"train": "messages"}, "student": {"arch": "bilstm"}}
MADE = {**TEXTS, "recipe": {"name": "tinybert", "words": {"model": TEACHER}}}
RULES = [
    ("words of images", {**DISTILL, "data": {"train": "digits", **TANG}}, "data.augment.words", "invalid_spec"),
    ("words of a language model", {**MADE, "task": "masked-lm", "student": {"arch": "bert"}}, "recipe.words", "invalid_spec"),
    (
        "words of an evaluate job",
        {**EVALUATE, "task": "text-classification", "data": {"train": "messages", **TANG}},
        "data.augment.words",
        "invalid_spec",
    ),
    ("words twice", {**MADE, "data": {"train": "messages", **TANG}}, "recipe.words", "conflicting_fields"),
    (
        "words of an arm",
        {**TEXTS, "evaluation": {"compare": [{"name": "tang_bilstm", "words": {}}]}},
        "evaluation.compare.0.words",
        "invalid_spec",
    ),
    ("words of no model", put(TEXTS, "recipe", {"name": "tinybert", "words": {}}), "recipe.words.model", "invalid_spec"),
    ("words by unknown rules", put(TEXTS, "data.augment", {"words": {"rules": "eda"}}), "data.augment.words.rules", "invalid_spec"),
    ("too many copies", put(TEXTS, "recipe", {"name": "tang_bilstm", "words": {"copies": 101}}), "recipe.words.copies", "invalid_spec"),
    ("recipe and objective", {**DISTILL, "recipe": "hinton", "objective": [{"loss": "kl"}]}, "objective", "conflicting_fields"),
    ("a train job with a teacher", {**TRAIN, "teacher": TEACHER}, "teacher", "invalid_spec"),
    ("a train job with a recipe", {**TRAIN, "recipe": "hinton"}, "recipe", "invalid_spec"),
    (
        "a train job with a term of a teacher",
        {**TRAIN, "objective": [{"loss": "cross_entropy"}, {"loss": "kl"}]},
        "objective.1.loss",
        "invalid_spec",
    ),
    ("a distill job without a teacher", {**DISTILL, "teacher": None}, "teacher", "invalid_spec"),
    ("an evaluate job of an architecture", put(EVALUATE, "student", {"arch": "mlp", "hidden": [4]}), "student", "invalid_spec"),
    ("an evaluate job with a teacher", {**EVALUATE, "teacher": TEACHER}, "teacher", "invalid_spec"),
    ("an evaluate job with a recipe", {**EVALUATE, "recipe": "hinton"}, "recipe", "invalid_spec"),
    ("an evaluate job with an objective", {**EVALUATE, "objective": [{"loss": "cross_entropy"}]}, "objective", "invalid_spec"),
    ("an export job of an architecture", put(EXPORT, "student", {"arch": "mlp", "hidden": [4]}), "student", "invalid_spec"),
    ("an export job with an objective", {**EXPORT, "objective": [{"loss": "cross_entropy"}]}, "objective", "invalid_spec"),
    ("an export job of several seeds", put(EXPORT, "evaluation", {"seeds": 2}), "evaluation.seeds", "invalid_spec"),
    ("an export of what writes word by word", put(EXPORT, "task", "seq2seq"), "task", "invalid_spec"),
    ("an export in an evaluate job", {**EVALUATE, "export": {}}, "export", "invalid_spec"),
    ("an export to an unknown format", {**EXPORT, "export": {"format": "tflite"}}, "export.format", "invalid_spec"),
    ("an export to few bits", {**EXPORT, "export": {"quantize": "int4"}}, "export.quantize", "invalid_spec"),
    ("an export that may not differ at all", {**EXPORT, "export": {"tolerance": 0}}, "export.tolerance", "invalid_spec"),
    ("adapters of a described student", put(TEXTS, "student", {"arch": "bert", "lora": {}}), "student.lora", "invalid_spec"),
    ("adapters of a network of numbers", put(TRAIN, "student", {**TEACHER, "lora": {}}), "student.lora", "invalid_spec"),
    ("adapters where nothing is trained", put(EXPORT, "student", {**TEACHER, "lora": {}}), "student.lora", "invalid_spec"),
    ("adapters of no rank", put(TEXTS, "student", {**TEACHER, "lora": {"rank": 0}}), "student.lora.rank", "invalid_spec"),
    ("adapters of no layer", put(TEXTS, "student", {**TEACHER, "lora": {"targets": []}}), "student.lora.targets", "invalid_spec"),
    (
        "all weights 0",
        {**DISTILL, "objective": [{"loss": "kl", "weight": 0}, {"loss": "cross_entropy", "weight": 0.0}]},
        "objective",
        "invalid_spec",
    ),
    ("early stopping without validation", put(TRAIN, "training.early_stopping", {}), "data.validation", "invalid_spec"),
    ("early stopping with no validation rows", put(STOPPING, "data.validation", 0), "data.validation", "invalid_spec"),
    ("momentum for adam", put(TRAIN, "training.optimizer", {"momentum": 0.9}), "training.optimizer.momentum", "invalid_spec"),
    ("two places for rows", put(TRAIN, "data.train", {"dataset": "digits", "path": "a.csv"}), "data.train", "invalid_spec"),
    ("no place for rows", put(TRAIN, "data.test", {"split": "test"}), "data.test", "invalid_spec"),
    ("two teachers", put(DISTILL, "teacher", {**TEACHER, "path": "x"}), "teacher", "invalid_spec"),
    ("a teacher from nowhere", put(DISTILL, "teacher", {}), "teacher", "invalid_spec"),
    ("a control without a teacher", {**TRAIN, "evaluation": {"control": True}}, "evaluation.control", "invalid_spec"),
    ("the same measurement twice", {**EVALUATE, "evaluation": {"seeds": 2}}, "evaluation.seeds", "invalid_spec"),
    ("devices that measure", put(EVALUATE, "resources.devices", 2), "resources.devices", "invalid_spec"),
    ("a student divided by one", put(DISTILL, "resources.sharded", True), "resources.sharded", "invalid_spec"),
    ("a teacher divided by one", put(LIVE, "resources", {"teacher_sharded": True}), "resources.teacher_sharded", "invalid_spec"),
    ("a divided teacher of a train job", put(TRAIN, "resources", BOTH), "resources.teacher_sharded", "invalid_spec"),
    ("a divided teacher, asked beforehand", put(DISTILL, "resources", BOTH), "resources.teacher_sharded", "invalid_spec"),
    (
        "several divided teachers",
        {**LIVE, "teacher": {"ensemble": [TEACHER, TEACHER]}, "resources": BOTH},
        "resources.teacher_sharded",
        "invalid_spec",
    ),
    (
        "a divided teacher of a student that writes",
        {**LIVE, "task": "causal-lm", "student": {"arch": "gpt2"}, "recipe": "gkd", "resources": BOTH},
        "resources.teacher_sharded",
        "invalid_spec",
    ),
    ("seeds past the last", {**put(TRAIN, "training.seed", 2**31 - 1), "evaluation": {"seeds": 2}}, "training.seed", "invalid_spec"),
]


@pytest.mark.parametrize(("spec", "param", "code"), [rule[1:] for rule in RULES], ids=[rule[0] for rule in RULES])
def test_parts_that_do_not_agree_are_refused_by_a_rule_with_its_place(spec, param, code):
    refused(spec, param, code)


def test_the_conflict_says_which_two_and_how_to_choose():
    error = refusal({**DISTILL, "recipe": "hinton", "objective": [{"loss": "kl"}]})
    assert "`recipe`" in error.detail
    assert "`objective`" in error.detail
    assert "keep" in error.detail
