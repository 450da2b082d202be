"""What is kept of a language model's answers: the mass of every token, the place of every block, and files that can go one by one."""

import pytest
import torch
import torch.nn.functional as F
from engine_runs import Engine
from engine_texts import TRANSFORMER, language, write_texts

from contract.errors import InvalidSpec
from distill import teacher_tokens
from distill.data.rows import TextSplit
from distill.device import threads
from distill.networks import rows_for, said_of
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
    teacher = Teacher(folder, tmp_path / "cache", torch.device("cpu"), pytest.fail)
    words = [f"the old {word} is near the {other} today" for word in ("apple", "saw", "pear") for other in ("house", "table", "garden")] * 8
    rows = rows_for(teacher.network, teacher.config, TextSplit((words,), torch.zeros(len(words), dtype=torch.int64)))
    return teacher, rows


def live(teacher, rows, index):
    with torch.no_grad():
        return said_of(teacher.network, teacher.config, rows.batch(index).given).logits


@pytest.mark.parametrize("k", [1, 8, 10**6])
def test_every_token_keeps_its_likeliest_and_the_mass_of_the_rest(asked, k):
    """In any order of blocks, out of several shards; with all tokens kept it is the whole answer."""
    teacher, rows = asked
    found = teacher_tokens.outputs(teacher, rows, k)
    assert len(found.ids) > 3, "the blocks are in several files"
    index = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    expected = F.softmax(live(teacher, rows, index), -1)
    got = F.softmax(found.of(index, None).logits, -1)
    assert got.shape == expected.shape
    top = expected.topk(min(k, expected.shape[1]), -1)
    torch.testing.assert_close(got.gather(1, top.indices), top.values, rtol=2e-2, atol=1e-4)
    torch.testing.assert_close(got.sum(1), torch.ones(len(got)))
    rest = 1 - top.values.sum(1)
    torch.testing.assert_close(1 - got.gather(1, top.indices).sum(1), rest, rtol=2e-2, atol=2e-3)
    if k < expected.shape[1]:
        others = got.scatter(1, top.indices, torch.nan)
        spread = others.nan_to_num(torch.inf).amin(1), others.nan_to_num(-torch.inf).amax(1)
        torch.testing.assert_close(*spread)


def test_some_blocks_are_those_blocks(asked):
    teacher, rows = asked
    found = teacher_tokens.outputs(teacher, rows, 10**6)
    for index in (torch.tensor([3]), torch.tensor([7, 2, 7, len(rows) - 1])):
        torch.testing.assert_close(
            F.log_softmax(found.of(index, None).logits, -1), F.log_softmax(live(teacher, rows, index), -1), rtol=2e-2, atol=2e-2
        )


def test_files_are_found_again_and_one_that_is_gone_is_asked_for_alone(asked, monkeypatch):
    teacher, rows = asked
    first = teacher_tokens.outputs(teacher, rows, 4)
    assert (first.cache, teacher_tokens.outputs(teacher, rows, 4).cache) == ("built", "hit")
    files = sorted(teacher.cache.rglob("*.safetensors"))
    assert len(files) == len(first.ids)
    files[1].unlink()
    passes = []
    real = teacher_tokens._ask
    monkeypatch.setattr(teacher_tokens, "_ask", lambda *given: passes.append(given[2]) or real(*given))
    again = teacher_tokens.outputs(teacher, rows, 4)
    assert (again.cache, len(passes)) == ("built", 1)
    index = torch.arange(len(rows))
    assert again.of(index, None).logits.equal(first.of(index, None).logits)
    assert teacher_tokens.outputs(teacher, rows, 5).cache == "built", "another number is another question"


def test_what_it_says_it_takes_is_what_it_takes(asked):
    teacher, rows = asked
    found = teacher_tokens.outputs(teacher, rows, 4)
    assert found.summary()["bytes"] == teacher_tokens.size(rows, 4)


def test_a_student_learns_the_same_from_kept_answers_as_from_live_ones(engine, file, folder):
    """Shuffled, in micro-batches, and stopped in between; the whole answer kept, so that only rounding differs."""
    terms = [{"loss": "kl", "temperature": 2.0}, {"loss": "clm"}]
    student = GPT | {"hidden": 8}
    heard = engine.run(causal(file, folder, student=student, objective=terms, training={"micro_batch_size": 5}))
    kept = causal(
        file, folder, student=student, objective=terms, training={"micro_batch_size": 5}, teacher_outputs="cached", teacher_top_k=65_536
    )
    read = engine.run(kept)
    assert (heard.report["teacher_outputs"]["mode"], read.report["teacher_outputs"]["mode"]) == ("live", "cached")
    for (_, a), (_, b) in zip(heard.curve(), read.curve(), strict=True):
        assert a == pytest.approx(b, rel=2e-2, abs=2e-3)
    stopped = engine.run(kept, stop_after=3)
    assert engine.run(kept, resume=stopped.checkpoints).weights == read.weights
    again = engine.run(kept)
    assert again.report["teacher_outputs"]["cache"] == "hit" and again.weights == read.weights


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": "masked-lm", "student": {"arch": "bert"}}, "masks are new in every epoch"),
        ({"objective": [{"loss": "kl"}, {"loss": "hidden_mse"}]}, "hidden states, which are not kept"),
        ({"teacher_outputs": "live", "teacher_top_k": 8}, "goes with causal-lm and"),
    ],
)
def test_what_cannot_be_kept_is_refused(file, folder, changes, said):
    with pytest.raises(InvalidSpec, match=said):
        causal(file, folder, **{"teacher_outputs": "cached", **changes})
