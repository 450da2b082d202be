"""What can be asked of a teacher behind an endpoint, and what not: each refusal names the field to change."""

import pytest

from contract.check import parse_spec
from contract.errors import InvalidSpec
from contract.networks import members

JOB = "job_" + "0" * 32
TEACHER = {"endpoint": "https://host/v1/", "model": "m"}
KL = {"loss": "kl", "temperature": 1.0}
SOFT = {
    "kind": "distill",
    "task": "causal-lm",
    "data": {"train": "docstrings"},
    "teacher": TEACHER,
    "student": {"arch": "gpt2"},
    "tokenizer": {"job": JOB},
    "objective": [KL],
}
TEXT = {**{name: part for name, part in SOFT.items() if name not in ("objective", "tokenizer")}, "recipe": "seq_kd"}


def test_a_remote_teacher_is_no_network_of_ours_and_its_answers_are_kept():
    soft, text = parse_spec(SOFT), parse_spec(TEXT)
    assert soft.teacher.endpoint == "https://host/v1" and members(soft.teacher) == {} and set(soft.refs()) == {"tokenizer"}
    assert (soft.hears, text.hears) == ("cached", "text")
    assert soft.resolved().teacher_outputs == "cached" and parse_spec(soft.resolved().model_dump(mode="json")) == soft.resolved()
    assert text.new_tokenizer is not None, "with its text any tokenizer will do"
    assert parse_spec({**SOFT, "teacher_top_k": 5}).teacher_top_k == 5
    assert parse_spec({**TEXT, "evaluation": {"control": True}}).runs()[1].spec.teacher is None


@pytest.mark.parametrize(
    ("changes", "param", "said"),
    [
        ({"teacher": {"endpoint": "https://host/v1"}}, "teacher.model", "required"),
        ({"teacher": {**TEACHER, "endpoint": "ftp://host"}}, "teacher.endpoint", "match"),
        ({"teacher": {**TEACHER, "endpoint": "https://me:secret@host/v1"}}, "teacher.endpoint", "match"),
        ({"teacher": {**TEACHER, "key": "sk-1"}}, "teacher.key", "not known"),
        ({"teacher": {**TEACHER, "concurrency": 0}}, "teacher.concurrency", "greater"),
        ({"teacher": {**TEACHER, "prompt": "Go on."}, **TEXT, "x": None}, "x", "not known"),
        ({"teacher": {**TEACHER, "prompt": "Go on: {text}"}}, "teacher.prompt", "as it is"),
        ({"teacher": {"ensemble": [TEACHER, {"job": JOB}]}}, "teacher.ensemble.0.endpoint", "not known"),
        ({"task": "text-classification", "student": {"arch": "bert"}}, "teacher", "causal-lm and seq2seq"),
        ({"task": "seq2seq", "student": {"arch": "t5"}}, "objective", "recipe: seq_kd"),
        ({"tokenizer": None}, "tokenizer", "seq_kd works with any tokenizer"),
        ({"tokenizer": {"vocabulary": 500}}, "tokenizer", "token by token"),
        ({"student": {"init": "teacher", "layers": [0]}}, "student.init", "no layers to take"),
        ({"objective": [{"loss": "kl"}]}, "objective.0.temperature", "temperature 1 alone"),
        ({"objective": [{"loss": "clm"}]}, "objective", "no term hears"),
        ({"objective": [{"loss": "clm"}, {"loss": "logit_mse"}]}, "objective.1.loss", "only probabilities"),
        ({"objective": [KL, {"loss": "hidden_mse"}]}, "objective.1.loss", "looks inside"),
        ({"objective": None, "recipe": "hinton"}, "recipe.temperature", "temperature 1 alone"),
        ({"objective": None, "recipe": "gkd"}, "recipe.name", "asked once"),
        ({"objective": None, "recipe": "minillm"}, "recipe.name", "asked once"),
        ({"teacher_outputs": "live"}, "teacher_outputs", "asked once"),
        ({"evaluation": {"compare": ["hinton"]}}, "evaluation.compare.0", "temperature 1 alone"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_of_it_is_refused_at_the_field_to_change(changes, param, said):
    with pytest.raises(InvalidSpec) as caught:
        parse_spec({**SOFT, **changes})
    assert (caught.value.param, said in caught.value.detail) == (param, True), caught.value


def test_a_prompt_shows_the_row():
    with pytest.raises(InvalidSpec, match=r"teacher\.prompt: it never shows the row"):
        parse_spec({**TEXT, "teacher": {**TEACHER, "prompt": "Go on."}})
    assert parse_spec({**TEXT, "teacher": {**TEACHER, "prompt": "Go on: {text}", "api": "chat"}}).teacher.api == "chat"
