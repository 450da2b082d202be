"""Masked and causal language models: what they are asked for, that no piece or part of a step changes the loss, what is refused."""

import copy
import math
import re

import engine_texts
import pytest
import torch
import torch.nn.functional as F
from engine_runs import Engine, whole_steps
from engine_texts import TRANSFORMER, write_texts
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from contract.errors import InvalidSpec
from contract.model import Reading
from contract.registry import Cosine, CrossEntropy, HiddenMse, Kl
from distill.data.batch import IGNORED
from distill.data.rows import TextSplit
from distill.device import threads
from distill.inner import comparison
from distill.networks import load, rows_for, said_of
from distill.objectives import Objective

MODELS = {
    "bert": ("masked-lm", {"arch": "bert", **TRANSFORMER}),
    "roberta": ("masked-lm", {"arch": "roberta", **TRANSFORMER}),
    "distilbert": ("masked-lm", {"arch": "distilbert", **TRANSFORMER}),
    "gpt2": ("causal-lm", {"arch": "gpt2", **TRANSFORMER}),
    "qwen2": ("causal-lm", {"arch": "qwen2", **TRANSFORMER, "dropout": 0.0}),
    "llama": ("causal-lm", {"arch": "llama", **TRANSFORMER, "dropout": 0.0}),
    "lstm": ("causal-lm", {"arch": "lstm", "embedding": 8, "hidden": 8}),
    "gru": ("causal-lm", {"arch": "gru", "embedding": 8, "hidden": 8}),
}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("texts") / "rows.jsonl", rows=260)


def language(file, name="bert", teacher=None, **changes):
    task, student = MODELS[name]
    return engine_texts.language(file, changes.pop("task", task), changes.pop("student", student), teacher, **changes)


@pytest.fixture(scope="module")
def ran(tmp_path_factory, file):
    engine = Engine(tmp_path_factory.mktemp("language"))
    with threads(1):
        return {name: engine.run(language(file, name)) for name in MODELS}


def rows_of(folder, texts, measured=True):
    network, config = load(folder)
    split = TextSplit((texts,), torch.zeros(len(texts), dtype=torch.int64))
    return network, config, rows_for(network, config, split, measured=measured)


TEXTS = ["the old apple is on the table", "a small hammer near the new house", "pear", "one saw was under the big old garden house today"]


@pytest.mark.parametrize("name", MODELS)
def test_the_contract_counts_the_parameters_the_engine_builds(ran, name):
    network, config = load(ran[name].student)
    spec = language("x.jsonl", name)
    count = spec.described.parameters((config.text.vocabulary,), 0)
    assert count == sum(p.numel() for p in network.parameters()) == config.parameters


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen2", "lstm", "gru"])
def test_each_token_is_told_from_those_before_it_alone(ran, name):
    """Shifted by one, and blind to what comes: changing a token changes nothing that was told before it."""
    network, config, rows = rows_of(ran[name].student, TEXTS)
    batch = rows.batch(torch.arange(len(rows)))
    ids, mask = batch.given.ids, batch.given.mask
    by_hand = [int(ids[r, c + 1]) for r in range(len(ids)) for c in range(ids.shape[1] - 1) if mask[r, c + 1]]
    assert batch.labels.tolist() == by_hand
    with torch.no_grad():
        before = said_of(network, config, batch.given).logits
        other = ids.clone()
        other[0, 5] = (other[0, 5] + 1) % config.text.vocabulary
        after = said_of(network, config, batch.given._replace(ids=other)).logits
    torch.testing.assert_close(after[:5], before[:5], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(after[5], before[5])


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "gpt2", "llama", "qwen2"])
def test_what_we_save_transformers_opens_and_says_the_same(ran, name):
    network, config, rows = rows_of(ran[name].student, TEXTS)
    given = rows.batch(torch.arange(len(rows))).given
    kind = AutoModelForMaskedLM if MODELS[name][0] == "masked-lm" else AutoModelForCausalLM
    model = kind.from_pretrained(ran[name].student).eval()
    with torch.no_grad():
        theirs = model(input_ids=given.ids, attention_mask=given.mask.long()).logits.flatten(0, 1)[given.asked]
        torch.testing.assert_close(said_of(network, config, given).logits, theirs, rtol=1e-4, atol=1e-5)


