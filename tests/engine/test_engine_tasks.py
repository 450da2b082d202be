"""One student of several tasks: its head is as many heads, each row is heard of its own task alone, and teachers are asked as if alone."""

# ruff: noqa: N803 - T is the temperature in every formula

import json
from pathlib import Path
from typing import Any

import engine_references as by_hand
import numpy as np
import pytest
import torch
from engine_runs import Counted, Engine, outputs_of
from engine_tasks import CLASSES, alone, sources, tasks, write_tasks
from engine_texts import STUDENTS

from contract.errors import InvalidSpec
from contract.model import ModelConfig, Reading
from contract.registry import LOSSES, RECIPES
from contract.registry.task_recipes import Bam, MtDnnKd
from distill import teacher as teachers_module
from distill.data import load
from distill.data.batch import TokenBatch
from distill.data.rows import TextSplit
from distill.inputs import Inputs
from distill.networks import load as load_network
from distill.networks import rows_for, said_of
from distill.objectives import Objective, Said
from distill.predict import probabilities, read_row
from distill.scores import macro_f1
from distill.tasks import OUTSIDE, drawn, within
from distill.teacher import infer

ROWS = {"mood": 42, "thing": 91}  # to train on


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_tasks(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, paths: dict[str, Path]) -> dict[str, Path]:
    """A teacher of each task, each with a tokenizer and layers of its own."""
    engine = Engine(tmp_path_factory.mktemp("taught"))
    arch = {"mood": STUDENTS["textcnn"], "thing": STUDENTS["gru"]}
    return {name: engine.run(alone(paths, name, student=arch[name], training={"epochs": 6})).student for name in paths}


def config(*counts: int) -> ModelConfig:
    """Of a network with tasks a, b, … of so many classes."""
    names = "abcdefgh"[: len(counts)]
    classes = [f"{name}/{i}" for name, count in zip(names, counts, strict=True) for i in range(count)]
    reading = Reading(vocabulary=9, max_length=9)
    return ModelConfig(arch="lstm", task="text-classification", shape=[], classes=classes, tasks=list(names), text=reading)


def batch(of: torch.Tensor) -> TokenBatch:
    ids = torch.ones(len(of), 2, dtype=torch.int64)
    return TokenBatch(ids, ids.bool(), ids, tasks=of)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("recipe", [Bam(), MtDnnKd(), MtDnnKd(temperature=3.0, alpha=0.8)], ids=str)
def test_the_loss_is_that_of_heads_that_are_really_apart(recipe: Any, share: float) -> None:
    """In float64: every task's head by itself, on its own rows, means over all rows together."""
    numbers = np.random.default_rng(0)
    counts, of = (2, 4, 3), np.array([0, 2, 1, 1, 0, 2, 2, 1, 1])
    states = numbers.normal(size=(9, 5))
    heads = [numbers.normal(0, 2, (5, count)) for count in counts]
    of_teacher = [numbers.normal(0, 3, (9, count)) for count in counts]
    y = np.array([numbers.integers(counts[task]) for task in of])
    lam = share if isinstance(recipe, Bam) else 1 - recipe.alpha
    expected = 0.0
    for task, count in enumerate(counts):
        mine = of == task
        z_s, z_t = states[mine] @ heads[task], of_teacher[task][mine]
        hard, soft = by_hand.cross_entropy(z_s, y[mine], 0.0), by_hand.kl(z_s, z_t, recipe.temperature)
        expected += mine.mean() * (lam * hard + (1 - lam) * soft)
        assert z_s.shape[1] == count

    head = torch.tensor(np.concatenate(heads, axis=1), dtype=torch.float32, requires_grad=True)
    about, given = config(*counts), batch(torch.tensor(of))
    z_s = within(torch.tensor(states, dtype=torch.float32) @ head, about, given)
    z_t = within(torch.tensor(np.concatenate(of_teacher, axis=1), dtype=torch.float32), about, given)
    labels = torch.tensor(y + np.array([0, 2, 6])[of])
    loss, _ = Objective(recipe.expand())(Said.of(z_s), labels, Said.of(z_t), share=share)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", ["kl", "reverse_kl", "jsd", "skew_kl", "soft_cross_entropy", "cross_entropy"])
