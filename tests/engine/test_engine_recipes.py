"""Recipes of layers and chains: what they expand to, that a student learns by each, and that phases follow each other."""

import json
from pathlib import Path
from typing import Any

import pytest
from engine_runs import Engine, small
from engine_texts import TRANSFORMER, language, texts, write_texts

from contract import registry
from contract.chains import links
from contract.check import parse_spec
from contract.errors import InvalidSpec
from contract.events import Resumed
from contract.registry import RECIPES
from contract.registry.layer_recipes import FitNets, MiniLm, PatientKd, TinyBert
from contract.registry.terms import Anneal
from potstill.cli import engine as command

BERT = {"arch": "bert", **TRANSFORMER, "dropout": 0.0}
CNN = {"arch": "cnn", "channels": [4, 8], "hidden": 8}
AWAY = Anneal(weight=0.0, shape="step", until=0.5)


def test_expansions_are_the_published_ones() -> None:
    assert PatientKd(temperature=5.0, alpha=0.25, beta=10.0, layers="last").expand() == [
        registry.Kl(temperature=5.0, weight=0.25),
        registry.CrossEntropy(weight=0.75),
        registry.Pkd(weight=10.0, layers="last"),
    ]
    assert TinyBert(general=True).expand() == [
        registry.AttentionMse(layers="uniform"),
        registry.HiddenMse(layers="uniform"),
        registry.EmbeddingMse(),
    ]
    inner = [registry.AttentionMse(layers="uniform", anneal=AWAY), registry.HiddenMse(layers="uniform", anneal=AWAY)]
    after = registry.SoftCrossEntropy(temperature=1.0, weight=0.0, anneal=Anneal(weight=1.0, shape="step", until=0.5))
    assert TinyBert().expand() == [*inner, registry.EmbeddingMse(anneal=AWAY), after]
    assert MiniLm().expand() == [registry.AttentionKl(), registry.ValueRelation()]


@pytest.mark.parametrize("recipe", [TinyBert(until=0.4), FitNets(until=0.4)], ids=lambda recipe: recipe.name)
def test_one_phase_follows_the_other(recipe: Any) -> None:
    terms = recipe.expand()
    first, second = ([term.at(share).weight for term in terms] for share in (0.39, 0.4))
    looks = [term.SEES != "logits" for term in terms]
    assert [bool(weight) for weight in first] == looks
    assert [not weight for weight in second] == looks
    assert sum(second) == pytest.approx(1.0)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    engine = Engine(tmp_path_factory.mktemp("taught"))
    path = write_texts(engine.home.parent / f"{engine.home.name}.jsonl")
    return {
        "path": path,
        "texts": engine.run(texts(path, student=BERT | {"layers": 4}, training={"epochs": 1})).student,
        "language": engine.run(language(path, "masked-lm", BERT | {"layers": 4}, training={"epochs": 1})).student,
        "images": engine.run(small(student=CNN | {"channels": [6, 12]}, training={"epochs": 1})).student,
    }


@pytest.mark.parametrize(
    ("kind", "recipe"),
    [
        ("texts", "pkd"),
        ("texts", "tinybert"),
        ("language", {"name": "tinybert", "general": True}),
        ("language", "minilm"),
        ("texts", "rkd"),
        ("texts", "adversarial"),
        ("texts", "mixkd"),
        ("images", "rkd"),
        ("images", "attention_transfer"),
        ("images", {"name": "fitnets", "layers": [[1, 1]]}),
        ("images", "adversarial"),
        ("images", "mixkd"),
    ],
    ids=str,
)
def test_each_recipe_runs_as_a_job(engine: Engine, taught: dict[str, Any], kind: str, recipe: Any) -> None:
    if kind == "images":
        spec = small(taught["images"], student=CNN, recipe=recipe)
    elif kind == "texts":
        spec = texts(taught["path"], taught["texts"], student=BERT | {"layers": 2}, recipe=recipe)
    else:
        spec = language(taught["path"], "masked-lm", BERT | {"layers": 2}, taught["language"], recipe=recipe)
    ran = engine.run(spec)
    assert ran.report["verdict"]
    shown = {name.removeprefix("train/loss/") for _, point in ran.curve() for name in point if name.startswith("train/loss/")}
    assert shown == {term.loss for term in spec.terms}


