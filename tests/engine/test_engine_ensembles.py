"""Several teachers that speak as one: what is averaged, with which weights, and which cannot be put together."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_references import log_softmax, softmax
from engine_runs import Engine, small
from engine_texts import STUDENTS, language, texts, write_texts

from contract.check import parse_spec
from contract.errors import InvalidSpec
from contract.networks import Ensemble
from distill import losses
from distill.networks import load
from distill.networks.joint import Joint

PLACE = {"path": "x"}


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    engine = Engine(tmp_path_factory.mktemp("members"))
    sizes = ([24], [12, 12], [4])
    return [engine.run(small(student={"arch": "mlp", "hidden": hidden}, training={"epochs": 6, "seed": 7})).student for hidden in sizes]


def several(members: list[Path], **more: Any) -> dict[str, Any]:
    return {"ensemble": [{"path": str(path)} for path in members], **more}


def joint(spec: dict[str, Any]) -> Joint:
    return Joint([], Ensemble.model_validate({"ensemble": [PLACE] * 3, **spec}))


Z = np.random.default_rng(0).normal(0, 3, (3, 5, 4))


def mean_of_probabilities(T: float, w: Any) -> Any:  # noqa: N803
    return np.einsum("k...,knc->nc", w, softmax(Z / T)) if np.ndim(w) == 1 else (w[:, :, None] * softmax(Z / T)).sum(0)


@pytest.mark.parametrize("T", [1.0, 4.0])
@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 5.0], "entropy"], ids=str)
def test_what_the_student_hears_is_the_mean_of_softened_probabilities(weights: Any, T: float) -> None:  # noqa: N803
    if weights == "entropy":
        h = -(softmax(Z) * log_softmax(Z)).sum(-1)
        w = np.exp(-h) / np.exp(-h).sum(0)
    else:
        w = np.array(weights or [1.0, 1.0, 1.0])
        w = w / w.sum()
    expected = mean_of_probabilities(T, w)
    said = joint({"weights": weights}).said(torch.tensor(Z, dtype=torch.float32))
    z_s = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    heard = said.beside(said.features, z_s, T)
    np.testing.assert_allclose((heard / T).softmax(-1).numpy(), expected, rtol=1e-5, atol=1e-7)
    p_s = log_softmax(z_s.double().numpy() / T)
    by_hand = T * T * np.mean(np.sum(expected * (np.log(expected) - p_s), axis=-1))
    assert losses.kl(z_s, heard, T).item() == pytest.approx(by_hand, rel=1e-4)


def test_the_mean_of_logits_is_another_thing() -> None:
    """By 0.34 nats in one check of the design; here both stand beside each other."""
    each = torch.tensor(Z, dtype=torch.float32)
    by_logits, by_probabilities = (joint({"combine": how}).together(each, 1.0).softmax(-1) for how in ("logits", "probabilities"))
    np.testing.assert_allclose(by_logits.numpy(), softmax(Z.mean(0)), rtol=1e-5)
    assert (by_logits - by_probabilities).abs().max() > 0.1


def test_learned_weights_make_the_labels_likeliest() -> None:
    """Against a fine grid over all mixtures."""
    labels = Z[0].argmax(-1)
    labels[0] = Z[1, 0].argmax()
    found = joint({"weights": "learned"})
    found.learn(torch.tensor(Z), torch.tensor(labels))
    right = softmax(Z)[:, np.arange(5), labels]

    def likely(w: Any) -> float:
        return float(np.log(np.array(w) @ right).mean())

    grid = [(a / 60, b / 60, (60 - a - b) / 60) for a in range(61) for b in range(61 - a)]
    best = max(grid, key=likely)
    assert likely(found.weights.double().numpy()) >= likely(best) - 1e-3
    assert found.weights.sum().item() == pytest.approx(1)


@pytest.mark.parametrize(
    "more", [{}, {"combine": "logits"}, {"weights": [1, 2, 3.0]}, {"weights": "entropy"}, {"weights": "learned"}], ids=str
)
def test_a_student_learns_from_several(engine: Engine, members: list[Path], more: dict[str, Any]) -> None:
    weights = {"weights": [float(w) for w in more["weights"]]} if isinstance(more.get("weights"), list) else more
    spec = small(several(members, **weights))
    ran = engine.run(spec)
    outputs = ran.report["teacher_outputs"]
    assert (outputs["mode"], outputs["cache"], outputs["members"]) == ("cached", "built", 3)
    assert ("weights" in outputs) == (more.get("weights") != "entropy")
    network = Joint([load(path) for path in members], Ensemble.model_validate(several(members, **weights)))
    assert ran.report["arms"]["teacher"]["parameters"] == sum(p.numel() for p in network.parameters())
    again = engine.run(spec)
    assert again.report["teacher_outputs"]["cache"] == "hit" and again.weights == ran.weights
    alone = engine.run(small(members[1]))
    assert alone.report["teacher_outputs"]["cache"] == "hit"  # its own outputs were kept when it taught with others
    assert engine.run(spec, resume=engine.run(spec, stop_after=7).checkpoints).weights == ran.weights


def test_asked_live_they_say_the_same(engine: Engine, members: list[Path]) -> None:
    cached, live = (engine.run(small(several(members), teacher_outputs=how)) for how in ("cached", "live"))
    for (_, mine), (_, theirs) in zip(cached.curve(), live.curve(), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)


def test_the_joint_teacher_is_measured_as_one(engine: Engine, members: list[Path]) -> None:
    """Its accuracy is that of the mean of the members' probabilities."""
    from contract.spec import JobSpec
    from distill.data.load import load as load_data
    from distill.inputs import Inputs
    from distill.teacher import infer

    spec: JobSpec = small(several(members))
    test = load_data(spec, Inputs.local(spec, engine.cache)).test
    p = np.mean([infer(*load(path), test).double().softmax(-1).numpy() for path in members], axis=0)
    expected = float((p.argmax(-1) == test.labels.numpy()).mean())
    assert engine.run(spec).report["arms"]["teacher"]["metrics"]["accuracy"]["mean"] == pytest.approx(expected)


