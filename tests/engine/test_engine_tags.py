"""A class for each word: which tokens are asked, what is lost and counted there, and that tokenizers may split words as they like."""

import json
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from engine_rows import write_tags
from engine_runs import Engine
from engine_texts import STEPS, TRANSFORMER, texts, use_cards
from safetensors.torch import load_file
from transformers import AutoModelForTokenClassification, AutoTokenizer

from contract.errors import InvalidData, InvalidSpec
from contract.spec import Columns
from distill.data.rows import TextSplit
from distill.device import derived_seed, threads
from distill.networks import load, rows_for, said_of
from distill.predict import probabilities, read_row
from distill.scores import names

STUDENTS = {
    "bilstm": {"arch": "bilstm", "embedding": 8, "hidden": 8, "layers": 2, "dropout": 0.1},
    **{arch: {"arch": arch, **TRANSFORMER} for arch in ("bert", "roberta", "distilbert")},
}


tagging = partial(texts, task="token-classification")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_tags(tmp_path_factory.mktemp("tags") / "rows.jsonl")


@pytest.fixture(scope="module")
def ran(tmp_path_factory, file):
    engine = Engine(tmp_path_factory.mktemp("taggers"))
    with threads(1):
        return {name: engine.run(tagging(file, student=student)) for name, student in STUDENTS.items()}


ROWS = [["anna", "likes", "new", "rome,"], ["well"], ["Çarl", "(and", "d'ora)", "visits", "New", "oslo", "."], []]
TAGS = [[1, 0, 2, 3], [0], [1, 0, 1, 0, 2, 3, 0], []]


def split(rows=ROWS, tags=TAGS):
    return TextSplit(([" ".join(words) for words in rows],), torch.zeros(len(rows), dtype=torch.int64), [list(row) for row in tags])