def test_masks_are_as_published_and_new_in_every_epoch(ran):
    texts = TEXTS * 400
    network, _config, rows = rows_of(ran["bert"].student, texts, measured=False)
    every = torch.arange(len(rows))
    torch.manual_seed(0)
    first, second = rows.batch(every), rows.batch(every)
    assert not first.given.ids.equal(second.given.ids)
    plain = rows.tokens(every)
    counted = first.labels != IGNORED
    asked = first.given.asked
    original, shown = plain.ids.flatten()[asked], first.given.ids.flatten()[asked]
    assert first.counted == int(counted.sum())
    assert first.labels[counted].equal(original[counted]) and shown[~counted].equal(original[~counted])
    end = network.reader.end
    assert not (original[counted] == end).any(), "special tokens are never masked"
    share = counted.sum() / (original != end).sum()
    assert share == pytest.approx(0.15, abs=0.01)
    masked = shown[counted] == rows.mask_id
    kept = shown[counted] == original[counted]
    assert masked.float().mean() == pytest.approx(0.8, abs=0.03)
    assert kept.float().mean() == pytest.approx(0.1, abs=0.03)


def test_measured_rows_have_the_same_masks_for_every_network(ran):
    _, _, rows = rows_of(ran["bert"].student, TEXTS * 20)
    torch.manual_seed(1)
    whole = rows.batch(torch.arange(len(rows)))
    torch.manual_seed(2)
    alone = rows.batch(torch.tensor([3]))
    assert whole.given.ids[3].equal(alone.given.ids[0])


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_padding_counts_in_no_term(ran, name):
    """A batch with a short last block against its blocks one by one, without padding, in float64. Of each block of a causal model all
    tokens count but the last, which has no next one."""
    network, config, rows = rows_of(ran[name].student, TEXTS * 3)
    network.eval()
    teacher = copy.deepcopy(network)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in teacher.parameters():
            weight += 0.1 * torch.randn_like(weight)
    batch, looks = rows.batch(torch.arange(len(rows))), frozenset({"states"})
    lengths = batch.given.mask.sum(1).tolist()
    assert min(lengths) < max(lengths), "something must be padded"
    mine, theirs = (said_of(one, config, batch.given, looks) for one in (network, teacher))
    terms = [Kl(temperature=2.0), HiddenMse(), Cosine(), CrossEntropy()]
    compared = {place: comparison(terms[place], "", mine.inside, theirs.inside) for place in (1, 2)}
    _, found = Objective(terms, compared)(mine, batch.labels, theirs)

    sums, told, tokens, right = [0.0, 0.0, 0.0, 0.0], batch.labels.tolist(), 0, 0
    for row, length in enumerate(lengths):
        ids, asked = batch.given.ids[row : row + 1, :length], length if name == "bert" else length - 1
        given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "output_hidden_states": True}
        with torch.no_grad():
            s, t = (one.double().inner(**given) for one in (network, teacher))
        z_s, z_t = (F.log_softmax(each.logits[0, :asked, : network.reader.vocabulary] / 2, 1) for each in (s, t))
        sums[0] += float(4 * (z_t.exp() * (z_t - z_s)).sum())
        h_s, h_t = s.hidden_states[-1][0, :asked], t.hidden_states[-1][0, :asked]
        sums[1] += float((h_s - h_t).square().mean(1).sum())
        sums[2] += float((1 - F.cosine_similarity(h_s, h_t)).sum())
        labels, told = torch.tensor(told[:asked]), told[asked:]
        hard = F.cross_entropy(s.logits[0, :asked, : network.reader.vocabulary], labels, ignore_index=IGNORED, reduction="sum")
        sums[3], right, tokens = sums[3] + float(hard), right + int((labels != IGNORED).sum()), tokens + asked
    counts = [tokens, tokens, tokens, right]
    assert [part.item() for part in found] == pytest.approx([total / of for total, of in zip(sums, counts, strict=True)], rel=1e-4)


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_micro_batches_give_the_step_of_the_whole_batch(engine, file, ran, name):
    """Parts with unlike numbers of tokens counted: a mean of means would be another loss (huggingface/transformers#34191)."""
    task, student = MODELS[name]
    hard = {"loss": "mlm" if task == "masked-lm" else "clm"}
    terms = [{"loss": "kl", "weight": 2.0}, hard, {"loss": "cosine"}]
    quiet = {"student": student | {"dropout": 0.0}, "objective": terms, "data": {"max_length": 15}}
    whole = engine.run(language(file, name, ran[name].student, training={"epochs": 1, "optimizer": {"name": "sgd", "lr": 0.1}}, **quiet))
    training = {"epochs": 1, "optimizer": {"name": "sgd", "lr": 0.1}, "micro_batch_size": 3}
    in_parts = engine.run(language(file, name, ran[name].student, training=training, **quiet))
    if task == "causal-lm":  # masks are drawn in another order, so that only without them steps can be compared
        for (_, a), (_, b) in zip(whole_steps(whole), whole_steps(in_parts), strict=True):
            assert a == pytest.approx(b, rel=2e-3, abs=1e-5)


