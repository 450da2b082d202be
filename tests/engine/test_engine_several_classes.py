"""Rows with any number of classes: each class is a question of its own, and every loss is a mean over all of them."""

import json
import random

import pytest
import torch
import torch.nn.functional as F
from engine_runs import Engine, whole_steps
from engine_texts import STEPS, STUDENTS
from engine_texts import texts as topics
from sklearn.metrics import accuracy_score, f1_score
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from contract.errors import InvalidSpec
from contract.registry import CrossEntropy, Jsd, Kl, LogitMse, ReverseKl
from distill.data.rows import TextSplit
from distill.device import derived_seed, threads
from distill.networks import load, logits_of, rows_for
from distill.objectives import Objective, Said
from distill.scores import of_several

TOPICS = ["money", "sport", "war"]


def write_topics(path, rows=130, seed=0, single=False):
    draw = random.Random(seed)
    with path.open("w") as file:
        for _ in range(rows):
            topics = draw.sample(TOPICS, 1 if single else draw.randrange(3))
            words = [*draw.choices(["news", "of", "today", "and"], k=5), *(f"{topic}ish" for topic in topics)]
            draw.shuffle(words)
            file.write(json.dumps({"text": " ".join(words), "labels": topics[0] if single else topics}) + "\n")
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_topics(tmp_path_factory.mktemp("topics") / "rows.jsonl")


@pytest.fixture(scope="module")
def ran(tmp_path_factory, file):
    engine = Engine(tmp_path_factory.mktemp("networks"))
    with threads(1):
        return {name: engine.run(topics(file, student=STUDENTS[name])) for name in ("bilstm", "bert", "distilbert")}


def bernoulli(z_s, z_t, temperature):
    """KL of two coins for each class, in float64."""
    p, q = (z_t.double() / temperature).sigmoid(), (z_s.double() / temperature).sigmoid()
    return temperature**2 * (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log())


def test_losses_are_those_of_one_coin_for_each_class():
    draw = torch.Generator().manual_seed(0)
    z_s, z_t = torch.randn(7, 5, generator=draw) * 3, torch.randn(7, 5, generator=draw) * 3
    marks = torch.randint(0, 2, (7, 5), generator=draw)
    student, teacher = Said.of(z_s, several=True), Said.of(z_t, several=True)
    terms = [Kl(temperature=3), ReverseKl(temperature=2), Jsd(), CrossEntropy(), LogitMse()]
    _, (kl, reverse, jsd, hard, mse) = Objective(terms)(student, marks.flatten(), teacher)
    assert mse.item() == pytest.approx((z_s.double() - z_t.double()).square().mean().item(), rel=1e-5)
    assert kl.item() == pytest.approx(bernoulli(z_s, z_t, 3).mean().item(), rel=1e-5)
    assert reverse.item() == pytest.approx(bernoulli(z_t, z_s, 2).mean().item(), rel=1e-5)
    p, q = z_t.double().sigmoid(), z_s.double().sigmoid()
    m = (p + q) / 2
    by_hand = sum(0.5 * (a * (a / m_).log()) for a, m_ in ((p, m), (1 - p, 1 - m), (q, m), (1 - q, 1 - m)))
    assert jsd.item() == pytest.approx(by_hand.mean().item(), rel=1e-5)
    assert hard.item() == pytest.approx(F.binary_cross_entropy_with_logits(z_s.double(), marks.double()).item(), rel=1e-5)


def test_parts_of_a_step_add_up(engine, ran, file):
    spec = {"student": {"arch": "bilstm", "embedding": 8, "hidden": 8}, "training": {"epochs": 2}}
    whole = engine.run(topics(file, ran["bert"].student, **spec))
    parts = engine.run(topics(file, ran["bert"].student, **spec | {"training": {"epochs": 2, "micro_batch_size": 5}}))
    assert whole_steps(parts)[0][1] == pytest.approx(whole_steps(whole)[0][1], rel=1e-4)


