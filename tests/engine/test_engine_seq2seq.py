"""One text from another: what the decoder sees, what is lost, what is written, and a teacher that writes the targets."""

import json
import random
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from engine_runs import Engine, whole_steps
from engine_texts import STEPS, kept_is_live
from engine_texts import texts as rows_of_text
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from contract.errors import InvalidSpec
from contract.registry import Cosine, Kl
from contract.spec import Columns
from distill import teacher_tokens, written
from distill.cache import Cache
from distill.data.rows import TextSplit
from distill.device import threads
from distill.inner import comparison
from distill.networks import load, rows_for, said_of
from distill.networks.library import from_layers
from distill.objectives import Objective
from distill.predict import probabilities, read_row
from distill.teacher import Teacher
from distill.written import by_teacher, nearness, texts

WORDS = {"one": "eins", "two": "zwei", "three": "drei", "red": "rot", "blue": "blau", "house": "haus"}
T5 = {"arch": "t5", "layers": 2, "hidden": 16, "heads": 2, "dropout": 0.1}
LOOKS = frozenset({"states"})


def write_pairs(path, rows=130, seed=0):
    """One to four words, and each of them in another language."""
    draw = random.Random(seed)
    with path.open("w") as file:
        for _ in range(rows):
            words = draw.choices(list(WORDS), k=draw.randrange(1, 5))
            file.write(json.dumps({"source": " ".join(words), "target": " ".join(WORDS[word] for word in words)}) + "\n")
    return path


writing = partial(rows_of_text, task="seq2seq", student=T5, data={"max_length": 24})


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs") / "rows.jsonl")


@pytest.fixture(scope="module")
def ran(tmp_path_factory, file):
    with threads(1):
        return Engine(tmp_path_factory.mktemp("networks")).run(writing(file))


SOURCES, TARGETS = ["one red house", "two", "blue blue blue three"], ["eins rot haus", "zwei", "blau blau blau drei"]


def split():
    return TextSplit((list(SOURCES),), torch.zeros(3, dtype=torch.int64), targets=list(TARGETS))


