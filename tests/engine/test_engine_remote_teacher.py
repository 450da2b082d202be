"""A teacher behind an endpoint says what the same network says here, is asked once for each row, and is refused in words where it cannot be
used.
"""

import json
import shutil
from functools import partial

import pytest
from engine_runs import Engine, whole_steps
from engine_texts import TRANSFORMER, language, write_texts
from engine_texts import texts as rows_of_text
from teacher_server import teacher_server
from test_engine_seq2seq import T5, write_pairs

from contract.errors import PotstillError
from contract.events import Stopped
from distill.device import threads
from outward.access import Access
from outward.endpoint import speaker

GPT = {"arch": "gpt2", **TRANSFORMER, "dropout": 0.0}
SOFT = [{"loss": "kl", "temperature": 1.0}, {"loss": "clm"}]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two languages' networks, one that reads by another tokenizer, their data, and a server that has the networks."""
    home = tmp_path_factory.mktemp("remote")
    texts, pairs = write_texts(home / "texts.jsonl", rows=60), write_pairs(home / "pairs.jsonl", rows=40)
    other = write_texts(home / "other.jsonl", rows=60, seed=1)
    other.write_text(other.read_text().replace("garden", "zzyzx").replace("the", "qua"))
    networks = home / "networks"
    with threads(1):
        engine = Engine(home / "engine")
        for name, spec in (
            ("gpt", causal(texts, data={"max_length": 64})),
            ("other", causal(other)),
            ("t5", rows_of_text(pairs, task="seq2seq", student=T5, data={"max_length": 24})),
        ):
            shutil.copytree(engine.run(spec).student, networks / name)
    with teacher_server(networks) as server:
        yield server, networks, texts, pairs


def causal(file, teacher=None, **changes):
    return language(file, "causal-lm", changes.pop("student", GPT), teacher, **changes)


@pytest.fixture
def remote(world, tmp_path):
    """An engine that may ask the server, which behaves."""
    server, *_ = world
    server.control()
    return Engine(tmp_path / "engine", speaker(access(server)))


def access(server, **changes):
    given = {"allowed": server.url, "key": "", "concurrency": 4, "timeout_seconds": 120.0, "patience_seconds": 2.0}
    return Access(**given | changes)


@pytest.mark.parametrize("style", ["prompt_logprobs", "echo"])
def test_a_student_learns_the_same_of_a_remote_teacher_as_of_the_same_network_here(remote, world, style):
    server, networks, texts, _ = world
    server.control(styles=[style])
    student, gpt = GPT | {"hidden": 8}, networks / "gpt"
    told = partial(causal, texts, student=student, objective=SOFT, teacher_top_k=8, evaluation={"control": True})
    here = Engine(remote.home / "here").run(told(gpt, teacher_outputs="cached"))
    there = remote.run(told({"endpoint": server.url, "model": "gpt"}, tokenizer={"path": str(gpt)}))
    for (_, a), (_, b) in zip(whole_steps(here), whole_steps(there), strict=True):
        assert a == pytest.approx(b, rel=2e-3, abs=2e-4)
    mine, theirs = here.report["arms"]["teacher"]["metrics"], there.report["arms"]["teacher"]["metrics"]
    for name in ("perplexity", "loss", "accuracy"):
        assert theirs[name]["mean"] == pytest.approx(mine[name]["mean"], rel=1e-4), name
    assert there.report["agreement"]["mean"] == pytest.approx(here.report["agreement"]["mean"], abs=0.02)
    assert 0 < there.report["mean_kl"] <= here.report["mean_kl"] * 1.01, "the rest is one token: the divergence can only be less"
    outputs, seen = there.report["teacher_outputs"], server.seen()
    paid = [one for one in seen if one["status"] == 200]
    assert outputs["requests"] <= outputs["spent"]["requests"] == len(seen)
    assert outputs["spent"]["prompt_tokens"] == sum(len(one["body"]["prompt"]) for one in paid)
    assert (outputs["mode"], outputs["cache"], outputs["top_k"]) == ("cached", "built", 8)
    teacher = there.report["arms"]["teacher"]
    assert teacher["parameters"] is None and there.report["compression"] is None and "smaller" not in there.report["verdict"]