def test_every_recipe_is_run_by_some_test() -> None:
    elsewhere = {"hinton", "logit_mse", "distilbert", "tang_bilstm", "seq_kd"}
    chains = {"takd", "born_again", "self_kd", "well_read"}
    here = {"pkd", "tinybert", "minilm", "rkd", "attention_transfer", "fitnets", "adversarial", "mixkd"}
    elsewhere |= {"gkd", "minillm", "multi_teacher", "bam", "mt_dnn_kd"}
    assert {recipe.key() for recipe in RECIPES} == elsewhere | chains | here


def test_assistants_stand_between_teacher_and_student(taught: dict[str, Any]) -> None:
    recipe = {"name": "takd", "assistants": [{"arch": "mlp", "hidden": [16]}, {"arch": "mlp", "hidden": [12]}], "temperature": 2.0}
    spec = small(taught["images"], name="my digits", recipe=recipe, evaluation={"control": True, "seeds": 2})
    first, second, last = links(spec)
    assert [link.name for link in (first, second, last)] == ["my-digits-assistant-1", "my-digits-assistant-2", "my digits"]
    assert first.teacher == spec.teacher and second.teacher.job == "@my-digits-assistant-1" and last.teacher.job == "@my-digits-assistant-2"
    assert [link.student.hidden for link in (first, second, last)] == [[16], [12], [8]]
    assert all(link.recipe is None and link.terms == spec.terms for link in (first, second, last))
    assert [len(link.runs()) for link in (first, second, last)] == [1, 1, 4]


def test_generations_follow_each_other(taught: dict[str, Any]) -> None:
    found = links(small(taught["images"], recipe={"name": "born_again", "generations": 3}))
    assert [link.teacher.job for link in found] == [None, "@born_again-generation-1", "@born_again-generation-2"]
    assert len(links(small(taught["images"], recipe={"name": "born_again", "generations": 1}))) == 1