def test_the_decoder_sees_what_stands_before_and_nothing_else(ran):
    network, config = load(ran.student)
    batch = rows_for(network, config, split()).batch(torch.tensor([2, 1, 0]))
    width = batch.given.decoder.shape[1]
    found = [[] for _ in range(3)]
    for place, label in zip(batch.given.asked.tolist(), batch.labels.tolist(), strict=True):
        found[place // width].append((place % width, label))
    for row, target, seen in zip(found, reversed(TARGETS), batch.given.decoder.tolist(), strict=True):
        ids = network.reader.tokenizer.encode(target).ids
        assert row == list(enumerate(ids))
        assert seen[: len(ids)] == [network.begins, *ids[:-1]]


def test_the_loss_is_that_of_transformers_and_padding_says_nothing(ran):
    """Row by row, with labels as that library wants them; in float64 from logits."""
    network, config = load(ran.student)
    rows = rows_for(network, config, split())
    losses = []
    with torch.inference_mode():
        for row in range(3):
            batch = rows.batch(torch.tensor([row]))
            theirs = network.inner(input_ids=batch.given.ids, attention_mask=batch.given.mask.long(), labels=batch.labels[None])
            losses += [float(theirs.loss)] * len(batch.labels)
        batch = rows.batch(torch.arange(3))
        z = said_of(network, config, batch.given).logits.double()
        _, (ours,) = Objective(writing("x").terms)(said_of(network, config, batch.given), batch.labels, None)
    assert float(F.cross_entropy(z, batch.labels)) == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert ours.item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_soft_targets_and_hidden_states_are_compared_token_by_token(engine, ran, file):
    objective = [{"loss": "kl", "temperature": 2.0}, {"loss": "cosine"}, {"loss": "cross_entropy"}]
    found = engine.run(writing(file, ran.student, student={"init": "teacher", "layers": [1]}, objective=objective))
    assert (
        found.report["teacher_outputs"]["mode"] == "live"
        and found.report["arms"]["student"]["parameters"] < found.report["arms"]["teacher"]["parameters"]
    )
    (student, config), (teacher, _) = load(found.student), load(ran.student)
    given = rows_for(student, config, split()).batch(torch.arange(3)).given
    with torch.inference_mode():
        mine, theirs = said_of(student, config, given, LOOKS), said_of(teacher, config, given, LOOKS)
        compared = {1: comparison(Cosine(), "objective.1", mine.inside, theirs.inside)}
        _, (kl, cosine) = Objective([Kl(temperature=2), Cosine()], compared)(mine, torch.zeros(len(given.asked), dtype=torch.int64), theirs)
        p, q = F.softmax(theirs.logits.double() / 2, 1), F.softmax(mine.logits.double() / 2, 1)
    assert kl.item() == pytest.approx(float(4 * (p * (p / q).log()).sum(1).mean()), rel=1e-4, abs=1e-7)
    h_s, h_t = (said.inside.states[-1].flatten(0, 1)[given.asked].double() for said in (mine, theirs))
    assert cosine.item() == pytest.approx(float(1 - F.cosine_similarity(h_s, h_t).mean()), abs=1e-5)


def test_parts_of_a_step_add_up(engine, ran, file):
    still = T5 | {"dropout": 0.0}
    whole = engine.run(writing(file, ran.student, student=still))
    parts = engine.run(writing(file, ran.student, student=still, training={"micro_batch_size": 5}))
    assert whole_steps(parts)[0][1] == pytest.approx(whole_steps(whole)[0][1], rel=1e-4)


def test_a_run_stopped_at_any_step_goes_on_to_the_same_weights(engine, ran, file):
    for recipe in ("hinton", "seq_kd"):
        spec = writing(file, ran.student, recipe=recipe)
        undisturbed = engine.run(spec)
        for step in (1, STEPS - 1):
            stopped = engine.run(spec, stop_after=step)
            assert engine.run(spec, resume=stopped.checkpoints).weights == undisturbed.weights


def test_the_contract_counts_the_parameters_the_engine_builds(ran, file):
    network, config = load(ran.student)
    count = writing(file).described.parameters((config.text.vocabulary,), 0)
    assert count == sum(p.numel() for p in network.parameters()) == config.parameters


def test_what_we_save_transformers_opens_and_writes_the_same(ran):
    network, config = load(ran.student)
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(ran.student), AutoTokenizer.from_pretrained(ran.student)
    given = tokenizer(SOURCES, padding=True, truncation=True, max_length=24, return_tensors="pt")
    with torch.inference_mode():
        theirs = tokenizer.batch_decode(model.generate(**given, max_new_tokens=24), skip_special_tokens=True)
    assert [text.strip() for text in theirs] == texts(network, rows_for(network, config, split()))
    card = (ran.student / "README.md").read_text()
    assert "AutoModelForSeq2SeqLM" in card and "model.generate(**given, max_new_tokens=24)" in card


def test_they_learn_to_write(engine, tmp_path):
    file = write_pairs(tmp_path / "rows.jsonl", rows=400)
    wide = T5 | {"hidden": 64, "heads": 4, "dropout": 0.0}
    done = engine.run(writing(file, student=wide, training={"epochs": 30, "batch_size": 16, "optimizer": {"lr": 2e-3}}))
    metrics = done.report["arms"]["model"]["metrics"]
    assert metrics["chrf"]["mean"] > 0.65 and 1 <= metrics["perplexity"]["mean"] < 3
    assert metrics["chrf"]["ci95"][0] <= metrics["chrf"]["mean"] <= metrics["chrf"]["ci95"][1]
    assert set(metrics) >= {"bleu", "loss", "accuracy"}
    said = probabilities(done.student, read_row("one red house", "seq2seq", Columns()))
    assert said["text"] == "one red house" and set(said["written"].split()) <= set(WORDS.values()) | {""}


def test_a_teacher_writes_the_targets(engine, ran, file, tmp_path):
    """Its texts and no others are learned from, they are written once, and the student alone has the real ones."""
    spec = writing(file, ran.student, recipe="seq_kd", evaluation={"control": True})
    assert spec.resolved().teacher_outputs == "text" and [term.loss for term in spec.terms] == ["cross_entropy"]
    arms = {run.arm: run.spec for run in spec.runs()}
    student = engine.run(arms["student"])
    assert student.report["teacher_outputs"]["mode"] == "text"
    assert engine.run(arms["student"]).report["teacher_outputs"]["cache"] == "hit"
    assert engine.run(arms["control"]).weights != student.weights

    teacher = Teacher(ran.student, Cache(tmp_path / "cache"), torch.device("cpu"), pytest.fail)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    every = TextSplit(
        ([row["source"] for row in rows],), torch.zeros(len(rows), dtype=torch.int64), targets=[row["target"] for row in rows]
    )
    told, _ = by_teacher(teacher, every, lambda _: None)
    assert told.targets == texts(teacher.network, teacher.rows(every)) != every.targets
    path = tmp_path / "written.jsonl"
    path.write_text(
        "".join(json.dumps({"source": row["source"], "target": text}) + "\n" for row, text in zip(rows, told.targets, strict=True))
    )
    by_hand = {"train": {"path": str(path)}, "test": {"path": str(file)}, "validation": 0.3, "max_length": 24}
    alone = engine.run(writing(file, student=T5, tokenizer={"path": str(ran.student)}, data=by_hand))
    assert alone.weights == student.weights


def test_a_teacher_with_tokens_of_its_own_is_measured_by_its_texts(engine, ran, file, tmp_path):
    """Its student's tokens mean nothing to it; ids of another text would be answered all the same."""
    rows = [{"source": "uno dos rojo casa", "target": "un deux rouge maison"}, {"source": "tres azul", "target": "trois bleu"}] * 30
    (tmp_path / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    other = engine.run(writing(tmp_path / "other.jsonl", training={"epochs": 1})).student
    found = engine.run(writing(file, ran.student, recipe="seq_kd", student=T5, tokenizer={"path": str(other)}))
    assert load(found.student)[0].reader.differs(load(ran.student)[0].reader) is not None
    report = found.report
    assert report["mean_kl"] is None and report["agreement"] is None
    assert report["arms"]["teacher"]["metrics"].keys() == {"chrf", "bleu"}
    assert report["arms"]["teacher"]["metrics"]["chrf"]["mean"] == pytest.approx(ran.report["arms"]["model"]["metrics"]["chrf"]["mean"])
    assert {"chrf", "perplexity"} <= report["arms"]["student"]["metrics"].keys()


def test_a_teacher_begins_as_it_has_learned_to_whoever_has_read_the_rows(ran):
    """FLAN-T5 begins with its padding, a student may begin with an end."""
    network, config = load(ran.student)
    given = rows_for(network, config, split()).batch(torch.arange(3)).given
    others = given._replace(decoder=torch.cat([torch.full((3, 1), network.begins + 1), given.decoder[:, 1:]], dim=1))
    with torch.inference_mode():
        assert said_of(network, config, others).logits.equal(said_of(network, config, given).logits)
    assert others.decoder[0, 0] == network.begins + 1, "what is given stays as it is"


def test_texts_are_kept_for_how_they_are_written_too(ran, tmp_path):
    """What `generation_config.json` allows changes the texts, and no weight."""
    rows = TextSplit((list(SOURCES),), torch.zeros(3, dtype=torch.int64), targets=list(TARGETS))
    found = []
    for allowed in (None, {"suppress_tokens": [5, 6]}, None):
        teacher = Teacher(ran.student, Cache(tmp_path / "cache"), torch.device("cpu"), pytest.fail)
        if allowed:
            teacher.network.inner.generation_config.update(**allowed)
        found.append(by_teacher(teacher, rows, lambda _: None)[1].cache)
    assert found == ["built", "built", "hit"]


def test_the_test_texts_are_written_by_the_teacher_once_for_all_seeds(engine, ran, file, monkeypatch):
    asked = []
    plainly = written.texts
    monkeypatch.setattr(written, "texts", lambda network, *more: asked.append(network) or plainly(network, *more))
    spec = writing(file, ran.student, recipe="hinton", evaluation={"seeds": 2})
    first, second = (engine.run(run.spec).report["arms"]["teacher"]["metrics"] for run in spec.runs())
    assert len(asked) == 3, "the teacher and two students"
    assert first["chrf"] == second["chrf"] and first["bleu"] == second["bleu"]


@pytest.mark.parametrize("said", [["ä" * 5000, "", "a\0"], ["", "", ""]], ids=["long", "nothing"])
def test_what_a_teacher_wrote_is_kept_to_the_letter(ran, tmp_path, monkeypatch, said):
    teacher = Teacher(ran.student, Cache(tmp_path / "cache"), torch.device("cpu"), pytest.fail)
    monkeypatch.setattr(type(teacher.network), "written", lambda _self, given: said[: len(given.ids)])
    alike = TextSplit((["one", "two", "red"],), torch.zeros(3, dtype=torch.int64), targets=["eins", "zwei", "rot"])
    for cached in ("built", "hit"):
        new, done = by_teacher(teacher, alike, lambda _: None)
        assert new.targets == said and done.cache == cached


def test_a_student_learns_the_same_from_kept_answers_as_from_live_ones(engine, file, ran):
    spec = {"student": T5 | {"layers": 1}, "recipe": "hinton", "training": {"epochs": 2, "batch_size": 16, "micro_batch_size": 5}}
    kept_is_live(engine, partial(writing, file, ran.student, **spec))


def test_kept_answers_belong_to_these_targets(ran, tmp_path, monkeypatch):
    """In shards of a row or two: each place has its own answer, and another target is another question."""
    monkeypatch.setattr(teacher_tokens, "SHARD", 12)
    teacher = Teacher(ran.student, Cache(tmp_path / "cache"), torch.device("cpu"), pytest.fail)
    rows = rows_for(teacher.network, teacher.config, split())
    found = teacher_tokens.outputs(teacher, rows, 10**6)
    assert len(found.ids) > 1 and found.summary()["bytes"] == teacher_tokens.size(rows, found.classes)
    for index in (torch.tensor([1]), torch.tensor([2, 0, 2])):
        with torch.no_grad():
            live = said_of(teacher.network, teacher.config, rows.batch(index).given).logits
        said = found.of(index, None)
        beside = said.beside(said.features, torch.zeros(len(said.features), said.classes), 1.0)
        torch.testing.assert_close(F.log_softmax(beside, -1), F.log_softmax(live, -1), rtol=2e-2, atol=2e-2)
    assert teacher_tokens.outputs(teacher, rows, 10**6).built.how == "hit"
    for changed in (replace(rows, goal=rows.goal.flip(0)), replace(rows, first=rows.first + 1)):
        assert teacher_tokens.outputs(teacher, changed, 10**6).built.how == "built"


def test_other_encoder_decoders_open_and_say_what_they_say(ran, tmp_path):
    """BART, which adds a bias after its head and has positions to run out of, in both halves."""
    from transformers import BartConfig, BartForConditionalGeneration

    vocabulary = load(ran.student)[1].text.vocabulary
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    wide = {"d_model": 16, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 20, "vocab_size": vocabulary + 3}
    torch.manual_seed(0)
    model = BartForConditionalGeneration(BartConfig(**sizes, **wide, pad_token_id=0, eos_token_id=3, decoder_start_token_id=2)).eval()
    torch.nn.init.normal_(model.final_logits_bias)
    model.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((ran.student / name).read_bytes())
    network, config = load(tmp_path)
    assert (config.task, config.text.max_length, network.begins) == ("seq2seq", 20, 2)
    given = rows_for(network, config, split()).batch(torch.arange(3)).given
    with torch.inference_mode():
        theirs = model(input_ids=given.ids, attention_mask=given.mask.long(), decoder_input_ids=given.decoder).logits
        ours = said_of(network, config, given).logits
    torch.testing.assert_close(ours, theirs.flatten(0, 1)[given.asked][:, :vocabulary], rtol=1e-4, atol=1e-5)


def test_texts_that_are_alike_are_near():
    found = nearness(["a red house", "two"], ["a red house", "two"])
    assert found["chrf"]["mean"] == pytest.approx(1) and found["chrf"]["ci95"] == pytest.approx([1, 1])
    assert nearness(["x"], ["a red house"])["chrf"]["mean"] < 0.1
    some = nearness(["a red house", "two", "tree", "the sea"], ["a red horse", "two", "three", "the lake"])
    json.dumps(some)
    json.dumps(nearness(["a red house", "", "zzz"], ["a red house", "two", "tree"]))  # also where some have nothing in common
    for figure in some.values():
        assert figure["ci95"][0] <= figure["mean"] <= figure["ci95"][1]
    assert some["chrf"]["ci95"][0] < some["chrf"]["ci95"][1] < 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"student": {"arch": "bert"}}, "bert is not made for seq2seq; for that there are t5"),
        ({"recipe": "seq_kd", "teacher_outputs": "live"}, "with this recipe it is text"),
        ({"teacher_outputs": "text"}, "what the teacher writes has no logits to compare with"),
        ({"teacher_outputs": "cached", "recipe": "logit_mse"}, r"recipe\.name: of kept tokens only probabilities are known"),
        ({"teacher_outputs": "live", "teacher_top_k": 8}, r"teacher_top_k: this goes with seq2seq or causal-lm"),
        ({"task": "masked-lm", "student": {"arch": "bert"}, "recipe": "seq_kd"}, "seq_kd is for seq2seq and causal-lm, not masked-lm"),
    ],
)
def test_what_makes_no_sense_of_texts_is_refused(file, changes, said):
    with pytest.raises(InvalidSpec, match=said):
        writing(file, file.parent, **changes)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"source": "a", "goal": "b"}, "no column is called `target`"),
        ({"source": "a", "target": 1}, "column 'target' holds int64, and text is to be written"),
        ({"number": 1, "target": "b"}, "no column holds text"),
    ],
)
def test_columns_that_will_not_do_are_named(engine, tmp_path, row, said):
    path = tmp_path / "rows.jsonl"
    path.write_text(2 * (json.dumps(row) + "\n"))
    with pytest.raises(InvalidSpec, match=said):
        engine.run(writing(path))


def test_layers_of_an_encoder_decoder_are_taken_in_both_halves(ran, tmp_path):
    """BART calls its depths otherwise than T5; and there must be such a layer in the shallower half."""
    from transformers import BartConfig, BartForConditionalGeneration

    vocabulary = load(ran.student)[1].text.vocabulary
    sizes = {"encoder_layers": 3, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    wide = {"d_model": 16, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 20, "vocab_size": vocabulary}
    config = BartConfig(**sizes, **wide, pad_token_id=0, eos_token_id=3, decoder_start_token_id=2)
    BartForConditionalGeneration(config).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((ran.student / name).read_bytes())
    made_for = load(tmp_path)[1].made_for
    network, _ = from_layers(tmp_path, [1], "seq2seq", made_for)
    inner = network.inner.model
    assert (len(inner.encoder.layers), len(inner.decoder.layers)) == (1, 1)
    with pytest.raises(InvalidSpec, match="there is no layer 2; that network has 2"):
        from_layers(tmp_path, [0, 2], "seq2seq", made_for)
