"""Networks that read text: what they are built of, that padding says nothing to them, that they learn, and that a stranger can use them."""

import json
import shutil

import pytest
import torch
from engine_runs import Engine
from engine_texts import STEPS, STUDENTS, texts, use_cards, write_texts
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from contract.check import parse_spec
from contract.errors import InvalidSpec, JobError
from contract.shapes import DataShape
from contract.spec import Columns
from distill.data import load as load_rows
from distill.data.rows import TextSplit
from distill.data.tokens import TOKENS, WINDOW, Tokens, bucketed
from distill.device import threads
from distill.inputs import Inputs
from distill.networks import load, logits_of, rows_for
from distill.networks.reader import Reader
from distill.predict import read_row

ROWS = ["saw", "the old apple is on the table", "a small hammer near the new house today and again a pear", "", "pliers pliers"]
LIBRARY = ("bert", "roberta", "distilbert")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("texts") / "rows.jsonl")


@pytest.fixture(scope="module")
def ran(tmp_path_factory, file):
    """One trained network of each architecture."""
    engine = Engine(tmp_path_factory.mktemp("networks"))
    with threads(1):
        return {name: engine.run(texts(file, student=student)) for name, student in STUDENTS.items()}


def split(rows=ROWS):
    return TextSplit((list(rows),), torch.zeros(len(rows), dtype=torch.int64))


def said(network, config, rows):
    """Logits of the rows, all in one batch."""
    with torch.inference_mode():
        return logits_of(network, config, rows_for(network, config, rows).batch(torch.arange(len(rows))).given)


@pytest.mark.parametrize("name", STUDENTS)
def test_the_contract_counts_the_parameters_the_engine_builds(ran, name):
    network, config = load(ran[name].student)
    assert config.text is not None

    spec = parse_spec({**texts_document(), "student": STUDENTS[name]})
    count = spec.described.parameters((config.text.vocabulary,), 2)
    assert count == sum(p.numel() for p in network.parameters()) == config.parameters


def texts_document():
    return {"kind": "train", "task": "text-classification", "data": {"train": {"path": "x.jsonl"}, "validation": 0.5}}


@pytest.mark.parametrize("name", STUDENTS)
def test_padding_changes_nothing(ran, name):
    """A row beside longer ones must read as it reads alone; the empty text included."""
    network, config = load(ran[name].student)
    together = said(network, config, split())
    for number, text in enumerate(ROWS):
        torch.testing.assert_close(said(network, config, split([text]))[0], together[number], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", STUDENTS)
def test_every_weight_gets_a_gradient(ran, name):
    network, config = load(ran[name].student)
    network.train()
    logits_of(network, config, rows_for(network, config, split()).batch(torch.arange(5)).given).square().sum().backward()
    unused = [key for key, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert [key for key in unused if "position" not in key and "token_type" not in key] == []


def test_they_learn_what_is_in_the_words(engine, file):
    report = engine.run(texts(file, training={"epochs": 30}, student={"arch": "textcnn", "embedding": 16, "channels": 8})).report
    assert report["arms"]["model"]["metrics"]["accuracy"]["mean"] > 0.95


@pytest.mark.parametrize("name", LIBRARY)
def test_what_we_save_transformers_opens_and_says_the_same(ran, name):
    network, config = load(ran[name].student)
    tokenizer = AutoTokenizer.from_pretrained(ran[name].student)
    model = AutoModelForSequenceClassification.from_pretrained(ran[name].student).eval()
    with torch.inference_mode():
        theirs = model(**tokenizer(ROWS, padding=True, truncation=True, return_tensors="pt")).logits
    torch.testing.assert_close(theirs, said(network, config, split()), rtol=1e-4, atol=1e-5)
    assert model.config.id2label == {0: "fruit", 1: "tool"}


def test_the_lines_on_the_card_work_without_potstill(ran):
    folders = [run.student for run in ran.values()]
    use_cards(folders, ROWS)
    for folder in folders:
        network, config = load(folder)
        theirs = load_file(folder / "logits.safetensors")["logits"]
        torch.testing.assert_close(theirs, said(network, config, split()), rtol=1e-4, atol=1e-5)


def test_buckets_are_the_same_rows_in_batches_of_like_lengths():
    draw = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 200, (10_007,), generator=draw)
    order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(1))
    found = bucketed(order, lengths, 32, torch.Generator().manual_seed(2))
    assert found.sort().values.equal(torch.arange(len(lengths)))
    assert found.equal(bucketed(order, lengths, 32, torch.Generator().manual_seed(2)))
    whole = len(lengths) // 32 * 32
    padded = sum(int(lengths[batch].max()) * 32 for batch in found[:whole].split(32))
    before = sum(int(lengths[batch].max()) * 32 for batch in order[:whole].split(32))
    assert padded / int(lengths[found[:whole]].sum()) < 1.05 < before / int(lengths[order[:whole]].sum())
    firsts = [int(lengths[batch].float().mean()) for batch in found[:whole].split(32)]
    assert firsts != sorted(firsts) and len(set(firsts[:WINDOW])) > WINDOW // 4, "short and long batches must be mixed"
    assert bucketed(order[:20], lengths, 32, draw).equal(order[:20])


