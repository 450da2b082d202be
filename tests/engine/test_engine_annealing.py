"""Terms whose weight and temperature change in the course of training: by the formula, at every step, and after a resume."""

import math

import pytest
import torch
from engine_runs import small

from contract.errors import InvalidSpec
from contract.registry import CrossEntropy, Kl
from contract.registry.terms import Anneal
from distill.objectives import Objective, Said

FADING = [
    {"loss": "kl", "temperature": 4.0, "weight": 1.0, "anneal": {"weight": 0.0, "temperature": 1.0}},
    {"loss": "cross_entropy", "weight": 0.0, "anneal": {"weight": 1.0}},
]


@pytest.mark.parametrize(
    ("anneal", "share", "weight"),
    [
        (Anneal(weight=0.0), 0.0, 2.0),
        (Anneal(weight=0.0), 0.25, 1.5),
        (Anneal(weight=0.0), 1.0, 0.0),
        (Anneal(weight=3.0, until=0.5), 0.25, 2.5),
        (Anneal(weight=3.0, until=0.5), 0.7, 3.0),
        (Anneal(weight=0.0, shape="cosine"), 0.25, 1 + math.cos(math.pi / 4)),
    ],
)
def test_a_weight_goes_its_way(anneal, share, weight):
    term = Kl(weight=2.0, anneal=anneal).at(share)
    assert term.weight == pytest.approx(weight) and term.temperature == 4.0


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_loss_is_that_of_the_terms_as_they_are_then(share):
    z_s, z_t, y = torch.randn(6, 3, requires_grad=True), torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    kl = Kl(weight=1.0, temperature=4.0, anneal=Anneal(weight=0.0, temperature=2.0))
    annealed, _ = Objective([kl, CrossEntropy(weight=0.0, anneal=Anneal(weight=1.0))])(Said.of(z_s), y, Said.of(z_t), share=share)
    fixed, _ = Objective([Kl(weight=1 - share, temperature=4 - 2 * share), CrossEntropy(weight=share)])(Said.of(z_s), y, Said.of(z_t))
    assert annealed.item() == pytest.approx(fixed.item(), rel=1e-6)
    for one, other in zip(torch.autograd.grad(annealed, z_s), torch.autograd.grad(fixed, z_s), strict=True):
        torch.testing.assert_close(one, other)


def test_a_run_begins_with_the_teacher_and_ends_with_the_labels(engine, teacher):
    spec = small(teacher, objective=FADING)
    whole = engine.run(spec)
    points = [point for _, point in whole.curve() if "train/loss" in point]
    assert points[0]["train/loss"] == pytest.approx(points[0]["train/loss/kl"], rel=1e-5)
    assert points[-1]["train/loss"] == pytest.approx(points[-1]["train/loss/cross_entropy"], rel=0.2)
    stopped = engine.run(spec, stop_after=3)
    assert engine.run(spec, resume=stopped.checkpoints).weights == whole.weights


def test_without_the_teachers_word_at_any_time_it_is_training_alone(engine, teacher):
    silent = [{"loss": "kl", "weight": 0.0}, {"loss": "cross_entropy"}]
    spec = small(teacher, objective=silent, evaluation={"control": True})
    arms = {run.arm: engine.run(run.spec).weights for run in spec.runs()}
    assert arms["student"] == arms["control"]
    fading = small(teacher, objective=FADING, evaluation={"control": True})
    (control,) = [run.spec for run in fading.runs() if run.arm == "control"]
    assert control.terms == [CrossEntropy()]


@pytest.mark.parametrize(
    ("term", "said"),
    [
        ({"loss": "logit_mse", "anneal": {"temperature": 1.0}}, r"objective\.0\.anneal\.temperature: logit_mse has no temperature"),
        ({"loss": "kl", "anneal": {}}, r"objective\.0\.anneal\.weight: say what changes"),
        ({"loss": "kl", "weight": 0.0, "anneal": {"temperature": 1.0}}, "every term has weight 0"),
        ({"loss": "kl", "anneal": {"weight": -1.0}}, r"objective\.0\.anneal\.weight: .*greater than or equal to 0"),
        ({"loss": "kl", "anneal": {"weight": 1.0, "until": 0.0}}, r"objective\.0\.anneal\.until: "),
    ],
)
def test_what_would_change_nothing_or_cannot_is_refused(teacher, term, said):
    with pytest.raises(InvalidSpec, match=said):
        small(teacher, objective=[term])