@pytest.mark.parametrize("T", [1.0, 1000.0])
def test_every_loss_counts_the_own_classes_alone(loss: str, T: float) -> None:
    """As much as of rows that have no other classes; and no gradient reaches another task's head, not the smallest."""
    draw = torch.Generator().manual_seed(0)
    of = torch.tensor([0, 0, 0, 0])
    z_s, z_t = torch.randn(4, 5, generator=draw), 3 * torch.randn(4, 5, generator=draw)
    y = torch.tensor([0, 1, 1, 0])
    fields = {} if loss == "cross_entropy" else {"temperature": T}
    term = next(kind for kind in LOSSES if kind.key() == loss)(**fields)
    whole = z_s.clone().requires_grad_()
    found, _ = Objective([term])(Said.of(within(whole, config(2, 3), batch(of))), y, Said.of(within(z_t, config(2, 3), batch(of))))
    alone_, _ = Objective([term])(Said.of(z_s[:, :2]), y, Said.of(z_t[:, :2]))
    assert found.item() == pytest.approx(alone_.item(), rel=1e-6)
    (gradient,) = torch.autograd.grad(found, whole)
    assert (gradient[:, 2:] == 0).all() and gradient[:, :2].abs().sum() > 0


def test_rows_of_one_task_leave_the_others_heads_alone(engine: Engine, paths: dict[str, Path]) -> None:
    network, about = load_network(engine.run(tasks(paths, training={"epochs": 1})).student)
    rows = rows_for(network, about, load(tasks(paths), Inputs.local(tasks(paths), engine.cache)).train)
    batch_ = rows.batch(torch.arange(ROWS["mood"], ROWS["mood"] + 8))  # things
    network.train()
    said = said_of(network, about, batch_.given)
    Objective(MtDnnKd(alpha=0.0).expand())(said, batch_.labels, None)[0].backward()
    head = network.inner.classifier
    for gradient in (head.weight.grad, head.bias.grad):
        assert (gradient[:3] == 0).all() and (gradient[3:] != 0).any()


def test_rows_are_read_as_those_of_each_task_alone(engine: Engine, paths: dict[str, Path], taught: dict[str, Path]) -> None:
    """Pairs and single texts beside each other, in the order of the tasks' names."""
    network, about = load_network(taught["mood"])
    data = load(tasks(paths), Inputs.local(tasks(paths), engine.cache))
    assert data.shape.classes == CLASSES and data.shape.texts == 2 and data.test_name == "validation"
    together, first = rows_for(network, about, data.train), 0
    for number, name in enumerate(("mood", "thing")):
        spec = alone(paths, name)
        rows = rows_for(network, about, load(spec, Inputs.local(spec, engine.cache)).train)
        assert len(rows) == ROWS[name]
        mine = torch.arange(first, first + len(rows))
        for one, other in zip(together.batch(mine).given[:3], rows.batch(torch.arange(len(rows))).given[:3], strict=True):
            assert torch.equal(one, other)
        assert torch.equal(together.labels[mine], rows.labels + 3 * number) and (together.tasks[mine] == number).all()
        first += len(rows)


def test_what_a_network_of_several_tasks_says_depends_on_whose_rows_they_are(engine: Engine, paths: dict[str, Path]) -> None:
    """The same texts in the same order, the border between the tasks elsewhere: other outputs, so another key."""
    network, about = load_network(engine.run(tasks(paths, training={"epochs": 1})).student)
    rows = [TextSplit(([f"word {i}" for i in part],), torch.zeros(len(part), dtype=torch.int64)) for part in (range(2), range(2, 6))]
    moved = [TextSplit(([f"word {i}" for i in part],), torch.zeros(len(part), dtype=torch.int64)) for part in (range(3), range(3, 6))]
    one, other = (rows_for(network, about, TextSplit.of_tasks(parts, [3, 2])) for parts in (rows, moved))
    assert torch.equal(one.flat, other.flat) and one.digest() != other.digest()
    assert (infer(network, about, one) != infer(network, about, other)).any(1).tolist() == [False, False, True, False, False, False]


