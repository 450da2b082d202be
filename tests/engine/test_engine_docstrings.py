"""The built-in texts: real sentences, of which something can be learned, by every task they are for."""

import pytest
from engine_runs import Engine

from contract.check import parse_spec
from contract.errors import InvalidSpec
from distill.data.docstrings import docstrings
from distill.data.returns import _gives, _own, returns

TRAIN = {
    "kind": "train",
    "task": "text-classification",
    "data": {"train": "docstrings", "max_length": 64},
    "student": {"arch": "textcnn", "embedding": 64, "channels": 64, "dropout": 0.3},
    "tokenizer": {"vocabulary": 4000},
    "training": {"epochs": 4, "batch_size": 32, "optimizer": {"lr": 2e-3}},
}


def test_rows_are_sentences_of_which_none_is_in_both_splits() -> None:
    found = docstrings()
    texts = {split: texts.tolist() for split, (texts, _) in found.items()}
    assert len({*texts["train"], *texts["test"]}) == 2000
    assert all(len(text.split()) >= 4 and "\n" not in text and ">>>" not in text for rows in texts.values() for text in rows)
    for split, each in (("train", 320), ("test", 80)):
        topics = found[split][1].tolist()
        assert {topic: topics.count(topic) for topic in topics} == dict.fromkeys(["code", "files", "networks", "numbers", "tests"], each)
        assert topics[:5] == topics[5:10] == ["code", "files", "networks", "numbers", "tests"], "the first rows are a sample of all"


def test_topics_can_be_learned(engine: Engine) -> None:
    """Guessing is right in 20 of 100."""
    assert engine.run(parse_spec(TRAIN)).report["arms"]["model"]["metrics"]["accuracy"]["mean"] > 0.5


@pytest.mark.parametrize("task", ["masked-lm", "causal-lm"])
def test_they_are_text_for_language_models(engine: Engine, task: str) -> None:
    student = {"arch": "bert" if task == "masked-lm" else "gpt2", "layers": 1, "hidden": 32, "heads": 2, "positions": 64}
    data = {"train": "docstrings", "max_length": 64, "max_train_samples": 200}
    report = engine.run(parse_spec({**TRAIN, "task": task, "data": data, "student": student})).report
    assert 1 < report["arms"]["model"]["metrics"]["perplexity"]["mean"] < 4000


def test_they_are_not_for_images(engine: Engine) -> None:
    with pytest.raises(InvalidSpec, match="docstrings is for text-classification and masked-lm and causal-lm, not image-classification"):
        engine.run(
            parse_spec(
                {
                    **TRAIN,
                    "task": "image-classification",
                    "data": {"train": "docstrings"},
                    "student": {"arch": "logistic"},
                    "tokenizer": None,
                }
            )
        )


def test_what_functions_give_back_is_another_question_about_such_texts(engine: Engine) -> None:
    """Guessing is right in 50 of 100."""
    for split, count in (("train", 600), ("test", 200)):
        texts, classes = (column.tolist() for column in returns()[split])
        assert len(set(texts)) == count and classes == ["nothing", "value"] * (count // 2)
    assert not {*returns()["train"][0]} & {*returns()["test"][0]}
    ran = engine.run(parse_spec({**TRAIN, "data": {"train": "returns", "max_length": 64}}))
    assert ran.report["arms"]["model"]["metrics"]["accuracy"]["mean"] > 0.7


def test_what_a_function_gives_back_is_read_from_its_own_lines() -> None:
    import ast

    kinds = {
        "def f():\n return 1": True,
        "def f():\n return": False,
        "def f():\n return None": False,
        "def f():\n yield 1": True,
        "def f():\n def g():\n  return 1": False,
        "def f():\n for i in x:\n  if i:\n   return i": True,
        "def f():\n g(lambda: 1)": False,
    }
    assert {text: any(map(_gives, _own(ast.parse(text).body[0]))) for text in kinds} == kinds