def test_the_same_questions_are_put_once_whoever_has_them(remote, world):
    """Another seed and another student; another revision asks anew."""
    server, networks, texts, _ = world
    told = partial(causal, texts, objective=SOFT, tokenizer={"path": str(networks / "gpt")})
    teacher = {"endpoint": server.url, "model": "gpt"}
    first = remote.run(told(teacher))
    asked = len(server.seen())
    again = remote.run(told(teacher | {"concurrency": 1}, student=GPT | {"hidden": 8}, training={"seed": 1}))
    assert len(server.seen()) == asked
    assert again.report["teacher_outputs"]["cache"] == "hit" and again.report["teacher_outputs"]["spent"]["requests"] == 0
    assert again.report["teacher_outputs"]["requests"] == first.report["teacher_outputs"]["requests"] > 4
    remote.run(told(teacher | {"revision": "2"}))
    assert len(server.seen()) == 2 * asked


def test_what_it_writes_is_what_the_same_network_writes_here(remote, world):
    """Translations by its chat, and texts gone on from by completions: the same students to the bit."""
    server, networks, texts, pairs = world
    translating = partial(rows_of_text, pairs, task="seq2seq", student=T5, data={"max_length": 24}, recipe="seq_kd")
    going_on = partial(causal, texts, recipe="seq_kd")
    for told, name, most in ((translating, "t5", 24), (going_on, "gpt", 32)):
        here = Engine(remote.home / f"here-{name}").run(told(networks / name))
        given = {"endpoint": server.url, "model": name, "max_tokens": most}
        there = remote.run(told(given, tokenizer={"path": str(networks / name)}))
        assert there.weights == here.weights, name
        assert there.report["teacher_outputs"]["mode"] == "text"
        assert there.report["agreement"] is None and there.report["mean_kl"] is None
    metrics = there.report["arms"]["teacher"]["metrics"]
    assert metrics == {}, "how likely it finds tokens of another tokenizer nobody knows"
    assert {one["path"] for one in server.seen()} == {"chat/completions", "completions"}


