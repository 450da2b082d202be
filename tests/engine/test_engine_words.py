"""Rows made by changing words: how often what changes, which words a masked language model is asked for, and who learns from them."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_runs import Engine
from engine_texts import TRANSFORMER, language, texts, write_texts
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForMaskedLM

from contract.errors import InvalidSpec
from contract.events import LogLine
from contract.model import Reading
from contract.words import TangWords
from distill.cache import Cache
from distill.data.load import load
from distill.data.rows import TextSplit
from distill.data.words import hidden, replaced, with_copies
from distill.inputs import Inputs
from distill.networks.reader import Reader
from distill.words import likeliest, with_words

BERT = {"arch": "bert", **TRANSFORMER, "dropout": 0.0}
TANG = {"rules": "tang", "copies": 3}
LONG = "one two three four five six seven eight nine ten eleven twelve"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("texts") / "t.jsonl")


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory, file: Path) -> dict[str, Path]:
    """A teacher that classifies, and a masked language model."""
    engine = Engine(tmp_path_factory.mktemp("networks"))
    speaks = language(file, "masked-lm", BERT, training={"epochs": 6}, tokenizer={"vocabulary": 320})
    return {"teacher": engine.run(texts(file, student=BERT)).student, "speaks": engine.run(speaks).student}


def expecting(networks: dict[str, Path], **changes: object) -> dict[str, object]:
    return {"rules": "tinybert", "copies": 3, "model": {"path": str(networks["speaks"])}, **changes}


def test_words_are_hidden_as_often_as_asked():
    draw = np.random.default_rng(0)
    made = [hidden(LONG, TangWords(mask=0.2, ngram=0.0, mask_token="<mask>"), draw).split() for _ in range(3000)]
    assert all(len(words) == 12 for words in made)
    assert all(word in ("<mask>", own) for words in made for word, own in zip(words, LONG.split(), strict=True))
    for place in range(12):  # each on its own: 0.2 ± 4.5 deviations of 3,000 draws
        assert np.mean([words[place] == "<mask>" for words in made]) == pytest.approx(0.2, abs=0.033)


def test_texts_are_cut_to_one_to_five_words_in_a_row():
    draw = np.random.default_rng(0)
    made = [hidden(LONG, TangWords(mask=0.0, ngram=0.25), draw) for _ in range(8000)]
    cut = [text for text in made if text != LONG]
    assert len(cut) / len(made) == pytest.approx(0.25, abs=0.022)
    lengths = Counter(len(text.split()) for text in cut)
    assert set(lengths) == {1, 2, 3, 4, 5}
    assert all(f" {text} " in f" {LONG} " for text in cut)
    assert all(count / len(cut) == pytest.approx(0.2, abs=0.04) for count in lengths.values())
    whole = Counter(text for text in cut if len(text.split()) == 1)
    assert set(whole) == set(LONG.split())  # from the first word to the last


def test_what_stands_between_words_stays_and_hidden_words_outside_a_cut_are_gone():
    everything = TangWords(mask=1.0, ngram=0.0)
    assert hidden("  Well,\tit's  é good. ", everything, np.random.default_rng(0)) == (
        "  [MASK][MASK]\t[MASK][MASK][MASK]  [MASK] [MASK][MASK] "
    )
    both = {hidden(LONG, TangWords(mask=1.0, ngram=1.0), np.random.default_rng(seed)) for seed in range(60)}
    assert both == {" ".join(["[MASK]"] * n) for n in range(1, 6)}
    for text in ("", "   "):
        assert hidden(text, TangWords(mask=1.0, ngram=1.0), np.random.default_rng(0)) == text


def test_words_are_replaced_by_each_of_those_expected_alike():
    draw, expected = np.random.default_rng(0), {1: ["a", "b", "c"], 3: ["d"]}
    made = [replaced("one two three four", expected, 0.4, draw).split() for _ in range(6000)]
    assert all((words[0], words[2]) == ("one", "three") for words in made)
    second, last = (Counter(words[place] for words in made) for place in (1, 3))
    assert second["two"] / 6000 == pytest.approx(0.6, abs=0.03)
    assert all(second[word] / 6000 == pytest.approx(0.4 / 3, abs=0.02) for word in "abc")
    assert last["d"] / 6000 == pytest.approx(0.4, abs=0.03)


def test_the_words_expected_are_those_that_the_model_finds_likeliest(networks, tmp_path):
    """Against the library's own model in float64, asked about one word at a time; its byte-level words begin with Ġ."""
    rows = ["the big apple is on the old table", "A small, house-like thing", "qqq", "", "the apple " * 40]
    found = likeliest(networks["speaks"], rows, 5, Cache(tmp_path), torch.device("cpu"), pytest.fail)
    tokenizer = Tokenizer.from_file(str(networks["speaks"] / "tokenizer.json"))
    model = AutoModelForMaskedLM.from_pretrained(networks["speaks"], dtype=torch.float64).eval()
    known = {token[1:]: id_ for token, id_ in tokenizer.get_vocab().items() if token[0] == "Ġ" and token[1:].isalnum()}
    ids = torch.tensor(list(known.values()))
    asked = 0
    for text, expected in zip(rows[:2], found[:2], strict=True):
        encoding = tokenizer.encode(text)
        for word, others in expected.items():
            own = text.replace(",", " ,").replace("-", " - ").split()[word]
            token = encoding.tokens.index(f"Ġ{own.lower()}")
            masked = list(encoding.ids)
            masked[token] = tokenizer.token_to_id("[MASK]")
            with torch.no_grad():
                logits = model(torch.tensor([masked])).logits[0, token, ids]
            best = [list(known)[place] for place in logits.topk(5).indices.tolist()]
            if text.count(own) == 1:
                assert others == best
                asked += 1
    assert asked >= 6
    assert found[3] == {} and 0 < len(found[4]) < 80  # what is cut off is not asked for


