"""The built-in texts: real sentences, of which something can be learned, by every task they are for."""

import pytest
from engine_runs import Engine

from contract.check import parse_spec
from contract.errors import InvalidSpec
from distill.data.docstrings import docstrings

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