@pytest.mark.parametrize(("size", "most"), [(1, 32), (64, 64 * 32), (1024, TOKENS)])
def test_rows_are_read_in_pieces_that_stay_in_a_processors_caches(size, most):
    lengths = torch.randint(1, 600, (3001,), generator=torch.Generator().manual_seed(0))
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    rows = Tokens(torch.zeros(int(starts[-1]), dtype=torch.int32), starts, lengths, torch.zeros(len(lengths)), 0)
    pieces = list(rows.chunks(size))
    assert torch.cat(pieces).sort().values.equal(torch.arange(len(rows)))
    assert all(len(piece) <= size and (len(piece) == 1 or int(lengths[piece].max()) * len(piece) <= most) for piece in pieces)
    assert size == 1 or len(pieces) < 1.2 * int(starts[-1]) / most + 2, "few, all the same"


@pytest.mark.parametrize("name", ["bilstm", "bert"])
def test_a_run_stopped_at_any_step_goes_on_to_the_same_weights(engine, file, name):
    spec = texts(file, student=STUDENTS[name] | {"dropout": 0.2})
    undisturbed = engine.run(spec)
    assert len(undisturbed.curve()) >= STEPS
    for step in (1, 5, STEPS - 1):
        stopped = engine.run(spec, stop_after=step)
        assert engine.run(spec, resume=stopped.checkpoints).weights == undisturbed.weights


def test_a_student_of_every_layer_is_its_teacher_and_of_some_has_theirs(engine, ran, file):
    teacher = ran["bert"].student
    whole, config = load(teacher)
    from distill.networks import library

    torch.manual_seed(7)
    same, _ = library.from_layers(teacher, [0, 1, 2], config.task, config.made_for)
    torch.testing.assert_close(said(same.eval(), config, split()), said(whole, config, split()), rtol=0, atol=0)
    some, _ = library.from_layers(teacher, [0, 2], config.task, config.made_for)
    theirs, ours = whole.inner.bert.encoder.layer, some.inner.bert.encoder.layer
    assert len(ours) == 2
    for mine, of_teacher in zip(ours, [theirs[0], theirs[2]], strict=True):
        assert all(a.equal(b) for a, b in zip(mine.parameters(), of_teacher.parameters(), strict=True))
    assert some.inner.classifier.weight.equal(whole.inner.classifier.weight)
    report = engine.run(texts(file, teacher, student={"init": "teacher", "layers": [0, 2]})).report
    assert report["arms"]["student"]["parameters"] < report["arms"]["teacher"]["parameters"]
    with pytest.raises(InvalidSpec, match="there is no layer 3; that network has 3"):
        engine.run(texts(file, teacher, student={"init": "teacher", "layers": [3]}))


