"""Recipes that say who teaches: a student itself, or several networks at once. Their losses by hand, in float64."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_references import cross_entropy, log_softmax, softmax
from engine_runs import Engine, Ran, digest, small
from engine_texts import TRANSFORMER, texts, write_texts

from contract.chains import links
from contract.check import parse_spec
from contract.errors import InvalidSpec
from contract.spec import JobSpec
from distill import loop
from distill.networks import load, logits_of
from distill.objectives import Objective

Step = tuple[Any, Any, Any]  # rows, z_s, labels


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """What the student was shown at each step, what it said, and the labels."""
    found: list[Step] = []
    shown: list[Any] = []
    real_said, real_forward = loop.said_of, Objective.forward

    def said_of(network: Any, config: Any, given: Any, looks: Any) -> Any:
        shown.append(given)
        return real_said(network, config, given, looks)

    def forward(self: Any, student: Any, y: Any, *more: Any) -> Any:
        found.append((shown[-1], student.logits.detach().double().numpy(), y.numpy()))
        return real_forward(self, student, y, *more)

    monkeypatch.setattr(loop, "said_of", said_of)
    monkeypatch.setattr(Objective, "forward", forward)
    return found


def by_hand(steps: list[Step], teachers: list[Path], temperature: float, alpha: float) -> list[float]:
    """(1 − α)·CE + α·T²·KL of each step; the teacher's softened answer is the mean of the teachers' softened answers."""
    networks = [load(path) for path in teachers]
    found = []
    for rows, z_s, y in steps:
        with torch.no_grad():
            p_t = np.mean([softmax(logits_of(*network, rows).double().numpy() / temperature) for network in networks], axis=0)
        divergence = np.mean(np.sum(p_t * (np.log(p_t) - log_softmax(z_s / temperature)), axis=1))
        found.append((1 - alpha) * cross_entropy(z_s, y, 0.0) + alpha * temperature**2 * divergence)
    return found


def said(ran: Ran) -> list[float]:
    return [point["train/loss"] for _, point in ran.curve() if "train/loss" in point]


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    engine = Engine(tmp_path_factory.mktemp("members"))
    return [engine.run(small(student={"arch": "mlp", "hidden": [hidden]}, training={"epochs": 6})).student for hidden in (24, 12)]


def test_several_teachers_are_heard_as_the_mean_of_what_they_say_after_softening(
    engine: Engine, members: list[Path], steps: list[Step]
) -> None:
    several = {"ensemble": [{"path": str(path)} for path in members]}
    ran = engine.run(small(several, recipe={"name": "multi_teacher", "temperature": 3.0, "alpha": 0.6}))
    assert said(ran) == pytest.approx(by_hand(steps, members, 3.0, 0.6), rel=1e-4)


def test_a_student_is_taught_by_itself_trained_alone(engine: Engine, steps: list[Step]) -> None:
    spec = small(kind="distill", recipe={"name": "self_kd", "temperature": 5.0, "alpha": 0.8}, evaluation={"control": True})
    alone, last = links(spec)
    first = engine.run(alone)
    steps.clear()
    taught = last.with_refs({"teacher": last.teacher.model_copy(update={"job": None, "path": str(first.student)})})
    student, control = (engine.run(run.spec) for run in taught.runs())
    assert said(student) == pytest.approx(by_hand(steps[: len(said(student))], [first.student], 5.0, 0.8), rel=1e-4)
    assert digest(control.student / "model.safetensors") == first.weights != student.weights  # they start as one, and only one is taught


def test_its_own_teacher_is_a_job_before_it() -> None:
    changes = {"priority": 3, "evaluation": {"control": True, "seeds": 2}}
    alone, last = links(small(kind="distill", name="my digits", recipe="self_kd", **changes))
    assert (alone.kind, alone.name, alone.teacher, alone.priority, len(alone.runs())) == ("train", "my-digits-alone", None, 3, 1)
    assert [term.loss for term in alone.terms] == ["cross_entropy"] and alone.terms[0].weight == 1
    assert (last.kind, last.name, last.teacher.job, len(last.runs())) == ("distill", "my digits", "@my-digits-alone", 4)
    assert [(term.loss, term.weight) for term in last.terms] == [("kl", 0.9), ("cross_entropy", pytest.approx(0.1))]
    assert last.student == alone.student and last.training == alone.training and last.data == alone.data


def test_of_texts_it_reads_by_its_own_tokenizer(tmp_path: Path) -> None:
    path, student = write_texts(tmp_path / "t.jsonl"), {"arch": "bert", **TRANSFORMER}
    alone, last = links(texts(path, kind="distill", student=student, tokenizer={"vocabulary": 300}, recipe="self_kd"))
    assert alone.tokenizer.vocabulary == 300 and last.tokenizer is None


@pytest.mark.parametrize(
    ("changes", "param", "message"),
    [
        ({"recipe": "self_kd"}, "teacher", "self_kd makes its teacher itself; leave this out, or use another recipe"),
        ({"recipe": "hinton", "teacher": None}, "teacher", "a distill job needs a teacher"),
        ({"recipe": "multi_teacher"}, "teacher", "multi_teacher needs several: {ensemble:"),
        ({"evaluation": {"compare": ["multi_teacher"]}}, "evaluation.compare.0", "multi_teacher: multi_teacher needs several"),
        ({"evaluation": {"compare": ["self_kd"]}}, "evaluation.compare.0", "self_kd is several jobs"),
        ({"recipe": {"name": "self_kd", "alpha": 2}, "teacher": None}, "recipe.alpha", "less than or equal to 1"),
    ],
    ids=str,
)
def test_other_teachers_are_refused_at_their_field(changes: dict[str, Any], param: str, message: str) -> None:
    document = {**small().model_dump(mode="json", exclude_none=True), "kind": "distill", "teacher": {"path": "x"}, **changes}
    with pytest.raises(InvalidSpec) as caught:
        parse_spec({name: value for name, value in document.items() if value is not None})
    assert caught.value.param == param and message in caught.value.detail


def test_layers_of_a_teacher_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match=r"student\.init: there is no teacher to take layers from"):
        texts(write_texts(tmp_path / "t.jsonl"), kind="distill", student={"init": "teacher", "layers": [0]}, recipe="self_kd")


def test_a_spec_that_names_no_teacher_stays_one_until_its_chain_is_made() -> None:
    spec = small(kind="distill", recipe="self_kd")
    assert isinstance(spec, JobSpec) and parse_spec(spec.model_dump(mode="json", exclude_none=True)) == spec
