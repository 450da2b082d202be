"""Several tasks: which fields go together, that order of names never matters, and that errors name the task."""

from typing import Any

import pytest
from contract_specs import TEACHER, put, refused

from contract.check import parse_spec
from contract.errors import InvalidSpec
from contract.fit import check_fit
from contract.model import ModelConfig, of_transformers
from contract.networks import ModelRef
from contract.shapes import DataShape, joined
from contract.spec import JobSpec

OTHER = {"job": "job_" + "f" * 32}
TASKS: dict[str, Any] = {
    "kind": "distill",
    "task": "text-classification",
    "data": {"train": {"tasks": {"topic": "docstrings", "mood": {"dataset": "docstrings"}}}, "sampling": 0.75},
    "teacher": {"tasks": {"topic": {"ensemble": [TEACHER, OTHER]}, "mood": TEACHER}},
    "student": {"arch": "bilstm"},
    "recipe": "bam",
}


@pytest.mark.parametrize(
    ("path", "value", "param"),
    [
        ("data.train", {"tasks": {"mood": "docstrings"}}, "data.train.tasks"),
        ("data.train", {"tasks": {}}, "data.train.tasks"),
        ("data.train", {"tasks": {f"t{i}": "docstrings" for i in range(9)}}, "data.train.tasks"),
        ("data.train", {"tasks": ["docstrings"]}, "data.train.tasks"),
        ("data.train.tasks.mood", {"dataset": "docstrings", "path": "x"}, "data.train.tasks.mood"),
        ("data.train.tasks.mood.columns", {"features": ["x"]}, "data.train.tasks.mood.columns.features"),
        ("data.train", "docstrings", "data.sampling"),
        ("data.sampling", 1.5, "data.sampling"),
        ("data.test", "docstrings", "data.test"),
        ("data.test", {"tasks": {"mood": "docstrings", "topics": "docstrings"}}, "data.test.tasks.topics"),
        ("data.augment", {"mixup": 0.2}, "data.augment"),
        ("task", "image-classification", "data.train.tasks"),
        ("task", "token-classification", "data.train.tasks"),
        ("teacher", {"tasks": {"mood": TEACHER}}, "teacher.tasks"),
        ("teacher.tasks.topics", TEACHER, "teacher.tasks.topics"),
        ("teacher.tasks.mood", {"tasks": {"a": TEACHER}}, "teacher.tasks.mood.tasks"),
        ("teacher.tasks.topic.ensemble", [TEACHER], "teacher.tasks.topic.ensemble"),
        ("teacher_outputs", "live", "teacher_outputs"),
        ("recipe", "tang_bilstm", "recipe.name"),
        ("recipe", "adversarial", "recipe.name"),
        ("recipe", "mixkd", "recipe.name"),
        ("recipe", "rkd", "recipe.name"),
        ("evaluation.compare", ["mt_dnn_kd", "logit_mse"], "evaluation.compare.1"),
        ("student", {"init": "teacher", "layers": [0]}, "student.init"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_named(path: str, value: Any, param: str) -> None:
    parse_spec(TASKS)
    found = put({**TASKS, "recipe": "hinton"}, "task", value) if path == "task" else put(TASKS, path, value)
    if path in ("task", "data.augment"):  # what else is wrong with it then is not asked here
        with pytest.raises(InvalidSpec) as caught:
            parse_spec(found)
        assert caught.value.param in (param, "student.arch")
        return
    code = "unknown_field" if param == "teacher.tasks.mood.tasks" else "invalid_spec"
    refused(found, param, code)


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidSpec, match=r"data\.train\.tasks\.Mood!: "):
        parse_spec(put(TASKS, "data.train.tasks.Mood!", "docstrings"))


@pytest.mark.parametrize("term", [{"loss": "logit_mse"}, {"loss": "adversarial"}])
def test_losses_over_all_classes_are_refused(term: dict[str, Any]) -> None:
    spec = {name: value for name, value in TASKS.items() if name != "recipe"}
    refused({**spec, "objective": [{"loss": "kl"}, term]}, "objective.1.loss")
    refused({**spec, "objective": [{"loss": "cross_entropy", "label_smoothing": 0.1}]}, "objective.0.label_smoothing")


@pytest.mark.parametrize("change", [{"teacher": TEACHER, "recipe": "bam"}, {"recipe": "hinton"}, {"teacher": TEACHER, "data.test": 1}])
def test_with_one_task_nothing_speaks_of_several(change: dict[str, Any]) -> None:
    test = {"test": {"tasks": {"a": "docstrings", "b": "docstrings"}}} if change.pop("data.test", None) else {}
    with pytest.raises(InvalidSpec) as caught:
        parse_spec({**TASKS, "data": {"train": "docstrings", **test}, "recipe": "hinton", **change})
    assert caught.value.param == ("data.test.tasks" if test else "recipe.name" if change["recipe"] == "bam" else "teacher.tasks")


def test_order_of_names_does_not_matter() -> None:
    """A database keeps none."""
    turned = put(TASKS, "data.train.tasks", dict(reversed(TASKS["data"]["train"]["tasks"].items())))
    turned = put(turned, "teacher.tasks", dict(reversed(TASKS["teacher"]["tasks"].items())))
    assert parse_spec(turned).model_dump_json() == parse_spec(TASKS).model_dump_json()
    assert parse_spec(TASKS).data.tasks == ["mood", "topic"]


def test_every_network_and_source_is_known_by_its_field() -> None:
    spec = parse_spec(TASKS)
    fields = ["teacher.tasks.mood", "teacher.tasks.topic.ensemble.0", "teacher.tasks.topic.ensemble.1"]
    assert list(spec.refs()) == fields and list(spec.sources()) == ["data.train.tasks.mood", "data.train.tasks.topic"]
    there = {field: ModelRef(path=field) for field in fields}
    assert spec.with_refs(there).refs() == there and spec.first_teacher == ModelRef.model_validate(TEACHER)
    alone = spec.alone("topic")
    assert alone.data.train.dataset == "docstrings" and list(alone.refs()) == ["teacher.ensemble.0", "teacher.ensemble.1"]
    assert JobSpec.model_validate(spec.resolved().model_dump(mode="json")) == spec.resolved()
    (control,) = [run.spec for run in parse_spec(put(TASKS, "evaluation.control", True)).runs() if run.arm == "control"]
    assert control.tokenizer == spec.first_teacher and control.data.sampling == 0.75


MOOD, TOPIC = DataShape(classes=["glad", "sad"], texts=1), DataShape(classes=["art", "sport", "war"], texts=2)
BOTH = joined({"topic": TOPIC, "mood": MOOD})


def test_classes_stand_in_the_order_of_the_tasks() -> None:
    assert BOTH.classes == ["mood/glad", "mood/sad", "topic/art", "topic/sport", "topic/war"] and BOTH.texts == 2


@pytest.mark.parametrize(
    ("models", "param", "said"),
    [
        ({"teacher.tasks.mood": TOPIC}, "teacher.tasks.mood", "it knows 3 classes (art, sport, war); data.train.tasks.mood has 2"),
        ({"teacher.tasks.topic.ensemble.1": MOOD}, "teacher.tasks.topic.ensemble.1", "it knows 2 classes"),
        ({"teacher.tasks.mood": DataShape(shape=(3,), classes=["glad", "sad"])}, "teacher.tasks.mood", "data.train.tasks.mood has"),
        ({"teacher.tasks.mood": DataShape(classes=[], texts=1)}, "teacher.tasks.mood", "it was taught no classes"),
        ({"teacher": MOOD}, "teacher", "it knows 2 classes (glad, sad); data.train has 5 classes"),
        ({"teacher": DataShape(classes=BOTH.classes, texts=1)}, "teacher", "it knows 5 classes"),
        ({"student": MOOD}, "student", "it knows 2 classes"),
    ],
    ids=str,
)
def test_who_does_not_fit_a_task_is_named(models: dict[str, DataShape], param: str, said: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        check_fit(parse_spec(TASKS), BOTH, None, models)
    assert (caught.value.param, caught.value.code) == (param, "does_not_fit") and said in caught.value.detail
    fits = {"teacher.tasks.mood": MOOD, "teacher.tasks.topic.ensemble.0": TOPIC, "teacher": BOTH, "student": BOTH}
    check_fit(parse_spec(TASKS), BOTH, BOTH, fits)


def test_a_task_with_one_class_or_a_test_with_others_is_named() -> None:
    one = joined({"mood": DataShape(classes=["glad"], texts=1), "topic": TOPIC})
    with pytest.raises(InvalidSpec, match=r"data\.train\.tasks\.mood: there is only one class \(glad\)"):
        check_fit(parse_spec(TASKS), one, None, {})
    unseen = joined({"mood": DataShape(classes=["glad", "odd"], texts=1), "topic": TOPIC})
    with pytest.raises(InvalidSpec, match=r"data\.test\.tasks\.mood: it has classes that data\.train\.tasks\.mood lacks: odd") as caught:
        check_fit(parse_spec(TASKS), BOTH, unseen, {})
    assert caught.value.param == "data.test.tasks.mood"
    with pytest.raises(InvalidSpec, match=r"data\.train\.tasks\.mood\.columns\.label: it holds lists"):
        joined({"mood": DataShape(classes=["a"], texts=1, answers="classes"), "topic": TOPIC})


def test_a_config_knows_its_tasks() -> None:
    document = {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "vocab_size": 9,
        "id2label": dict(enumerate(BOTH.classes)),
        "potstill": {"tasks": ["mood", "topic"], "text": {"texts": 2, "vocabulary": 9, "max_length": 9}},
    }
    made_for = of_transformers(document).made_for
    assert made_for.classes == BOTH.classes and list(made_for.tasks) == ["mood", "topic"]
    assert made_for.tasks["topic"].classes == ["art", "sport", "war"]
    for odd in (5, "mood", [1]):
        with pytest.raises(ValueError, match="tasks"):
            of_transformers({**document, "potstill": {**document["potstill"], "tasks": odd}})
    for names in (["mood"], ["topic", "mood"], ["mood", "topic", "more"], ["moo", "topic"]):
        with pytest.raises(ValueError, match="every class is one of theirs"):
            of_transformers({**document, "potstill": {**document["potstill"], "tasks": names}})
    assert "tasks" not in ModelConfig(arch="lstm", task="text-classification", shape=[2], classes=["a", "b"]).model_dump()
