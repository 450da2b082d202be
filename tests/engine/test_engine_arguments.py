"""The built-in words with tags: what is marked names an argument, and it can be learned."""

from engine_runs import Engine

from contract.check import parse_spec
from distill.data.arguments import arguments


def test_marked_words_are_arguments_and_no_text_is_in_both_splits() -> None:
    found = arguments()
    rows = {split: list(zip(words.tolist(), tags.tolist(), strict=True)) for split, (words, tags) in found.items()}
    assert {split: len(part) for split, part in rows.items()} == {"train": 1040, "test": 260}
    assert len({words for part in rows.values() for words, _ in part}) == 1300
    for part in rows.values():
        assert all(len(words) == len(tags) <= 60 and set(tags) <= {"O", "argument"} and "argument" in tags for words, tags in part)
    share = sum(tag == "argument" for _, tags in rows["train"] for tag in tags) / sum(len(tags) for _, tags in rows["train"])
    assert 0.03 < share < 0.15  # "frame." of f(frame) is marked, "the" never
    marked = {
        word.strip(".,:;") for part in rows.values() for words, tags in part for word, tag in zip(words, tags, strict=True) if tag != "O"
    }
    assert "the" not in marked and {"path", "name"} <= marked


def test_they_can_be_learned(engine: Engine) -> None:
    """Half of the F1 is what never marking a word is worth."""
    spec = {
        "kind": "train",
        "task": "token-classification",
        "data": {"train": "arguments", "max_length": 96, "max_train_samples": 700},
        "student": {"arch": "bilstm", "embedding": 48, "hidden": 48},
        "tokenizer": {"vocabulary": 2000},
        "training": {"epochs": 5, "batch_size": 32, "optimizer": {"lr": 5e-3}},
    }
    metrics = engine.run(parse_spec(spec)).report["arms"]["model"]["metrics"]
    assert metrics["f1"]["mean"] > 0.6