def test_a_teacher_is_its_own_perfect_student(engine, file, ran):
    """Same weights: no divergence, no angle; perplexity to the digit."""
    teacher = ran["bert"].student
    spec = language(
        file, "bert", teacher, student={"path": str(teacher)}, recipe="distilbert", training={"epochs": 1, "optimizer": {"lr": 1e-12}}
    )
    report = engine.run(spec).report
    assert report["mean_kl"] == pytest.approx(0, abs=1e-6)
    assert report["agreement"]["mean"] == pytest.approx(1.0, abs=1e-3)
    arms = {name: arm["metrics"]["perplexity"]["mean"] for name, arm in report["arms"].items()}
    assert arms["student"] == pytest.approx(arms["teacher"], rel=1e-5)
    assert report["retained"]["mean"] == pytest.approx(1.0, rel=1e-5)


def test_perplexity_is_e_to_the_mean_loss_of_the_tokens_asked_for(ran, file):
    network, config, rows = rows_of(ran["gpt2"].student, TEXTS * 5)
    with torch.no_grad():
        batches = [rows.batch(torch.tensor([i])) for i in range(len(rows))]
        losses = [F.cross_entropy(said_of(network, config, b.given).logits.double(), b.labels, reduction="none") for b in batches]
    from distill.evaluate import measure_tokens, tell

    found = measure_tokens(tell(network, config, rows), config).metrics
    assert found["perplexity"]["mean"] == pytest.approx(math.exp(torch.cat(losses).mean().item()), rel=1e-5)
    low, high = found["perplexity"]["ci95"]
    assert low < found["perplexity"]["mean"] < high


@pytest.mark.parametrize("name", ["bert", "gpt2", "lstm"])
def test_a_run_stopped_at_any_step_goes_on_to_the_same_weights(engine, file, ran, name):
    """Dynamic masks, dropout, a learned projection and a live teacher among what must come back."""
    student = MODELS[name][1] | ({"hidden": 8, "dropout": 0.2} if name != "lstm" else {"dropout": 0.2})
    terms = [{"loss": "kl"}, {"loss": "cross_entropy"}, {"loss": "hidden_mse"}]
    spec = language(file, name, ran["bert" if name == "bert" else "gpt2"].student, student=student, objective=terms)
    undisturbed = engine.run(spec)
    for step in (1, 4):
        stopped = engine.run(spec, stop_after=step)
        assert engine.run(spec, resume=stopped.checkpoints).weights == undisturbed.weights


def test_half_the_layers_with_the_triple_loss(engine, file, ran):
    """DistilBERT in small: student of the teacher's layers, kl, mlm and cosine; a control that has the same start."""
    spec = language(
        file, "bert", ran["bert"].student, student={"init": "teacher", "layers": [0, 2]}, recipe="distilbert", evaluation={"control": True}
    )
    runs = {run.arm: engine.run(run.spec) for run in spec.runs()}
    names = {name for _, metrics in runs["student"].curve() for name in metrics if name.startswith("train/loss/")}
    assert names == {"train/loss/kl", "train/loss/mlm", "train/loss/cosine"}
    assert runs["control"].report["arms"]["model"]["parameters"] == runs["student"].report["arms"]["student"]["parameters"]
    assert runs["student"].report["metric"] == "perplexity" and runs["student"].report["teacher_outputs"]["mode"] == "live"


def test_a_language_model_becomes_a_classifier(engine, file, ran):
    from engine_texts import texts

    report = engine.run(texts(file, student={"path": str(ran["bert"].student)}, training={"epochs": 1}))
    assert load(report.student)[1].classes == ["fruit", "tool"]


