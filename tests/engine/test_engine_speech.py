"""Words replaced by others of the same part of speech (Tang et al. 2019), by a real tagger."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from engine_runs import Engine
from engine_texts import texts, write_texts

from contract.errors import InvalidSpec
from contract.events import LogLine
from contract.words import TangWords
from distill.data.speech import alike
from distill.data.words import hidden

SAID = ["The dog barks loudly.", "A cat sleeps, the cat purrs softly.", "", "?!"]
FIELD = "recipe.words.pos"


def test_words_stand_for_those_of_their_part_of_speech_as_often_as_they_are_there():
    dog, cat, *empty = alike(SAID, FIELD)
    assert Counter(dog[1]) == Counter(cat[1]) == Counter(dog=1, cat=2)
    assert sorted(dog[3]) == ["loudly", "softly"] and sorted(dog[0]) == ["A", "The", "the"]
    assert dog[4] == cat[3] == [], "of punctuation none"
    assert empty == [[], [[], []]]


def test_each_word_is_hidden_or_replaced_or_stays():
    draw, others = np.random.default_rng(0), alike(SAID, FIELD)[0]
    rules = TangWords(mask=0.2, pos=0.3, ngram=0.0, mask_token="<mask>")
    nouns = Counter(hidden(SAID[0], rules, draw, others).split()[1] for _ in range(6000))
    assert set(nouns) == {"dog", "cat", "<mask>"}
    for word, share in {"<mask>": 0.2, "cat": 0.3 * 2 / 3, "dog": 0.5 + 0.3 / 3}.items():  # 4.5 deviations
        assert nouns[word] / 6000 == pytest.approx(share, abs=0.029)


def test_every_seed_learns_from_the_same_rows(engine: Engine, tmp_path: Path):
    file = write_texts(tmp_path / "t.jsonl")
    teacher = engine.run(texts(file, training={"epochs": 1})).student
    words = {"copies": 2, "pos": 0.5, "mask": 0.0, "ngram": 0.0}
    spec = texts(file, teacher, recipe={"name": "tang_bilstm", "words": words}, evaluation={"seeds": 2})
    first, second = (engine.run(run.spec) for run in spec.runs())
    assert any("182 rows made of 91" in line.message for line in first.of(LogLine))
    assert second.report["teacher_outputs"] == first.report["teacher_outputs"] | {"cache": "hit", "passes": 0}
    still = texts(file, teacher, recipe={"name": "tang_bilstm", "words": words | {"pos": 0.0}})
    assert engine.run(still).weights != first.weights


def test_where_the_tagger_is_missing_it_is_named(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "textblob.en", None)
    file = write_texts(tmp_path / "t.jsonl")
    with pytest.raises(InvalidSpec, match="TextBlob, which is not installed") as caught:
        engine.run(texts(file, data={"augment": {"words": {"rules": "tang", "pos": 0.1}}}))
    assert caught.value.param == "data.augment.words.pos" and "potstill[pos]" in (caught.value.hint or "")


def test_probabilities_that_are_more_than_one_are_refused(tmp_path: Path):
    with pytest.raises(InvalidSpec, match="more than 1 together") as caught:
        texts(tmp_path / "t.jsonl", data={"augment": {"words": {"rules": "tang", "mask": 0.6, "pos": 0.5}}})
    assert caught.value.param == "data.augment.words.pos"
