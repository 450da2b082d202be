"""A BERT's layers as a DistilBERT, and layers computed again for their gradients: the same numbers either way."""

from functools import partial

import pytest
import torch
from engine_runs import Engine
from engine_texts import STUDENTS, TRANSFORMER, language, texts, write_texts
from transformers import AutoModelForMaskedLM

from contract.errors import InvalidSpec
from distill.data.rows import TextSplit
from distill.device import threads
from distill.networks import compute_again, library, load, rows_for, said_of

BERT = {"arch": "bert", **TRANSFORMER}
SOME = [0, 2]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("texts") / "rows.jsonl")


@pytest.fixture(scope="module")
def ran(tmp_path_factory, file):
    engine = Engine(tmp_path_factory.mktemp("taught"))
    with threads(1):
        return {"masked-lm": engine.run(language(file, "masked-lm", BERT)), "text-classification": engine.run(texts(file, student=BERT))}


def said(network, config):
    rows = rows_for(network, config, TextSplit((["the old apple", "a saw"],), torch.zeros(2, dtype=torch.int64)), measured=True)
    with torch.no_grad():
        return said_of(network, config, rows.batch(torch.arange(len(rows))).given).logits


def test_it_says_what_those_layers_say_without_token_types(ran):
    folder = ran["masked-lm"].student
    _, config = load(folder)
    theirs, _ = library.from_layers(folder, SOME, config.task, config.made_for)
    mine, found = library.from_layers(folder, SOME, config.task, config.made_for, "distilbert")
    theirs.inner.bert.embeddings.token_type_embeddings.weight.data.zero_()
    torch.testing.assert_close(said(mine.eval(), found), said(theirs.eval(), config), rtol=1e-5, atol=1e-6)
    assert found.arch == "distilbert" and not mine.takes_segments
    counts = [sum(p.numel() for p in network.parameters()) for network in (theirs, mine)]
    assert counts[0] - counts[1] == 2 * TRANSFORMER["hidden"]  # two token types; a masked language model has no pooler


@pytest.mark.parametrize("task", ["masked-lm", "text-classification"])
def test_it_is_taught_and_opened_as_one(engine, ran, file, task):
    job = partial(language, file, task) if task == "masked-lm" else partial(texts, file)
    student = {"init": "teacher", "layers": SOME, "arch": "distilbert"}
    objective = [{"loss": "kl"}, {"loss": "cosine" if task == "masked-lm" else "cross_entropy"}]
    done = engine.run(job(teacher=ran[task].student, student=student, objective=objective, evaluation={"control": True}))
    network, _ = load(done.student)
    assert type(network.inner).__name__.startswith("DistilBertFor")
    if task == "masked-lm":
        again = AutoModelForMaskedLM.from_pretrained(done.student).eval()
        ids = torch.tensor([[5, 6, 7]])
        torch.testing.assert_close(again(input_ids=ids).logits, network.eval().inner(input_ids=ids).logits)


def test_other_networks_are_none_to_make_it_of(engine, ran, file):
    roberta = engine.run(texts(file, student=STUDENTS["roberta"])).student
    with pytest.raises(InvalidSpec, match=r"student\.arch: .*that network is a roberta"):
        engine.run(texts(file, roberta, student={"init": "teacher", "layers": [0], "arch": "distilbert"}))


@pytest.mark.parametrize("task", ["masked-lm", "text-classification"])
def test_layers_computed_again_give_the_same_weights_and_keep_less(engine, file, task):
    """Dropout included: it draws the same the second time."""
    job = partial(language, file, task, BERT) if task == "masked-lm" else partial(texts, file, student=BERT)
    kept = {}
    weights = {}
    for again in (False, True):
        count = 0

        def keep(tensor):
            nonlocal count
            count += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            weights[again] = engine.run(job(training={"gradient_checkpointing": again, "epochs": 1})).weights
        kept[again] = count
    assert weights[False] == weights[True]
    assert kept[True] < 0.7 * kept[False]


def test_networks_without_layers_say_so(file, engine):
    with pytest.raises(InvalidSpec, match=r"training\.gradient_checkpointing: bilstm has no layers"):
        texts(file, training={"gradient_checkpointing": True})
    start = engine.run(texts(file)).student
    with pytest.raises(InvalidSpec, match=r"training\.gradient_checkpointing: this network has no layers"):
        engine.run(texts(file, student={"path": str(start)}, training={"gradient_checkpointing": True}))
    with pytest.raises(InvalidSpec, match="no layers"):
        compute_again(torch.nn.Linear(2, 2))
