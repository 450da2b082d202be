"""Rows mixed of two: what student and teacher are shown, what the loss is, and that it is drawn so that a resume draws the same."""

from pathlib import Path

import numpy as np
import pytest
import torch
from engine_references import log_softmax, softmax
from engine_runs import Engine, small
from engine_texts import STUDENTS, TRANSFORMER, texts, write_texts

from contract.check import parse_spec
from contract.errors import InvalidSpec
from distill import train
from distill.data.mixup import Mix
from distill.networks import load, rows_for, said_of
from distill.objectives import Objective

BERT = {"arch": "bert", **TRANSFORMER, "dropout": 0.0}


def test_images_and_the_loss_are_mixed_in_one_share(engine: Engine, teacher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first step's loss, from the teacher's and the student's answers to mixtures made here."""
    drawn, asked, real = [], [], Mix.drawn.__func__
    monkeypatch.setattr(Mix, "drawn", classmethod(lambda cls, *given: drawn.append(real(cls, *given)) or drawn[-1]))

    class Watched(Objective):
        def forward(self, student, y, teacher, *more):
            asked.append((student.logits.detach(), y, teacher.logits))
            return super().forward(student, y, teacher, *more)

    monkeypatch.setattr(train, "Objective", Watched)
    ran = engine.run(small(teacher, recipe={"name": "mixkd", "temperature": 2.0, "alpha": 0.6, "mixup": 1.0}))
    (z_s, y, z_t), (_, other, _) = asked[0], asked[1]
    mix = drawn[0]
    assert 0 < mix.share < 1 and torch.equal(other, y[mix.other])
    a, b = z_s.double().numpy(), z_t.double().numpy()
    soft = 4 * np.mean(np.sum(softmax(b / 2) * (log_softmax(b / 2) - log_softmax(a / 2)), axis=1))
    hard = [-log_softmax(a)[np.arange(len(y)), labels.numpy()].mean() for labels in (y, other)]
    expected = 0.6 * soft + 0.4 * (mix.share * hard[0] + (1 - mix.share) * hard[1])
    assert ran.curve()[0][1]["train/loss"] == pytest.approx(float(expected), rel=1e-4)
    assert ran.report["teacher_outputs"]["mode"] == "live"


def test_a_mixture_is_a_share_of_each() -> None:
    x = torch.arange(12.0).reshape(3, 4)
    mix = Mix(0.25, torch.tensor([2, 0, 1]))
    assert torch.allclose(mix.shown(x.to(torch.uint8)), 0.25 * x + 0.75 * x[[2, 0, 1]])


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "bilstm", "textcnn"])
def test_texts_are_mixed_where_they_are_embedded(engine: Engine, tmp_path: Path, name: str) -> None:
    """All of itself changes nothing; all of the other row is that row; and in between is neither."""
    path = write_texts(tmp_path / "t.jsonl")
    still = STUDENTS[name] | {"dropout": 0.0} if name in ("roberta", "distilbert") else BERT if name == "bert" else STUDENTS[name]
    network, config = load(engine.run(texts(path, student=still, training={"epochs": 1})).student)
    from distill.data.load import load as load_data
    from distill.inputs import Inputs

    spec = texts(path)
    rows = rows_for(network, config, load_data(spec, Inputs.local(spec, engine.cache)).train)
    lengths = rows.lengths.argsort()
    given = (
        rows.batch(lengths[20:22]).given if bool(rows.lengths[lengths[20]] == rows.lengths[lengths[21]]) else rows.batch(lengths[:2]).given
    )
    whole = given._replace(mask=given.mask | given.mask.flip(0))
    other = torch.tensor([1, 0])

    def said(share: float) -> torch.Tensor:
        mix = Mix(share, other)
        with torch.inference_mode(), mix.embedded(network):
            return said_of(network, config, mix.shown(given)).logits

    with torch.inference_mode():
        plain = said_of(network, config, whole).logits
    torch.testing.assert_close(said(1.0), plain)
    torch.testing.assert_close(said(0.0), plain.flip(0), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(said(0.5), plain, atol=1e-6)
    torch.testing.assert_close(said(0.5)[0], said(0.5)[1])  # half of each is the same for both


@pytest.mark.parametrize("how", ["images", "texts", "several"])
def test_a_resume_draws_the_same(engine: Engine, teacher: Path, tmp_path: Path, how: str) -> None:
    if how == "texts":
        path = write_texts(tmp_path / "t.jsonl")
        taught = engine.run(texts(path, student=BERT, training={"epochs": 1})).student
        spec = texts(path, taught, student=BERT | {"layers": 1}, recipe="mixkd")
    else:
        spec = small({"ensemble": [{"path": str(teacher)}] * 2} if how == "several" else teacher, recipe="mixkd")
    whole = engine.run(spec)
    assert engine.run(spec, resume=engine.run(spec, stop_after=5).checkpoints).weights == whole.weights


def test_the_control_is_mixed_as_well(engine: Engine, teacher: Path) -> None:
    """Otherwise the gain would be mixup's."""
    spec = small(teacher, recipe={"name": "mixkd", "mixup": 0.7}, evaluation={"control": True})
    control = spec.runs()[1].spec
    assert control.kind == "train" and control.data.augment.mixup == 0.7
    assert spec.resolved().data.augment.mixup == 0.7 and spec.data.augment is None
    unheard = small(teacher, recipe={"name": "mixkd", "mixup": 0.7, "alpha": 0.0})
    assert engine.run(unheard).weights == engine.run(control).weights


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"data": {"train": "digits", "augment": {"mixup": 0}}}, "data.augment.mixup"),
        ({"teacher_outputs": "cached"}, "teacher_outputs"),
        ({"task": "masked-lm", "student": {"arch": "bert"}, "data": {"train": "docstrings", "augment": {"mixup": 1}}, "recipe": None},
         "data.augment.mixup"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_mixed_is_refused_at_its_field(teacher: Path, changes: dict, param: str) -> None:
    document = small(teacher, recipe="mixkd").model_dump(mode="json", exclude_none=True) | changes
    with pytest.raises(InvalidSpec) as caught:
        parse_spec({name: value for name, value in document.items() if value is not None})
    assert caught.value.param == param


def test_tokens_of_mixtures_are_counted_as_they_are_shown(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two rows the longer one's; counted of the rows alone, means would weigh more than one."""
    counted: list[tuple[int, int]] = []
    real = Objective.forward

    def watched(self, student, y, teacher, counts, *more):
        counted.append((counts.tokens, len(student.inside.tokens)))
        return real(self, student, y, teacher, counts, *more)

    path = write_texts(tmp_path / "t.jsonl")
    taught = engine.run(texts(path, student=BERT, training={"epochs": 1})).student
    monkeypatch.setattr(Objective, "forward", watched)
    terms = [{"loss": "hidden_mse"}, {"loss": "cross_entropy"}]
    engine.run(texts(path, taught, student=BERT, objective=terms, data={"augment": {"mixup": 1.0}}, training={"epochs": 1}))
    assert counted and all(whole == part for whole, part in counted)