@pytest.mark.parametrize("student", [STUDENTS["bilstm"], {"init": "teacher", "layers": [1]}], ids=["described", "of layers"])
def test_without_the_teachers_word_distilling_is_training_alone(engine, ran, file, student):
    """The control arm has the teacher's tokenizer and layers, and nothing else of it: bit for bit."""
    spec = texts(file, ran["bert"].student, student=student, recipe={"name": "hinton", "alpha": 0.0}, evaluation={"control": True})
    arms = {run.arm: engine.run(run.spec).weights for run in spec.runs()}
    assert arms["student"] == arms["control"]


def test_a_live_teacher_says_what_a_cached_one_said_though_it_reads_otherwise(engine, ran, file):
    """Teacher and student have tokenizers of their own; rows are shuffled and bucketed by the student's lengths."""
    spec = {"student": STUDENTS["gru"], "tokenizer": {"vocabulary": 300}}
    cached = engine.run(texts(file, ran["roberta"].student, **spec))
    live = engine.run(texts(file, ran["roberta"].student, teacher_outputs="live", **spec))
    assert (cached.report["teacher_outputs"]["mode"], live.report["teacher_outputs"]["mode"]) == ("cached", "live")
    for (_, a), (_, b) in zip(cached.curve(), live.curve(), strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-5)
    again = engine.run(texts(file, ran["roberta"].student, **spec))
    assert again.report["teacher_outputs"]["cache"] == "hit"
    assert again.weights == cached.weights


def test_rows_of_which_both_say_different_things_are_shown(engine, ran, file):
    """In the order of their divergence, in float64, with the text as it was written."""
    weak = engine.run(texts(file, ran["textcnn"].student, training={"epochs": 1}, evaluation={"control": False}))
    shown = weak.report["disagreements"]
    spec = texts(file)
    rows = load_rows(spec, Inputs.local(spec, engine.home)).test
    logits = {}
    for name, folder in (("teacher", ran["textcnn"].student), ("student", weak.student)):
        network, config = load(folder)
        with torch.inference_mode():
            logits[name] = logits_of(network, config, rows_for(network, config, rows).batch(torch.arange(len(rows))).given).double()
    p, q = logits["teacher"].softmax(1), logits["student"].softmax(1)
    distance = (p * (p / q).log()).sum(1)
    differ = (p.argmax(1) != q.argmax(1)).nonzero()[:, 0].tolist()
    expected = sorted(differ, key=lambda row: -float(distance[row]))[:10]
    assert len(expected) > 2 and [one["row"] for one in shown] == expected
    for one in shown:
        row = one["row"]
        assert one["text"] == rows.texts[0][row] and one["label"] == ["fruit", "tool"][rows.labels[row]]
        assert one["teacher"]["class"] != one["student"]["class"]
        assert one["teacher"]["p"] == pytest.approx(float(p[row].max()), abs=1e-4)
        assert one["kl"] == pytest.approx(float(distance[row]), abs=1e-3)


@pytest.mark.parametrize("name", LIBRARY)
def test_pairs_are_read_as_pairs_by_us_and_by_transformers(engine, tmp_path, name):
    file = write_texts(tmp_path / "pairs.jsonl", pairs=True)
    ran = engine.run(texts(file, student=STUDENTS[name]))
    network, config = load(ran.student)
    assert config.text.texts == 2
    rows = TextSplit((["a saw"], ["which is it ?"]), torch.zeros(1, dtype=torch.int64))
    given = rows_for(network, config, rows).batch(torch.tensor([0])).given
    names = network.reader.tokenizer.decode(given.ids[0].tolist(), skip_special_tokens=False)
    assert names == "[CLS] a saw[SEP] which is it ?[SEP]"
    assert given.segments[0].tolist() == [0] * 4 + [1] * 5
    theirs = AutoTokenizer.from_pretrained(ran.student)("a saw", "which is it ?", return_tensors="pt")
    assert theirs["input_ids"].equal(given.ids)
    with torch.inference_mode():
        logits = AutoModelForSequenceClassification.from_pretrained(ran.student).eval()(**theirs).logits
    torch.testing.assert_close(logits, said(network, config, rows), rtol=1e-4, atol=1e-5)