def test_who_is_well_read_has_read_first(taught: dict[str, Any]) -> None:
    spec = texts(taught["path"], taught["texts"], student=BERT | {"layers": 2}, recipe={"name": "well_read", "epochs": 2})
    reading, last = links(spec)
    assert (reading.kind, reading.task, reading.teacher, reading.training.epochs) == ("train", "masked-lm", None, 2)
    assert reading.tokenizer == spec.teacher and last.student.job == "@well_read-reading" and last.tokenizer is None
    assert parse_spec(reading.model_dump(mode="json", exclude_none=True)) == reading
    few = texts(taught["path"], taught["texts"], student=BERT, recipe="well_read", data={"max_train_samples": 40})
    reads, learns = (link.data for link in links(few))
    assert (reads.max_train_samples, reads.validation) == (learns.max_train_samples, learns.validation), "it must not read what is held out"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"recipe": {"name": "takd", "assistants": [{"arch": "lstm"}]}}, "recipe.assistants.0.arch"),
        ({"recipe": {"name": "takd", "assistants": []}}, "recipe.assistants"),
        ({"recipe": {"name": "takd"}}, "recipe.assistants"),
        ({"recipe": {"name": "born_again", "generations": 0}}, "recipe.generations"),
        ({"recipe": "pkd"}, "recipe.name"),
        ({"recipe": {"name": "fitnets", "until": 1.0}}, "recipe.until"),
        ({"recipe": {"name": "attention_transfer", "layers": [[1, 2, 3]]}}, "recipe.layers.0"),
    ],
    ids=str,
)
def test_what_no_chain_or_phase_can_be_is_refused_at_its_field(taught: dict[str, Any], changes: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        links(small(taught["images"], **changes))
    assert caught.value.param == param


def test_a_student_that_cannot_read_is_refused(taught: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec) as caught:
        links(texts(taught["path"], taught["texts"], recipe="well_read"))
    assert caught.value.param == "student"


@pytest.mark.parametrize("name", ["takd", "born_again", "self_kd", "well_read"])
def test_a_chain_runs_without_a_service(tmp_path: Path, taught: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("POTSTILL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    if name == "well_read":
        spec = texts(taught["path"], taught["texts"], student=BERT | {"layers": 1}, recipe={"name": name, "epochs": 1})
    else:
        more = {"takd": {"assistants": [{"arch": "mlp", "hidden": [12]}]}, "born_again": {"generations": 2}, "self_kd": {}}
        teacher = None if name == "self_kd" else taught["images"]
        spec = small(teacher, kind="distill", recipe={"name": name, **more[name]}, evaluation={"control": True})
    (tmp_path / "spec.json").write_text(spec.model_dump_json(exclude_none=True))
    out = tmp_path / "out"
    command.run(str(tmp_path / "spec.json"), out, as_json=True)
    before = sorted(path.name for path in (out / "before").iterdir())
    asked = {"takd": "assistant-1", "born_again": "generation-1", "self_kd": "alone", "well_read": "reading"}
    assert before == [f"{name}-{asked[name]}"]
    report = json.loads((out / "report.json").read_text())
    assert report["arms"]["student"] and ("control" in report["arms"]) == (name != "well_read")


def test_links_are_specs_as_good_as_any(taught: dict[str, Any]) -> None:
    """What a recipe makes is read again by a worker, which can only decline what it cannot read."""
    told = {"teacher_outputs": "live", "data": {"train": {"path": str(taught["path"]), "columns": {"text": "text", "label": "label"}}}}
    asked = texts(taught["path"], taught["texts"], student=BERT | {"layers": 2}, recipe="well_read", **told)
    reading, last = links(asked)
    assert (reading.teacher_outputs, reading.data.train.columns.label, last.teacher_outputs) == ("auto", None, "live")
    corpus = {"path": "x", "columns": {"text": "text", "label": "topic"}}
    other = texts(taught["path"], taught["texts"], student=BERT, recipe={"name": "well_read", "corpus": corpus})
    assert links(other)[0].data.train.columns.label is None
    recipe = {"name": "takd", "assistants": [{"arch": "bilstm"}]}
    again = texts(taught["path"], taught["texts"], student=BERT, recipe=recipe, training={"gradient_checkpointing": True})
    with pytest.raises(InvalidSpec, match=r"recipe: of its jobs takd-assistant-1 cannot be: training\.gradient_checkpointing"):
        links(again)


def test_layers_are_the_named_teachers_whoever_teaches_in_the_end(taught: dict[str, Any]) -> None:
    student = {"init": "teacher", "layers": [0, 3]}
    for link in links(texts(taught["path"], taught["texts"], student=student, recipe={"name": "born_again", "generations": 2})):
        assert link.student.init.path == str(taught["texts"])


def test_arms_beside_a_chain_are_refused(taught: dict[str, Any]) -> None:
    """They would be taught by the last assistant, and be called direct."""
    with pytest.raises(InvalidSpec, match=r"evaluation\.compare\.0: born_again is several jobs"):
        small(taught["images"], recipe="born_again", evaluation={"compare": ["hinton"]})


@pytest.mark.parametrize("recipe", ["minilm", {"name": "tinybert", "general": True}], ids=str)
def test_what_no_term_reaches_keeps_no_checkpoint_from_being_used(engine: Engine, taught: dict[str, Any], recipe: Any) -> None:
    spec = language(taught["path"], "masked-lm", BERT | {"layers": 2}, taught["language"], recipe=recipe)
    whole, half = engine.run(spec), engine.run(spec, stop_after=3)
    resumed = engine.run(spec, resume=half.checkpoints)
    assert resumed.of(Resumed)[0].step == 3 and resumed.of(Resumed)[0].inexact is None
    assert resumed.weights == whole.weights


def test_a_control_is_run_with_what_it_reads_by(tmp_path: Path, taught: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a teacher it names the tokenizer that it had from it."""
    monkeypatch.setenv("POTSTILL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    spec = texts(taught["path"], taught["texts"], evaluation={"control": True}, training={"epochs": 1})
    (tmp_path / "spec.json").write_text(spec.model_dump_json(exclude_none=True))
    command.run(str(tmp_path / "spec.json"), tmp_path / "out", as_json=True)
    assert json.loads((tmp_path / "out" / "report.json").read_text())["gain"]