@pytest.mark.parametrize("name", STUDENTS)
def test_each_word_is_asked_once_at_its_first_token(ran, name):
    """The reference: tokenizers' own account of words that were split beforehand."""
    network, config = load(ran[name].student)
    rows = rows_for(network, config, split())
    batch = rows.batch(torch.tensor([2, 0, 3, 1]))
    expected = []
    for words, tags in [(ROWS[i], TAGS[i]) for i in (2, 0, 3, 1)]:
        row = network.reader.tokenizer.encode(words, is_pretokenized=True)
        firsts: dict[int, int] = {}
        for place, word in enumerate(row.word_ids):
            if row.sequence_ids[place] is not None:
                firsts.setdefault(word, place)
        expected.append([(place, tags[word]) for word, place in firsts.items()])
    width = batch.given.ids.shape[1]
    found = [[] for _ in range(4)]
    for place, tag in zip(batch.given.asked.tolist(), batch.labels.tolist(), strict=True):
        found[place // width].append((place % width, tag))
    assert found == expected
    assert rows.words().tolist() == [4, 1, 7, 0]


def test_words_behind_the_cut_are_not_asked(ran):
    network, config = load(ran["bert"].student)
    network.reading = network.reading.model_copy(update={"max_length": 5})
    rows = rows_for(network, config, split())
    assert 0 < int(rows.words()[2]) < 7 and rows.cut == 2


def test_figures_are_means_over_words(engine, file):
    """In float64, text by text; and parts of a step add up to the step."""
    still = {"arch": "bilstm", "embedding": 8, "hidden": 8}
    start = engine.run(tagging(file, student=still)).student
    one = {"epochs": 1, "batch_size": 91, "optimizer": {"name": "sgd", "lr": 1e-9}}
    whole = engine.run(tagging(file, student={"path": str(start)}, training=one)).curve()[0][1]
    parts = engine.run(tagging(file, student={"path": str(start)}, training=one | {"micro_batch_size": 7})).curve()[0][1]
    assert parts == pytest.approx(whole, rel=1e-5)
    again = engine.run(tagging(file, student={"path": str(start)}, kind="evaluate", data={"test": {"path": str(file), "split": "train"}}))
    network, config = load(start)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    losses, right = [], []
    for row in rows:
        one = split([row["tokens"]], [[config.classes.index(tag) for tag in row["ner_tags"]]])
        batch = rows_for(network, config, one).batch(torch.tensor([0]))
        with torch.inference_mode():
            z = said_of(network, config, batch.given).logits.double()
        losses += [float(-F.log_softmax(z[i], 0)[label]) for i, label in enumerate(batch.labels)]
        right += (z.argmax(1) == batch.labels).tolist()
    metrics = again.report["arms"]["model"]["metrics"]
    assert metrics["loss"]["mean"] == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert metrics["accuracy"]["mean"] == pytest.approx(sum(right) / len(right))


def test_teacher_and_student_may_split_words_otherwise(engine, ran, file):
    """kl of both on every word, in float64, each reading with a tokenizer of its own."""
    spec = tagging(
        file,
        ran["roberta"].student,
        student={"arch": "bilstm", "embedding": 8, "hidden": 8},
        tokenizer={"vocabulary": 300},
        objective=[{"loss": "kl", "temperature": 2.0}],
    )
    found = engine.run(spec)
    student, config = load(found.student)
    teacher, of_teacher = load(ran["roberta"].student)
    assert student.reader.vocabulary != teacher.reader.vocabulary
    assert found.report["teacher_outputs"]["mode"] == "cached"
    with torch.inference_mode():
        a = said_of(student, config, rows_for(student, config, split()).batch(torch.arange(4)).given).logits.double()
        b = said_of(teacher, of_teacher, rows_for(teacher, of_teacher, split()).batch(torch.arange(4)).given).logits.double()
    assert len(a) == len(b) == 12
    together = found.report["agreement"]["mean"]
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    held = torch.randperm(len(rows), generator=torch.Generator().manual_seed(derived_seed("validation")))[91:].tolist()
    same, divergence = [], []
    for row in (rows[i] for i in held):
        one = split([row["tokens"]], [[0] * len(row["tokens"])])
        with torch.inference_mode():
            z_s, z_t = (
                said_of(network, each, rows_for(network, each, one).batch(torch.tensor([0])).given).logits.double()
                for network, each in ((student, config), (teacher, of_teacher))
            )
        same += (z_s.argmax(1) == z_t.argmax(1)).tolist()
        p, q = F.softmax(z_t, 1), F.softmax(z_s, 1)
        divergence += (p * (p / q).log()).sum(1).tolist()
    assert together == pytest.approx(sum(same) / len(same))
    assert found.report["mean_kl"] == pytest.approx(sum(divergence) / len(divergence), rel=1e-3)


def test_a_teacher_that_cuts_earlier_is_refused(engine, ran, file, tmp_path):
    short = engine.run(tagging(file, student=STUDENTS["bert"], data={"max_length": 6})).student
    with pytest.raises(InvalidSpec, match="teacher and student do not read equally many words"):
        engine.run(tagging(file, short, tokenizer={"vocabulary": 400}))


def test_so_is_one_that_cuts_only_texts_to_be_measured_on(engine, ran, file, tmp_path):
    """Before the training, not after it."""
    long = tmp_path / "long.jsonl"
    long.write_text(json.dumps({"words": ["well"] * 40, "tags": ["O"] * 40}) + "\n")
    short = engine.run(tagging(file, student=STUDENTS["bert"], data={"max_length": 24})).student
    with pytest.raises(InvalidSpec, match="of 1 texts teacher and student do not read equally many words"):
        engine.run(tagging(file, short, tokenizer={"vocabulary": 400}, data={"test": {"path": str(long)}, "max_length": 64}))


@pytest.mark.parametrize("name", [name for name in STUDENTS if name != "bilstm"])
def test_what_we_save_transformers_opens_and_says_the_same(ran, name):
    network, config = load(ran[name].student)
    tokenizer, model = AutoTokenizer.from_pretrained(ran[name].student), AutoModelForTokenClassification.from_pretrained(ran[name].student)
    rows = split().texts[0]
    with torch.inference_mode():
        theirs = model.eval()(**tokenizer(rows, padding=True, return_tensors="pt")).logits
        batch = rows_for(network, config, split()).batch(torch.arange(len(rows)))
        ours = said_of(network, config, batch.given).logits
    torch.testing.assert_close(theirs.flatten(0, 1)[batch.given.asked], ours, rtol=1e-4, atol=1e-5)
    assert list(model.config.id2label.values()) == ["B-LOC", "B-PER", "I-LOC", "O"]


def test_the_lines_on_the_card_work_without_potstill(ran):
    texts = split().texts[0]
    folders = [ran[name].student for name in ("bilstm", "bert")]
    use_cards(folders, texts)
    for folder in folders:
        network, config = load(folder)
        batch = rows_for(network, config, split()).batch(torch.arange(len(texts)))
        with torch.inference_mode():
            ours = said_of(network, config, batch.given).logits
        theirs = load_file(folder / "logits.safetensors")["logits"].flatten(0, 1)[batch.given.asked]
        torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["bilstm", "bert"])