def test_figures_are_scikit_learns(ran, file):
    draw = torch.Generator().manual_seed(1)
    logits, marks = torch.randn(300, 4, generator=draw), torch.randint(0, 2, (300, 4), generator=draw)
    found = of_several(logits, marks)
    said = (logits > 0).int().numpy()
    assert found["f1"]["mean"] == pytest.approx(f1_score(marks, said, average="macro"))
    assert found["f1_micro"]["mean"] == pytest.approx(f1_score(marks, said, average="micro"))
    network, config = load(ran["bert"].student)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    held = torch.randperm(len(rows), generator=torch.Generator().manual_seed(derived_seed("validation")))[91:].sort().values.tolist()
    split = TextSplit(([rows[i]["text"] for i in held],), torch.tensor([[t in rows[i]["labels"] for t in TOPICS] for i in held]).long())
    with torch.inference_mode():
        z = logits_of(network, config, rows_for(network, config, split).batch(torch.arange(len(held))).given)
    metrics = ran["bert"].report["arms"]["model"]["metrics"]
    assert metrics["accuracy"]["mean"] == pytest.approx(accuracy_score(split.labels, (z > 0).int()))
    assert metrics["loss"]["mean"] == pytest.approx(F.binary_cross_entropy_with_logits(z, split.labels.float()).item(), rel=1e-5)


@pytest.mark.parametrize("name", ["bert", "distilbert"])
def test_transformers_knows_it_as_multi_label(ran, name):
    model = AutoModelForSequenceClassification.from_pretrained(ran[name].student).eval()
    assert model.config.problem_type == "multi_label_classification"
    network, config = load(ran[name].student)
    assert config.multi_label and config.classes == TOPICS
    texts = ["news of sportish", "warish and moneyish today"]
    with torch.inference_mode():
        theirs = model(**AutoTokenizer.from_pretrained(ran[name].student)(texts, padding=True, return_tensors="pt")).logits
        split = TextSplit((texts,), torch.zeros(2, 3, dtype=torch.int64))
        ours = logits_of(network, config, rows_for(network, config, split).batch(torch.arange(2)).given)
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)


def test_live_says_what_cached_says_and_alpha_zero_is_training_alone(engine, ran, file):
    cached = engine.run(topics(file, ran["bert"].student))
    live = engine.run(topics(file, ran["bert"].student, teacher_outputs="live"))
    assert (cached.report["teacher_outputs"]["mode"], live.report["teacher_outputs"]["mode"]) == ("cached", "live")
    for (_, a), (_, b) in zip(cached.curve(), live.curve(), strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-5)
    spec = topics(file, ran["bert"].student, recipe={"name": "hinton", "alpha": 0.0}, evaluation={"control": True})
    arms = {run.arm: engine.run(run.spec).weights for run in spec.runs()}
    assert arms["student"] == arms["control"]


def test_a_run_stopped_at_any_step_goes_on_to_the_same_weights(engine, ran, file):
    spec = topics(file, ran["bert"].student)
    undisturbed = engine.run(spec)
    for step in (1, STEPS - 1):
        stopped = engine.run(spec, stop_after=step)
        assert engine.run(spec, resume=stopped.checkpoints).weights == undisturbed.weights


def test_they_learn_what_is_in_the_words(engine, file):
    report = engine.run(topics(file, training={"epochs": 80}, student={"arch": "textcnn", "embedding": 16, "channels": 8})).report
    assert report["arms"]["model"]["metrics"]["accuracy"]["mean"] > 0.9


def test_one_class_and_several_are_not_mixed(engine, ran, file, tmp_path):
    single = write_topics(tmp_path / "single.jsonl", single=True)
    with pytest.raises(InvalidSpec, match=r"it tells any number of classes for each row; data.train has one class for each row"):
        engine.run(topics(single, ran["bert"].student))
    with pytest.raises(InvalidSpec, match=r"data.test: its labels are single ones, those of data.train lists"):
        engine.run(topics(file, data={"test": {"path": str(single), "split": "train"}}))
    again = engine.run(topics(single, student={"path": str(ran["bert"].student)}))
    assert not load(again.student)[1].multi_label, "a trained encoder gets a head of the other kind"
    tabular = {"task": "tabular-classification", "student": {"arch": "logistic"}}
    with pytest.raises(InvalidSpec, match="column 'labels' holds lists, and tabular-classification needs one class"):
        engine.run(topics(file, **tabular))


def test_a_judge_is_shown_pairs_as_every_loss_is(engine, file, ran):
    spec = topics(file, ran["bert"].student, recipe="adversarial")
    assert engine.run(spec).report["verdict"]