def test_texts_are_heard_of_members_with_one_tokenizer(engine: Engine, tmp_path: Path) -> None:
    path = write_texts(tmp_path / "t.jsonl")
    first = engine.run(texts(path)).student
    second = engine.run(texts(path, student=STUDENTS["textcnn"], tokenizer={"path": str(first)})).student
    assert engine.run(texts(path, several([first, second]))).report["verdict"]
    other = engine.run(texts(path, tokenizer={"vocabulary": 300})).student
    with pytest.raises(InvalidSpec, match=r"teacher\.ensemble\.1: its tokenizer is not the first member's"):
        engine.run(texts(path, several([first, other])))


def test_members_that_know_other_classes_are_refused(engine: Engine, members: list[Path], tmp_path: Path) -> None:
    config = json.loads((members[2] / "config.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    for path in members[2].iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "config.json").write_text(json.dumps(config | {"classes": [f"c{i}" for i in range(10)]}))
    with pytest.raises(InvalidSpec, match=r"teacher\.ensemble\.1: it knows 10 classes \(c0"):
        engine.run(small(several([members[0], other])))


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"teacher": {"ensemble": [PLACE]}}, "teacher.ensemble"),
        ({"teacher": {"ensemble": [PLACE, PLACE], "weights": [1.0]}}, "teacher.weights"),
        ({"teacher": {"ensemble": [PLACE, PLACE], "weights": [1.0, 0.0]}}, "teacher.weights.1"),
        ({"teacher": {"ensemble": [PLACE, PLACE], "weights": "lerned"}}, "teacher.weights"),
        ({"teacher": {"ensemble": [PLACE, PLACE], "weights": "learned", "combine": "logits"}}, "teacher.weights"),
        ({"teacher": {"ensemble": [PLACE, {"job": "x"}]}}, "teacher.ensemble.1.job"),
        ({"teacher": {"ensemble": [PLACE, PLACE], "path": "x"}}, "teacher.path"),
        ({"teacher": {"ensemble": [PLACE, PLACE]}, "recipe": "rkd"}, "recipe.name"),
    ],
    ids=str,
)
def test_what_is_no_ensemble_is_refused_at_its_field(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_spec({**small().model_dump(mode="json", exclude_none=True), "kind": "distill", **changes})
    assert caught.value.param == param, caught.value.detail


def test_language_models_are_no_ensemble(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="several teachers are heard of classes of rows, not of causal-lm"):
        language(write_texts(tmp_path / "t.jsonl"), "causal-lm", {"arch": "lstm"}, {"ensemble": [PLACE, PLACE]})


def test_members_that_read_less_than_the_first_are_refused(engine: Engine, tmp_path: Path) -> None:
    path = write_texts(tmp_path / "t.jsonl")
    first = engine.run(texts(path, training={"epochs": 1})).student
    short = {"arch": "bert", "layers": 1, "hidden": 16, "heads": 2, "positions": 8}
    second = engine.run(texts(path, student=short, tokenizer={"path": str(first)}, training={"epochs": 1})).student
    with pytest.raises(InvalidSpec, match=r"teacher\.ensemble\.1: it reads 8 tokens, the first member 512"):
        engine.run(texts(path, several([first, second])))
    assert engine.run(texts(path, several([second, first]), training={"epochs": 1})).report["verdict"]