def test_only_words_of_one_token_are_asked_for(networks, tmp_path):
    reader = Reader.load(networks["speaks"])
    begin = {id_: token[1:] for token, id_ in reader.tokenizer.get_vocab().items() if token[0] == "Ġ" and token[1:].isalnum()}
    assert reader.spelled_alone() == begin and len(begin) < reader.vocabulary - 60  # and not the ends of words, or single bytes
    rows = ["the zzyzx table", "apples"]
    found = likeliest(networks["speaks"], rows, 4, Cache(tmp_path), torch.device("cpu"), pytest.fail)
    single = [len(reader.tokenizer.encode(f" {word}", add_special_tokens=False).ids) == 1 for word in rows[0].split()]
    assert list(found[0]) == [place for place, alone in enumerate(single) if alone] and 1 not in found[0]
    assert found[1] == {}


def test_beginnings_and_ends_of_words_are_no_words():
    vocabulary = {"[UNK]": 0, "[MASK]": 1, "play": 2, "##ing": 3, "ing": 4, "!": 5, "[unused1]": 6, "##s": 7}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    tokenizer.add_special_tokens(["[UNK]", "[MASK]"])
    reader = Reader(tokenizer, {"mask_token": "[MASK]"})
    assert reader.spelled_alone() == {2: "play", 4: "ing"}
    split = TextSplit((["play playing ing !"],), torch.zeros(1, dtype=torch.int64))
    _, whole = reader.whole_words(split, Reading(vocabulary=8, max_length=16))
    assert whole == [(0, 0, 0), (0, 2, 3)]


def test_of_pairs_the_first_is_changed_then_the_second_then_both():
    pairs = TextSplit((["a", "b"], ["x", "y"]), torch.tensor([[1, 0], [1, 1]]))
    made = with_copies(pairs, 4, lambda column, row, draw: f"{column}{row}")
    assert list(zip(*made.texts, strict=True)) == [
        ("a", "x"), ("b", "y"),
        ("00", "x"), ("a", "10"), ("00", "10"), ("00", "x"),
        ("01", "y"), ("b", "11"), ("01", "11"), ("01", "y"),
    ]  # fmt: skip
    assert made.labels.tolist() == [[1, 0], [1, 1], *[[1, 0]] * 4, *[[1, 1]] * 4]


