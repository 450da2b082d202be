"""Answers that stand in a text: which tokens they are, what is lost there, and what is found."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from engine_rows import write_questions
from engine_runs import Engine, whole_steps
from engine_texts import STEPS, TRANSFORMER, texts
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from contract.errors import InvalidData, InvalidSpec
from contract.registry import Jsd, Kl, LogitMse
from contract.spec import Columns
from distill import evaluate
from distill.answers import LONGEST, likeliest, overlap, plain
from distill.data.batch import IGNORED, IMPOSSIBLE
from distill.data.rows import TextSplit
from distill.device import threads
from distill.networks import load, rows_for, said_of
from distill.objectives import Objective, Said
from distill.predict import probabilities, read_row

KINDS = ("bert", "roberta", "distilbert")


asking = partial(texts, task="question-answering", student={"arch": "bert", **TRANSFORMER})


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_questions(tmp_path_factory.mktemp("questions") / "rows.jsonl")


@pytest.fixture(scope="module")
def ran(tmp_path_factory, file):
    engine = Engine(tmp_path_factory.mktemp("networks"))
    with threads(1):
        return {name: engine.run(asking(file, student={"arch": name, **TRANSFORMER})) for name in KINDS}


CONTEXTS = ["In Rome, near the old saw.", "Çup; Çup and d'or", "nothing"]
QUESTIONS = ["where?", "what is it that shines?", "who"]
ANSWERS = ["Rome", "d'or", "nothing"]


def split():
    spans = [(text.index(answer), text.index(answer) + len(answer)) for text, answer in zip(CONTEXTS, ANSWERS, strict=True)]
    return TextSplit((list(QUESTIONS), list(CONTEXTS)), torch.zeros(3, dtype=torch.int64), spans=spans)


@pytest.mark.parametrize("name", KINDS)
def test_the_tokens_of_an_answer_are_its_letters(ran, name):
    """In any order of rows, and the places where an answer may stand are those of the text."""
    network, config = load(ran[name].student)
    rows = rows_for(network, config, split())
    batch = rows.batch(torch.tensor([2, 0, 1]))
    spans = batch.labels.reshape(3, 2)
    for place, row in enumerate((2, 0, 1)):
        first, last = spans[place].tolist()
        assert rows.said(row, first, last).strip() == ANSWERS[row]
        inside = network.reader.tokenizer.decode(batch.given.ids[place][batch.given.where[place]].tolist())
        assert inside.strip().lower() == network.reader.tokenizer.decode(network.reader.tokenizer.encode(CONTEXTS[row]).ids).strip().lower()


def test_answers_behind_the_cut_are_not_learned_from(ran):
    network, config = load(ran["bert"].student)
    network.reading = network.reading.model_copy(update={"max_length": 16})
    rows = rows_for(network, config, split())
    cut = [int(row[0]) == IGNORED for row in rows.spans]
    assert any(cut) and not all(cut)
    batch = rows.batch(torch.arange(3))
    assert batch.counted == 2 * cut.count(False)


@pytest.mark.parametrize("name", KINDS)
def test_figures_are_means_over_rows(engine, ran, file, name):
    """Against float64, row by row and without padding; the span is found by trying all."""
    report = engine.run(
        asking(file, kind="evaluate", student={"path": str(ran[name].student)}, data={"test": {"path": str(file), "split": "train"}})
    )
    network, config = load(ran[name].student)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    spans = [(row["context"].index(row["answer"]), row["context"].index(row["answer"]) + len(row["answer"])) for row in rows]
    losses, exact = [], []
    for row, span in zip(rows, spans, strict=True):
        one = rows_for(network, config, TextSplit(([row["question"]], [row["context"]]), torch.zeros(1, dtype=torch.int64), spans=[span]))
        batch = one.batch(torch.tensor([0]))
        with torch.inference_mode():
            answer = network._call(batch.given)[0]
        z = torch.stack([answer.start_logits[0], answer.end_logits[0]]).double()
        z[:, ~batch.given.where[0]] = -torch.inf
        losses += [float(-F.log_softmax(z[i], 0)[label]) for i, label in enumerate(batch.labels)]
        best, found = -torch.inf, (0, 0)
        for first in range(z.shape[1]):
            for last in range(first, min(first + LONGEST, z.shape[1])):
                if float(z[0, first] + z[1, last]) > best:
                    best, found = float(z[0, first] + z[1, last]), (first, last)
        exact.append(plain(one.said(0, *found)) == plain(row["answer"]))
    metrics = report.report["arms"]["model"]["metrics"]
    assert metrics["loss"]["mean"] == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    assert metrics["exact_match"]["mean"] == pytest.approx(sum(exact) / len(exact))


def test_soft_targets_are_compared_place_by_place(engine, ran, file):
    spec = asking(file, ran["bert"].student, objective=[{"loss": "kl", "temperature": 2.0}], student={"init": "teacher", "layers": [0, 2]})
    found = engine.run(spec)
    assert found.report["teacher_outputs"]["mode"] == "cached"
    student, config = load(found.student)
    teacher, of_teacher = load(ran["bert"].student)
    rows = rows_for(student, config, split())
    given = rows.batch(torch.arange(3)).given
    with torch.inference_mode():
        mine, theirs = said_of(student, config, given), said_of(teacher, of_teacher, given)
        _, (kl, jsd) = Objective([Kl(temperature=2), Jsd()])(mine, torch.zeros(6, dtype=torch.int64), theirs)
    where = given.where.repeat_interleave(2, 0)
    by_hand = []
    for z_s, z_t, inside in zip(mine.logits.double(), theirs.logits.double(), where, strict=True):
        p, q = F.softmax(z_t[inside] / 2, 0), F.softmax(z_s[inside] / 2, 0)
        by_hand.append(float(4 * (p * (p / q).log()).sum()))
    assert kl.item() == pytest.approx(sum(by_hand) / 6, rel=1e-4, abs=1e-6)
    assert 0 <= jsd.item() < 0.7


def test_regression_on_logits_counts_the_places_of_each_text_alone(ran):
    """However long the texts beside it are."""
    network, config = load(ran["bert"].student)
    rows = rows_for(network, config, split())
    noise = torch.randn(3, 2, 64, generator=torch.Generator().manual_seed(0))

    def loss(index):
        batch = rows.batch(torch.tensor(index))
        mine = said_of(network, config, batch.given)
        other = mine.logits + noise[index].flatten(0, 1)[:, : mine.classes]
        beside = replace(Said.of(torch.where(mine.logits > IMPOSSIBLE, other, mine.logits)), pointing=True)
        return Objective([LogitMse()])(mine, batch.labels, beside)[0].item()

    with torch.inference_mode():
        assert loss([0, 1, 2]) == pytest.approx(sum(loss([row]) for row in range(3)) / 3, rel=1e-5)


def test_parts_of_a_step_add_up(engine, ran, file):
    still = {"arch": "bert", **TRANSFORMER, "dropout": 0.0}
    whole = engine.run(asking(file, ran["bert"].student, student=still))
    parts = engine.run(asking(file, ran["bert"].student, student=still, training={"micro_batch_size": 5}))
    assert whole_steps(parts)[0][1] == pytest.approx(whole_steps(whole)[0][1], rel=1e-4)


def test_a_run_stopped_at_any_step_goes_on_to_the_same_weights(engine, ran, file):
    spec = asking(file, ran["bert"].student)
    undisturbed = engine.run(spec)
    for step in (1, 4, STEPS - 1):
        stopped = engine.run(spec, stop_after=step)
        assert engine.run(spec, resume=stopped.checkpoints).weights == undisturbed.weights


@pytest.mark.parametrize("name", KINDS)
def test_what_we_save_transformers_opens_and_says_the_same(ran, name):
    network, config = load(ran[name].student)
    model, tokenizer = AutoModelForQuestionAnswering.from_pretrained(ran[name].student), AutoTokenizer.from_pretrained(ran[name].student)
    with torch.inference_mode():
        theirs = model.eval()(**tokenizer(QUESTIONS, CONTEXTS, padding=True, return_tensors="pt"))
        batch = rows_for(network, config, split()).batch(torch.arange(3))
        ours = said_of(network, config, batch.given).logits.reshape(3, 2, -1)
    where = batch.given.where
    torch.testing.assert_close(theirs.start_logits[where], ours[:, 0][where], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(theirs.end_logits[where], ours[:, 1][where], rtol=1e-4, atol=1e-5)


def test_they_learn_and_answer(engine, file):
    """What stands behind `in` and before a dot is one of two places; guessing between them finds half."""
    wide = {"arch": "bert", **TRANSFORMER, "hidden": 32, "dropout": 0.0}
    done = engine.run(asking(file, student=wide, training={"epochs": 25, "batch_size": 16, "optimizer": {"lr": 3e-3}}))
    metrics = done.report["arms"]["model"]["metrics"]
    assert metrics["exact_match"]["mean"] > 0.4 and metrics["f1"]["mean"] >= metrics["exact_match"]["mean"]
    said = probabilities(done.student, read_row(f"{file}:0", "question-answering", Columns()))
    first = json.loads(file.read_text().splitlines()[0])
    assert said["question"] == first["question"] and said["answer"] in first["context"] and 0 < said["p"] <= 1
    with pytest.raises(InvalidSpec, match="a question goes with a text that answers it"):
        probabilities(done.student, read_row("where is it?", "question-answering", Columns()))


def test_spans_begin_before_they_end_and_are_not_endless(ran):
    network, config = load(ran["bert"].student)
    found = likeliest(network, config, rows_for(network, config, split()))
    assert (found[:, 0] <= found[:, 1]).all() and (found[:, 1] - found[:, 0] < LONGEST).all()


@pytest.mark.parametrize(
    ("said", "right", "f1"),
    [
        ("The table", "a table.", 1.0),
        ("old  table", "the table", 2 / 3),
        ("the old the old", "old", 2 / 3),
        ("rome", "paris", 0.0),
        ("", "paris", 0.0),
        ("the", "a", 1.0),
    ],
)
def test_words_are_compared_as_squad_compares_them(said, right, f1):
    assert overlap(said, right) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"answer": "Paris"}, "row 1 has the answer 'Paris', which does not stand in its context"),
        ({"answer": ""}, "row 1 has the answer '', which does not stand in its context"),
        ({"answer": "Rome", "answer_start": 2}, "which does not stand at character 2 of its context"),
    ],
)
def test_answers_that_do_not_stand_there_are_named(engine, tmp_path, row, said):
    path = tmp_path / "rows.jsonl"
    path.write_text(2 * (json.dumps({"question": "where?", "context": "In Rome", **row}) + "\n"))
    with pytest.raises(InvalidData, match=said):
        engine.run(asking(path))


def test_where_an_answer_begins_can_be_said(ran, tmp_path):
    from distill.data import load as load_rows
    from distill.inputs import Inputs

    path = tmp_path / "rows.jsonl"
    row = {"question": "which?", "context": "saw one, saw two", "answer": "saw", "answer_start": 9}
    path.write_text(2 * (json.dumps(row) + "\n"))
    spec = asking(path)
    assert load_rows(spec, Inputs.local(spec, tmp_path)).train.spans == [(9, 12)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"student": {"arch": "bilstm"}}, "bilstm is not made for question-answering"),
        ({"objective": [{"loss": "cross_entropy", "label_smoothing": 0.1}]}, "there is no place to spread to outside the text"),
    ],
)
def test_what_makes_no_sense_of_places_is_refused(file, changes, said):
    with pytest.raises(InvalidSpec, match=said):
        asking(file, **changes)


def test_teachers_of_another_kind_are_refused(engine, ran, file, tmp_path):
    with pytest.raises(InvalidSpec, match="different vocabularies"):
        engine.run(asking(file, ran["bert"].student, tokenizer={"vocabulary": 300}))
    columns = {"text": "question", "label": "answer"}
    classes = asking(file, ran["bert"].student, task="text-classification", data={"train": {"path": str(file), "columns": columns}})
    with pytest.raises(InvalidSpec, match=r"it tells where an answer stands; data.train has one class for each row"):
        engine.run(classes)


def test_rows_whose_answer_was_cut_off_tell_nothing_and_spoil_nothing(ran, monkeypatch):
    """Asked alone, such a row has nothing to take a mean over."""
    network, config = load(ran["bert"].student)
    monkeypatch.setattr(evaluate, "TOKEN_BATCH", 1)
    rows = rows_for(network, config, split())
    cut = replace(rows, spans=rows.spans.index_fill(0, torch.tensor([1]), IGNORED))
    teacher = partial(_said, network, config)
    whole, found = (evaluate.tell(network, config, each, teacher) for each in (rows, cut))
    assert len(found.losses) == len(whole.losses) - 2 and found.kl == pytest.approx(0, abs=1e-6)
    with pytest.raises(InvalidData, match="no token can be told"):
        evaluate.tell(network, config, replace(rows, spans=torch.full_like(rows.spans, IGNORED)), teacher)


def _said(network, config, index, given):
    return said_of(network, config, given)