def test_other_vocabularies_are_refused_with_the_ids_that_differ(engine, file, ran):
    spec = language(file, "gpt2", ran["gpt2"].student, tokenizer={"vocabulary": 300, "lowercase": False})
    with pytest.raises(InvalidSpec, match=r"different vocabularies: [0-9,]+ of [0-9,]+ tokens differ \('.*' is .* and .*\)"):
        engine.run(spec)


def test_cosine_of_unlike_widths_says_what_works(engine, file, ran):
    spec = language(file, "bert", ran["bert"].student, student=MODELS["bert"][1] | {"hidden": 8}, recipe="distilbert")
    with pytest.raises(InvalidSpec, match="the student's have 8 values, the teacher's 16") as caught:
        engine.run(spec)
    assert "hidden_mse" in caught.value.hint


def test_a_classifier_cannot_teach_a_language_model(engine, file, ran):
    with pytest.raises(InvalidSpec, match="it is no network for masked-lm"):
        engine.run(language(file, "bert", ran["gpt2"].student))


def test_padded_vocabularies_are_cut_to_the_tokenizers(ran, tmp_path):
    """Rows of the embeddings beyond what the tokenizer knows, as Qwen has them (trl#2215): softmax must not see them."""
    network, config, rows = rows_of(ran["gpt2"].student, TEXTS)
    given = rows.batch(torch.arange(len(rows))).given
    with torch.no_grad():
        before = said_of(network, config, given).logits
        network.inner.resize_token_embeddings(config.text.vocabulary + 37)
        said = said_of(network, config, given)
        assert said.classes == config.text.vocabulary
        assert said.logits.equal(before)


def test_a_step_that_does_not_fit_is_done_in_parts_and_is_the_same_step(engine, file, ran, monkeypatch):
    """The allocator refuses more than 4 rows: one retry with a quarter of the batch, at the same batch; the loss is the one it would be."""
    from distill import loop

    spec = language(file, "gpt2", ran["gpt2"].student, student=MODELS["gpt2"][1] | {"dropout": 0.0}, training={"epochs": 1})
    fits = engine.run(spec)
    real, asked = loop.said_of, []

    def small(network, config, given, hidden=False):
        asked.append(len(given.ids))
        if network.training and len(given.ids) > 4:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
            )
        return real(network, config, given, hidden)

    monkeypatch.setattr(loop, "said_of", small)
    done = engine.run(spec)
    assert asked[:2] == [16, 4]
    assert sum("memory ran out: going on with 4 rows at a time" in warning for warning in done.warnings) == 1
    for (_, a), (_, b) in zip(whole_steps(fits), whole_steps(done), strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-5)


def test_memory_that_is_not_there_for_a_quarter_either_is_an_error(engine, file, monkeypatch):
    from distill import loop

    def never(*given):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(loop, "said_of", never)
    with pytest.raises(torch.OutOfMemoryError) as raised:
        engine.run(language(file, "gpt2"))
    (note,) = raised.value.__notes__
    said = re.fullmatch(r"weights, gradients and moments take [\d.]+ [kM]B, and 4 rows at a time did not fit beside them", note)
    assert said, note


def test_no_block_is_longer_than_a_network_can_read(ran):
    """Of a token too many there is nothing to tell, and it must not make a block of one more."""
    reader = load(ran["gpt2"].student)[0].reader
    one = len(reader.tokenizer.encode("pear", add_special_tokens=False).ids) + 1
    reading = Reading(texts=1, vocabulary=reader.vocabulary, max_length=4 * one)
    for task in ("causal-lm", "masked-lm"):
        for extra in ("", reader.tokenizer.id_to_token(reader.end)):
            split = TextSplit((["pear"] * 8 + [extra] * bool(extra),), torch.zeros(8 + bool(extra), dtype=torch.int64))
            blocks = reader.blocks(split, reading, task, 0.15)
            assert blocks.lengths.max() <= reading.max_length and int(blocks.starts[-1]) == len(blocks.flat)
    odd = reader.blocks(TextSplit((["pear"] * 8 + [""],), torch.zeros(9, dtype=torch.int64)), reading, "causal-lm", 0.15)
    assert (len(odd), len(odd.flat)) == (2, 8 * one)