TEXT = {"recipe": "seq_kd", "data": {"max_train_samples": 12}}
LATER = {"status": 429, "headers": {"retry-after": "900"}}
MOVED = {"status": 307, "headers": {"location": "http://127.0.0.1:1/"}}
MUTE = json.dumps({"choices": [{"text": "x", "logprobs": {"tokens": ["x"]}}]})
REFUSALS = {
    # name: what the server does, what the spec says besides, the code, words of the message or hint, how often it was asked at most
    "a wrong key": ({"key": "sk-right"}, TEXT, "teacher_refused", "refuses the key", 1),
    "an unknown model": ({}, TEXT | {"model": "gpt-9"}, "teacher_refused", "does not know that model", 1),
    "another address": ({"always": MOVED}, TEXT, "teacher_refused", "sends on", 1),
    "a refusal": ({"always": {"status": 400}}, TEXT, "teacher_refused", "as the test wants it", 1),
    "no JSON": ({"always": {"text": "<html>"}}, TEXT, "teacher_answer_invalid", "no JSON", 1),
    "another schema": ({"always": {"text": '{"result": "x"}'}}, TEXT, "teacher_answer_invalid", "no choices", 1),
    "a huge answer": ({"always": {"huge": 65 << 20}}, TEXT, "teacher_answer_invalid", "larger than 64 MiB", 1),
    "errors without end": ({"always": {"status": 500}}, TEXT, "teacher_unavailable", "HTTP 500", 9),
    "no pause": ({"always": {"status": 429}}, TEXT, "teacher_unavailable", "HTTP 429", 9),
    "too long a pause": ({"always": LATER}, TEXT, "teacher_unavailable", "left alone for 900", 1),
    "silence": ({"always": {"hang": 30}}, TEXT, "teacher_unavailable", "no whole answer within 0.5 s", 9),
    "too many tokens": ({}, TEXT | {"max_tokens_total": 30}, "teacher_tokens_spent", "are used of 30", 9),
    "no probabilities": ({"styles": []}, {"objective": SOFT}, "teacher_refused", "Only no echo", 2),
    "silent about the prompt": ({"always": {"text": MUTE}}, {"objective": SOFT}, "teacher_answer_invalid", "tells no probabilities", 2),
    "other tokens": ({}, {"objective": SOFT, "model": "other"}, "does_not_fit", "seq_kd", 1),
    "other tokens, by their texts": ({"styles": ["echo"]}, {"objective": SOFT, "model": "other"}, "does_not_fit", "seq_kd", 2),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_used_is_one_error_that_says_so(world, tmp_path, case):
    server, networks, texts, _ = world
    behaves, says, code, words, most = REFUSALS[case]
    server.control(**behaves)
    given = {name: says[name] for name in ("model", "max_tokens_total") if name in says}
    teacher = {"endpoint": server.url, "model": "gpt", "concurrency": 1, "max_tokens": 16, **given}
    spec = causal(texts, teacher, tokenizer={"path": str(networks / "gpt")}, **{k: v for k, v in says.items() if k not in given})
    seconds = 0.5 if case == "silence" else 120.0
    secret = "sk-never-to-be-seen" if "key" in behaves else ""
    engine = Engine(tmp_path, speaker(access(server, timeout_seconds=seconds, key=secret)))
    events = []
    with pytest.raises(PotstillError) as caught:
        engine.run(spec, emit=events.append)
    assert caught.value.code == code, caught.value
    assert words in f"{caught.value.detail} {caught.value.hint}"
    assert 1 <= len(server.seen()) <= most
    told = f"{caught.value.detail} {caught.value.hint} {[event.model_dump_json() for event in events]}"
    assert secret == "" or secret not in told


def test_a_pause_it_wants_is_kept_and_the_student_is_the_same(remote, world):
    """After an error, and with Retry-After: the answers come all the same, and nothing is asked before its time."""
    server, _, texts, _ = world
    told = partial(causal, texts, {"endpoint": server.url, "model": "gpt", "concurrency": 1, "max_tokens": 16}, **TEXT)
    server.control(script=[{"status": 503}, {}, {"status": 429, "headers": {"retry-after": "0.7"}}])
    first = remote.run(told())
    seen = server.seen()
    assert [one["status"] for one in seen] == [503, 200, 429, *[200] * (len(seen) - 3)]
    assert seen[3]["at"] - seen[2]["at"] >= 0.7
    assert seen[3]["body"] == seen[2]["body"]
    server.control()
    other = Engine(remote.home / "other", speaker(access(server))).run(told())
    assert other.weights == first.weights


def test_what_was_answered_before_it_was_stopped_is_not_asked_again(remote, world):
    """Asked to leave in the middle; then the budget ends it; then it has what it needs."""
    server, _, texts, _ = world
    server.control(seconds=0.05)
    told = partial(causal, texts, **TEXT)
    teacher = {"endpoint": server.url, "model": "gpt", "concurrency": 2, "max_tokens": 16}
    stopped = remote.run(told(teacher), stop_after=12)
    assert isinstance(stopped.outcome, Stopped)
    before = len(server.answered())
    assert 0 < before < 12
    with pytest.raises(PotstillError, match="are used of 1,"):
        remote.run(told(teacher | {"max_tokens_total": 1}))
    assert len(server.answered()) == before, "what is kept counts as used"
    done = remote.run(told(teacher))
    paid = server.answered()
    assert len(paid) == len(set(paid)) == done.report["teacher_outputs"]["requests"]
    assert done.report["teacher_outputs"]["spent"]["requests"] == len(paid) - before