def test_a_run_stopped_at_any_step_goes_on_to_the_same_weights(engine, ran, file, name):
    spec = tagging(file, ran["roberta"].student, student=STUDENTS[name])
    undisturbed = engine.run(spec)
    for step in (1, 4, STEPS - 1):
        stopped = engine.run(spec, stop_after=step)
        assert engine.run(spec, resume=stopped.checkpoints).weights == undisturbed.weights


def test_they_learn_and_tell_words(engine, file):
    done = engine.run(tagging(file, training={"epochs": 25}))
    metrics = done.report["arms"]["model"]["metrics"]
    assert metrics["accuracy"]["mean"] > 0.97 and metrics["f1_names"]["mean"] > 0.95
    said = probabilities(done.student, read_row("well  anna likes new oslo", "token-classification", Columns()))
    assert said["words"] == ["well", "anna", "likes", "new", "oslo"]
    assert said["tags"] == ["O", "B-PER", "O", "B-LOC", "I-LOC"]
    from_file = probabilities(done.student, read_row(f"{file}:0", "token-classification", Columns()))
    assert from_file["words"] == json.loads(file.read_text().splitlines()[0])["tokens"]


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("O O O", []),
        ("B-A I-A O", [("A", 0, 2)]),
        ("B-A B-A I-B", [("A", 0, 1), ("A", 1, 2), ("B", 2, 3)]),
        ("I-A I-A O I-A", [("A", 0, 2), ("A", 3, 4)]),
        ("O B-A", [("A", 1, 2)]),
        ("", []),
    ],
)
def test_names_are_counted_as_conlleval_counts_them(tags, found):
    assert names(tags.split()) == set(found)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"tokens": ["a", "b"], "ner_tags": ["O"]}, "row 2 has 2 words and 1 tags"),
        ({"tokens": ["a b"], "ner_tags": ["O"]}, "row 2 has the word 'a b', which is none"),
        ({"tokens": [""], "ner_tags": ["O"]}, "row 2 has the word '', which is none"),
    ],
)
def test_rows_that_do_not_fit_are_named(engine, tmp_path, row, said):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in ({"tokens": ["x"], "ner_tags": ["B-A"]}, row)))
    with pytest.raises(InvalidData, match=said):
        engine.run(tagging(path, data={"validation": 0.5}))


def test_a_tag_unseen_in_training_is_named(engine, file, tmp_path):
    test = tmp_path / "test.jsonl"
    test.write_text(json.dumps({"tokens": ["x"], "ner_tags": ["B-TIME"]}) + "\n")
    with pytest.raises(InvalidData, match=r"data.test: row 1 has the label `?'?B-TIME"):
        engine.run(tagging(file, data={"test": {"path": str(test), "split": "train"}}))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "a b", "tags": ["O", "O"]}, "no column holds lists of words"),
        ({"tokens": ["a"], "tags": "O"}, "column 'tags' holds text, and a tag for each word is needed"),
        ({"tokens": ["a"], "kinds": ["O"]}, "no column is called `tags` or `ner_tags`"),
    ],
)
def test_columns_that_will_not_do_are_named(engine, tmp_path, row, said):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(InvalidSpec, match=said):
        engine.run(tagging(path))