def test_each_teacher_is_asked_of_its_own_rows_and_shares_what_it_said(
    engine: Engine, paths: dict[str, Path], taught: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted()
    monkeypatch.setattr(teachers_module, "infer", counted)
    assert engine.run(alone(paths, "thing", taught["thing"])).report["teacher_outputs"]["cache"] == "built"
    first = engine.run(tasks(paths, taught)).report["teacher_outputs"]
    assert first["cache"] == "built" and first["tasks"] == {
        "mood": {"cache": "built", "rows": ROWS["mood"]},
        "thing": {"cache": "hit", "rows": ROWS["thing"]},
    }
    assert sorted(counted.rows) == [18, 39, 42, 91]  # every row of both tasks once: those to train and those to measure on
    assert engine.run(alone(paths, "mood", taught["mood"])).report["teacher_outputs"]["cache"] == "hit"


def test_what_the_student_hears_stands_in_its_tasks_slice(engine: Engine, paths: dict[str, Path], taught: dict[str, Path]) -> None:
    spec = tasks(paths, taught)
    data = load(spec, Inputs.local(spec, engine.cache))
    from distill.train import _teacher

    heard = _teacher(spec, data, Inputs.local(spec, engine.cache), torch.device("cpu"), pytest.fail, lambda: False).outputs(data.train)
    for name, rows, own in (("mood", slice(0, 42), slice(0, 3)), ("thing", slice(42, None), slice(3, 5))):
        network, about = load_network(taught[name])
        one = alone(paths, name)
        expected = infer(network, about, rows_for(network, about, load(one, Inputs.local(one, engine.cache)).train))
        assert torch.equal(heard.logits[rows, own], expected)
    assert (heard.logits[:42, 3:] == OUTSIDE).all() and (heard.logits[42:, :3] == OUTSIDE).all()


@pytest.mark.parametrize("T", [1.0, 4.0])
def test_of_teachers_that_are_several_each_answer_is_softened(
    engine: Engine, paths: dict[str, Path], taught: dict[str, Path], T: float
) -> None:
    other = engine.run(alone(paths, "mood", tokenizer={"path": str(taught["mood"])}, training={"epochs": 4})).student
    both = {"mood": {"ensemble": [{"path": str(taught["mood"])}, {"path": str(other)}]}, "thing": taught["thing"]}
    spec = tasks(paths, both)
    data = load(spec, Inputs.local(spec, engine.cache))
    from distill.train import _teacher

    outputs = _teacher(spec, data, Inputs.local(spec, engine.cache), torch.device("cpu"), pytest.fail, lambda: False).outputs(data.train)
    index = torch.tensor([100, 3, 41, 42, 3])
    said = outputs.of(index, index)
    heard = (said.beside(said.features, said.features, T) / T).double().softmax(1).numpy()
    each = [outputs_of(path, engine.cache)[1](data.train.parts[0]).logits.double().numpy() for path in (taught["mood"], other)]
    things = outputs_of(taught["thing"], engine.cache)[1](data.train.parts[1]).logits.double().numpy()
    for row, place in enumerate(index.tolist()):
        if place < 42:
            expected = [*np.mean([by_hand.softmax(z[place] / T) for z in each], axis=0), 0, 0]
        else:
            expected = [0, 0, 0, *by_hand.softmax(things[place - 42] / T)]
        np.testing.assert_allclose(heard[row], expected, rtol=1e-5, atol=1e-9)
    assert engine.run(tasks(paths, both, recipe={"name": "mt_dnn_kd", "temperature": T})).report["verdict"]


@pytest.mark.parametrize("recipe", ["bam", "mt_dnn_kd", "hinton"])
def test_a_student_learns_and_goes_on_where_it_stopped(
    engine: Engine, paths: dict[str, Path], taught: dict[str, Path], recipe: str
) -> None:
    spec = tasks(paths, taught, recipe=recipe, data={"sampling": 0.5})
    whole = engine.run(spec)
    assert len(whole.curve()) and "accuracy/mood" in whole.report["arms"]["teacher"]["metrics"]
    stopped = engine.run(spec, stop_after=7)
    assert engine.run(spec, resume=stopped.checkpoints).weights == whole.weights
    assert engine.run(tasks(paths, taught, recipe=recipe)).weights != whole.weights  # sampling has a say


def test_with_alpha_zero_it_is_the_student_alone(engine: Engine, paths: dict[str, Path], taught: dict[str, Path]) -> None:
    spec = tasks(paths, taught, recipe={"name": "mt_dnn_kd", "alpha": 0.0}, data={"sampling": 0.75}, evaluation={"control": True})
    arms = {run.arm: engine.run(run.spec) for run in spec.runs()}
    assert arms["student"].weights == arms["control"].weights
    for arm, folder in (("student", "student"), ("control", "model")):
        assert {"accuracy/mood", "accuracy/thing", "f1/thing", "mcc/mood"} <= set(arms[arm].report["arms"][folder]["metrics"])


def test_a_network_of_the_same_tasks_teaches_all_of_them(engine: Engine, paths: dict[str, Path]) -> None:
    one = engine.run(tasks(paths)).student
    cached, live = (engine.run(tasks(paths, one, teacher_outputs=how)) for how in ("cached", "live"))
    for (_, mine), (_, theirs) in zip(cached.curve(), live.curve(), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)
    same = engine.run(tasks(paths, one, student={"path": str(one)}, recipe={"name": "hinton", "alpha": 1.0}))
    assert same.curve()[0][1]["train/loss"] == pytest.approx(0, abs=1e-6)  # teacher and student are one


def test_figures_of_a_task_are_those_of_its_own_rows_and_classes(engine: Engine, paths: dict[str, Path]) -> None:
    spec = tasks(paths)
    ran = engine.run(spec)
    metrics, right = ran.report["arms"]["model"]["metrics"], 0
    network, about = load_network(ran.student)
    data = load(spec, Inputs.local(spec, engine.cache))
    for number, (name, own) in enumerate((("mood", slice(0, 3)), ("thing", slice(3, 5)))):
        part = data.test.parts[number]
        z = infer(network, about.model_copy(update={"tasks": []}), rows_for(network, about, part))[:, own].numpy()  # really no other
        y = part.labels.numpy()
        hits = (z.argmax(1) == y).sum()
        right += hits
        assert metrics[f"accuracy/{name}"]["mean"] == pytest.approx(hits / len(y))
        low, high = metrics[f"accuracy/{name}"]["ci95"]
        assert low < hits / len(y) < high
        confused = np.zeros((1, z.shape[1], z.shape[1]))
        np.add.at(confused[0], (y, z.argmax(1)), 1)
        assert metrics[f"f1/{name}"]["mean"] == pytest.approx(macro_f1(confused)[0])
    assert metrics["accuracy"]["mean"] == pytest.approx(right / len(data.test))
    again = engine.run(tasks(paths, kind="evaluate", student={"path": str(ran.student)}))
    assert again.report["arms"]["model"]["metrics"]["accuracy/mood"] == metrics["accuracy/mood"]


def test_an_epoch_draws_tasks_by_a_power_of_their_size() -> None:
    of = torch.tensor([0] * 10 + [1] * 160 + [2] * 2000)
    order = drawn(of, 0.5, torch.Generator().manual_seed(3))
    shown = of[order].bincount().double()
    expected = of.bincount().double().sqrt()
    expected *= len(of) / expected.sum()
    assert len(order) == len(of)
    assert ((shown - expected).abs() < 3 * expected.sqrt()).all()
    small = order[of[order] == 0]
    rounds = torch.split(small, 10)
    assert len(rounds) > 2 and all(len(set(part.tolist())) == len(part) for part in rounds)  # none again before all were seen
    assert torch.equal(order, drawn(of, 0.5, torch.Generator().manual_seed(3)))
    assert not torch.equal(order, drawn(of, 0.5, torch.Generator().manual_seed(4)))


def test_a_transformer_is_one_for_the_library_as_well(engine: Engine, paths: dict[str, Path], taught: dict[str, Path]) -> None:
    from transformers import AutoModelForSequenceClassification

    folder = engine.run(tasks(paths, taught, student=STUDENTS["bert"], recipe="bam", training={"epochs": 1})).student
    network, about = load_network(folder)
    assert about.tasks == ["mood", "thing"] and about.classes == CLASSES
    theirs = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    assert list(theirs.config.id2label.values()) == CLASSES
    split = read_row("the old hammer is here", "text-classification", None)
    given = rows_for(network, about, split).batch(torch.tensor([0])).given
    with torch.inference_mode():
        z = theirs(input_ids=given.ids, attention_mask=given.mask.long(), token_type_ids=given.segments).logits
        assert torch.equal(z, said_of(network, about, given).logits)
    told = probabilities(folder, split)["tasks"]
    assert told["mood"]["classes"] == ["calm", "glad", "sad"]
    np.testing.assert_allclose(told["thing"]["T=2"], by_hand.softmax(z[0, 3:].double().numpy() / 2), rtol=1e-5)
    card = (folder / "README.md").read_text()
    assert "- `mood`: calm, glad, sad" in card and "`mood` 0 to 2, `thing` 3 to 4" in card
    assert json.loads((folder / "config.json").read_text())["potstill"]["tasks"] == ["mood", "thing"]


def test_both_recipes_are_for_several_tasks() -> None:
    assert {recipe.key() for recipe in RECIPES if recipe.SEVERAL_TASKS} == {"bam", "mt_dnn_kd"}
    fading, rising = Bam().expand()
    assert [(fading.at(s).weight, rising.at(s).weight) for s in (0.0, 0.25, 1.0)] == [(1.0, 0.0), (0.75, 0.25), (0.0, 1.0)]
    assert fading.temperature == 1.0


def test_test_rows_of_a_task_that_are_labelled_otherwise_are_refused_at_their_place(engine: Engine, paths: dict[str, Path]) -> None:
    """Lists of classes to measure on, where the task was trained on single ones."""
    lists = paths["thing"].with_name("lists.jsonl")
    rows = [json.loads(line) for line in paths["thing"].read_text().splitlines()]
    label = next(name for name, value in rows[0].items() if value == rows[0]["label"])
    lists.write_text("".join(json.dumps({**row, label: [row[label]]}) + "\n" for row in rows))
    measured = {name: {**source, "split": "train"} for name, source in sources(paths).items()}
    measured["thing"]["path"] = str(lists)
    spec = tasks(paths, data={"test": {"tasks": measured}})
    with pytest.raises(InvalidSpec) as caught:
        engine.run(spec)
    assert caught.value.param == "data.test.tasks.thing", caught.value.detail
    assert "its labels are lists" in caught.value.detail