@pytest.mark.parametrize("rules", ["tang", "tinybert"])
def test_every_seed_arm_and_resume_learns_from_the_same_rows(engine: Engine, file: Path, networks: dict[str, Path], rules: str):
    """One pass of the teacher serves all; without its word the student is the control, bit for bit."""
    words = TANG if rules == "tang" else expecting(networks)
    spec = texts(file, networks["teacher"], recipe={"name": "hinton", "alpha": 0.0}, data={"augment": {"words": words}},
                 evaluation={"control": True, "compare": ["logit_mse"], "seeds": 2})  # fmt: skip
    runs = {(run.arm, run.seed): run.spec for run in spec.runs()}
    assert {run.words for run in runs.values()} == {spec.words}
    ran = {key: engine.run(run) for key, run in runs.items()}
    first, control, other = (ran[key] for key in (("student", 42), ("control", 42), ("logit_mse", 43)))
    assert first.weights == control.weights != engine.run(texts(file, networks["teacher"], recipe={"name": "hinton", "alpha": 0.0})).weights
    assert first.report["teacher_outputs"] | {"bytes": 0, "passes": 0} == {
        "mode": "cached",
        "cache": "built",
        "rows": 364,
        "bytes": 0,
        "passes": 0,
    }
    assert other.report["teacher_outputs"]["cache"] == "hit"
    assert any("273 rows made of 91" in line.message for line in first.of(LogLine))
    half = engine.run(runs["logit_mse", 43], stop_after=20)
    assert engine.run(runs["logit_mse", 43], resume=half.checkpoints).weights == other.weights


def test_rows_held_out_and_measured_on_stay_as_they_are(engine: Engine, file: Path, networks: dict[str, Path]):
    spec = texts(file, networks["teacher"], recipe={"name": "tang_bilstm", "words": {"copies": 2}})
    inputs = Inputs.local(spec, engine.cache)
    data = load(spec, inputs)
    made = with_words(spec, data, inputs, torch.device("cpu"), lambda event: None)
    assert made.validation is data.validation and made.test is data.test
    assert isinstance(made.train, TextSplit) and isinstance(data.train, TextSplit)
    assert made.train.texts[0][: len(data.train)] == data.train.texts[0] and len(made.train) == 3 * len(data.train)
    assert any("[MASK]" in text for text in made.train.texts[0])
    again = with_words(
        spec.model_copy(update={"training": spec.training.model_copy(update={"seed": 7})}), data, inputs, torch.device("cpu"), print
    )
    assert again.train.digest() == made.train.digest()


def test_hidden_words_are_one_token_and_a_new_tokenizer_is_made_of_the_true_rows(engine: Engine, file: Path):
    plain = engine.run(texts(file, tokenizer={"vocabulary": 320})).student
    changed = engine.run(texts(file, tokenizer={"vocabulary": 320}, data={"augment": {"words": TANG | {"mask": 0.5}}})).student
    assert (plain / "tokenizer.json").read_text() == (changed / "tokenizer.json").read_text()
    reader = Reader.load(changed)
    assert reader.tokenizer.encode("the [MASK] is", add_special_tokens=False).ids.count(reader.mask) == 1


def test_a_live_teacher_sees_the_made_rows_mixed(engine: Engine, file: Path, networks: dict[str, Path]):
    ran = engine.run(texts(file, networks["teacher"], student=BERT, recipe="mixkd", data={"augment": {"words": TANG}}))
    assert ran.report["teacher_outputs"] == {"mode": "live", "cache": None, "rows": 364, "bytes": 0}


def test_a_mask_that_a_tokenizer_does_not_know_is_refused(engine: Engine, file: Path):
    with pytest.raises(InvalidSpec, match="tokenizer of the student has no token '<mask>'") as caught:
        engine.run(texts(file, data={"augment": {"words": TANG | {"mask_token": "<mask>"}}}))
    assert (caught.value.param, caught.value.code) == ("data.augment.words.mask_token", "does_not_fit")
    engine.run(texts(file, data={"augment": {"words": TANG | {"mask_token": "<mask>", "mask": 0.0}}}, training={"epochs": 1}))


def test_a_model_that_expects_no_words_is_refused(engine: Engine, file: Path, networks: dict[str, Path]):
    with pytest.raises(InvalidSpec, match="no masked language model") as caught:
        engine.run(texts(file, data={"augment": {"words": expecting(networks, model={"path": str(networks["teacher"])})}}))
    assert (caught.value.param, caught.value.code) == ("data.augment.words.model", "does_not_fit")


def test_more_rows_than_fit_are_refused(engine: Engine, file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("contract.fit.MOST_ROWS", 1000)
    with pytest.raises(InvalidSpec, match="20 copies of each of 91 rows make 1,911 rows to train on; at most 1,000") as caught:
        engine.run(texts(file, data={"augment": {"words": {"rules": "tang"}}}))
    assert caught.value.param == "data.augment.words.copies"


def test_a_folder_of_words_is_named_where_it_is_missing(file: Path, engine: Engine):
    with pytest.raises(InvalidSpec) as caught:
        engine.run(texts(file, data={"augment": {"words": {"rules": "tinybert", "model": {"path": "nowhere"}}}}))
    assert caught.value.param == "data.augment.words.model.path"
