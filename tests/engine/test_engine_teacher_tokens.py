"""What is kept of a language model's answers: the mass of every token, the place of every block, and files that can go one by one."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from engine_runs import Engine
from engine_texts import TRANSFORMER, kept_is_live, language, write_texts

from contract.errors import InvalidSpec
from contract.registry import Kl, ReverseKl
from distill import teacher_tokens
from distill.cache import Cache
from distill.data.rows import TextSplit
from distill.device import threads
from distill.networks import rows_for, said_of
from distill.objectives import Objective, Said
from distill.teacher import Teacher

GPT = {"arch": "gpt2", **TRANSFORMER, "dropout": 0.0}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("texts") / "rows.jsonl", rows=260)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, file):
    with threads(1):
        return Engine(tmp_path_factory.mktemp("teacher")).run(causal(file)).student


def causal(file, teacher=None, **changes):
    return language(file, changes.pop("task", "causal-lm"), changes.pop("student", GPT), teacher, **changes)


@pytest.fixture
def asked(folder, tmp_path, monkeypatch):
    """A teacher, 40 blocks, and its answers in shards of a few blocks."""
    monkeypatch.setattr(teacher_tokens, "SHARD", 100)
    teacher = Teacher(folder, Cache(tmp_path / "cache"), torch.device("cpu"), pytest.fail)
    words = [f"the old {word} is near the {other} today" for word in ("apple", "saw", "pear") for other in ("house", "table", "garden")] * 8
    rows = rows_for(teacher.network, teacher.config, TextSplit((words,), torch.zeros(len(words), dtype=torch.int64)))
    return teacher, rows


def live(teacher, rows, index):
    with torch.no_grad():
        return said_of(teacher.network, teacher.config, rows.batch(index).given).logits


def beside(found, index, z_s=None, temperature=1.0):
    """The teacher's logits beside a student's, which knows nothing when not said."""
    said = found.of(index, None)
    z_s = torch.zeros(len(said.features), said.classes) if z_s is None else z_s
    return said.beside(said.features, z_s, temperature)


@pytest.mark.parametrize("k", [1, 8, 10**6])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_every_token_keeps_its_likeliest_and_the_mass_of_the_rest(asked, k, temperature):
    """In any order of blocks, out of several shards; with all tokens kept it is the whole answer."""
    teacher, rows = asked
    found = teacher_tokens.outputs(teacher, rows, k, (1.0, 2.0))
    assert len(found.ids) > 3, "the blocks are in several files"
    index = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    expected = F.softmax(live(teacher, rows, index) / temperature, -1)
    z_s = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    got = F.softmax(beside(found, index, z_s, temperature) / temperature, -1)
    assert got.shape == expected.shape
    top = expected.topk(min(k, expected.shape[1]), -1)
    torch.testing.assert_close(got.gather(1, top.indices), top.values, rtol=2e-2, atol=1e-4)
    torch.testing.assert_close(got.sum(1), torch.ones(len(got)))
    rest = 1 - top.values.sum(1)
    torch.testing.assert_close(1 - got.gather(1, top.indices).sum(1), rest, rtol=2e-2, atol=2e-3)
    if k < expected.shape[1]:
        mine = F.softmax((z_s / temperature).scatter(1, top.indices, -torch.inf), -1)
        theirs = got.scatter(1, top.indices, 0.0)
        torch.testing.assert_close(theirs / theirs.sum(1, keepdim=True), mine, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("term", [Kl(temperature=2.0), ReverseKl(temperature=2.0)], ids=["kl", "reverse_kl"])
def test_of_the_rest_nothing_is_taught_but_its_mass(asked, term):
    """In float64: the divergence between the kept tokens and one more, the rest, and the gradient of that."""
    teacher, rows = asked
    found = teacher_tokens.outputs(teacher, rows, 8, (2.0,))
    said = found.of(torch.arange(4), None)
    z_s = torch.randn(len(said.features), said.classes, generator=torch.Generator().manual_seed(1)).requires_grad_()
    total, _ = Objective([term])(Said.of(z_s), torch.zeros(len(z_s), dtype=torch.int64), said)
    (gradient,) = torch.autograd.grad(total, z_s)
    ids, gaps, rest = found._kept(said.features, 2.0)
    p_t = torch.softmax(torch.cat([-gaps.double() / 2, rest.double()[:, None]], 1), 1)
    z = z_s.detach().double().requires_grad_()
    p = torch.softmax(z / 2, 1)
    kept = p.gather(1, ids)
    p_s = torch.cat([kept, 1 - kept.sum(1, keepdim=True)], 1)
    a, b = (p_t, p_s) if isinstance(term, Kl) else (p_s, p_t)
    expected = 4 * (a * (a / b).log()).sum(1).mean()
    (right,) = torch.autograd.grad(expected, z)
    assert total.item() == pytest.approx(expected.item(), rel=1e-4)
    torch.testing.assert_close(gradient.double(), right, rtol=1e-3, atol=1e-7)


def test_some_blocks_are_those_blocks(asked):
    teacher, rows = asked
    found = teacher_tokens.outputs(teacher, rows, 10**6)
    for index in (torch.tensor([3]), torch.tensor([7, 2, 7, len(rows) - 1])):
        torch.testing.assert_close(
            F.log_softmax(beside(found, index), -1), F.log_softmax(live(teacher, rows, index), -1), rtol=2e-2, atol=2e-2
        )


def test_files_are_found_again_and_one_that_is_gone_is_asked_for_alone(asked, monkeypatch):
    teacher, rows = asked
    first = teacher_tokens.outputs(teacher, rows, 4)
    assert (first.built.how, teacher_tokens.outputs(teacher, rows, 4).built.how) == ("built", "hit")
    files = sorted(teacher.cache.folder.rglob("*.safetensors"))
    assert len(files) == len(first.ids)
    files[1].unlink()
    passes = []
    real = teacher_tokens._ask
    monkeypatch.setattr(teacher_tokens, "_ask", lambda *given: passes.append(given[2]) or real(*given))
    again = teacher_tokens.outputs(teacher, rows, 4)
    assert (again.built.how, len(passes)) == ("built", 1)
    index = torch.arange(len(rows))
    assert beside(again, index).equal(beside(first, index))
    assert teacher_tokens.outputs(teacher, rows, 5).built.how == "built", "another number is another question"
    assert teacher_tokens.outputs(teacher, rows, 4, (1.0, 2.0)).built.how == "built", "and so is another temperature"


def test_what_it_says_it_takes_is_what_it_takes(asked):
    teacher, rows = asked
    found = teacher_tokens.outputs(teacher, rows, 4)
    assert found.summary()["bytes"] == teacher_tokens.size(rows, 4)
    assert teacher_tokens.outputs(teacher, rows, 4, (1.0, 2.0)).summary()["bytes"] == teacher_tokens.size(rows, 4, 2)


def test_a_student_learns_the_same_from_kept_answers_as_from_live_ones(engine, file, folder):
    terms = [{"loss": "kl", "temperature": 2.0}, {"loss": "clm"}]
    kept_is_live(engine, partial(causal, file, folder, student=GPT | {"hidden": 8}, objective=terms, training={"micro_batch_size": 5}))


def test_kept_answers_that_nobody_asks_for_are_no_fault(engine, file, folder):
    silent = causal(file, folder, recipe={"name": "hinton", "alpha": 0.0}, teacher_outputs="cached", training={"epochs": 1})
    assert engine.run(silent).report["teacher_outputs"]["mode"] == "cached"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": "masked-lm", "student": {"arch": "bert"}}, "masks are new in every epoch"),
        ({"objective": [{"loss": "kl"}, {"loss": "hidden_mse"}]}, "looks inside the teacher, of which nothing is kept"),
        ({"teacher_outputs": "live", "teacher_top_k": 8}, "this goes with seq2seq or causal-lm and"),
        ({"recipe": "logit_mse"}, r"recipe\.name: of kept tokens only probabilities are known"),
        ({"objective": [{"loss": "kl", "weight": 0}, {"loss": "clm"}, {"loss": "logit_mse"}]}, r"objective\.2\.loss: of kept tokens"),
        ({"objective": [{"loss": "logit_mse"}]}, r"objective\.0\.loss: of kept tokens only probabilities are known"),
        (
            {"objective": [{"loss": "kl", "anneal": {"temperature": 1.0}}]},
            r"anneal\.temperature: .*temperatures that stay",
        ),
    ],
)
def test_what_cannot_be_kept_is_refused(file, folder, changes, said):
    with pytest.raises(InvalidSpec, match=said):
        causal(file, folder, **{"teacher_outputs": "cached", **changes})