def test_texts_that_are_cut_are_counted(engine, file):
    ran = engine.run(texts(file, data={"max_length": 6}))
    assert any("training texts are longer than 6 tokens and were cut" in warning for warning in ran.warnings)
    assert load(ran.student)[1].text.max_length == 6


def test_a_network_never_reads_more_than_it_has_positions_for(engine, file):
    ran = engine.run(texts(file, student=STUDENTS["roberta"] | {"positions": 8}, data={"max_length": 60}))
    assert load(ran.student)[1].text.max_length == 8


def test_an_encoder_without_classes_is_taught_some(engine, ran, file, tmp_path):
    """What most people start from: a network that was only pre-trained. Its body is kept, its head is new."""
    from transformers import AutoModel

    body = AutoModel.from_pretrained(ran["bert"].student)
    body.save_pretrained(tmp_path / "encoder")
    (tmp_path / "encoder" / "tokenizer.json").write_bytes((ran["bert"].student / "tokenizer.json").read_bytes())
    network, config = load(tmp_path / "encoder", "text-classification", DataShape(classes=["fruit", "tool"], texts=1))
    assert config.classes == ["fruit", "tool"]
    assert network.inner.bert.embeddings.word_embeddings.weight.equal(body.embeddings.word_embeddings.weight)
    trained = engine.run(texts(file, student={"path": str(tmp_path / "encoder")}))
    assert load(trained.student)[1].classes == ["fruit", "tool"]
    with pytest.raises(InvalidSpec, match="it was taught no classes"):
        engine.run(texts(file, tmp_path / "encoder"))


def test_weights_that_lack_what_the_config_describes_are_refused(ran, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(ran["bert"].student, folder)
    tensors = load_file(folder / "model.safetensors")
    save_file({name: tensor for name, tensor in tensors.items() if "layer.1." not in name}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(JobError, match="its weights lack 16 tensors"):
        load(folder)
    torch.save(tensors, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(JobError, match="is not a model Potstill can load"):
        load(folder)


def test_dropout_of_the_teacher_sleeps_and_the_students_works(ran):
    network, _ = load(ran["bert"].student)
    assert not any(module.training for module in network.modules())
    assert any(isinstance(module, nn.Dropout) and module.p > 0 for module in network.modules())


def test_padding_whose_id_is_zero_is_padding(ran):
    """Some networks find the end of a text by it; an end of text in its place would be read as one more token."""
    reader = load(ran["bert"].student)[0].reader
    said = Reader(reader.tokenizer, {"pad_token": "[PAD]", "eos_token": "[SEP]"})
    assert reader.tokenizer.token_to_id("[PAD]") == 0 and said.pad == 0
    assert Reader(reader.tokenizer, {"eos_token": "[SEP]"}).pad == reader.tokenizer.token_to_id("[SEP]")
    said.padding = 7  # as its network's config has it
    assert said.pad == 7


def test_weights_of_another_shape_than_the_config_describes_are_refused_where_a_head_is_new(ran, tmp_path):
    """A new head is drawn; embeddings that do not fit must not be."""
    shutil.copytree(ran["bert"].student, tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 80}))
    with pytest.raises(JobError, match="1 of its tensors have other shapes"):
        load(tmp_path / "model", "masked-lm", DataShape(classes=[], texts=1))


def test_special_tokens_that_an_older_folder_does_not_name_are_those_of_its_kind(ran, tmp_path):
    shutil.copytree(ran["bert"].student, tmp_path / "model")
    named = Reader.load(tmp_path / "model")
    (tmp_path / "model" / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 64}))
    found = Reader.load(tmp_path / "model")
    assert (found.mask, found.pad, found.end) == (named.mask, named.pad, named.end)
    assert named.tokenizer.id_to_token(found.mask) == "[MASK]"


def test_what_is_written_has_a_token_to_pad_with(ran, tmp_path):
    reader = load(ran["bert"].student)[0].reader
    Reader(reader.tokenizer, {"eos_token": "[SEP]"}).save(tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["pad_token"] == "[SEP]"


def test_a_text_longer_than_a_name_can_be_is_a_text():
    text = "a fine film " * 60
    assert read_row(text, "text-classification", Columns()).texts == ([text],)
