"""bf16 where it is there and pays, the same losses in it, and a clear word where a processor dies of it."""

import os
import signal
import time

import psutil
import pytest
import torch
from engine_texts import language, texts, write_texts

from contract.errors import InvalidSpec
from contract.events import Finished
from distill import device, objectives
from distill.cache import Cache
from distill.data import load
from distill.device import autocast, fingerprint, in_bf16, survives_bf16
from distill.inputs import Inputs
from distill.teacher import Live, Teacher

CPU = torch.device("cpu")
GPT = {"arch": "gpt2", "layers": 1, "hidden": 16, "heads": 2, "positions": 64, "dropout": 0.0}
BERT = {"arch": "bert", "layers": 1, "hidden": 16, "heads": 2, "positions": 64}
LSTM = {"arch": "lstm", "embedding": 8, "hidden": 8}


@pytest.fixture(autouse=True)
def asked_anew():
    survives_bf16.cache_clear()
    yield
    survives_bf16.cache_clear()


@pytest.fixture
def announces(tmp_path, monkeypatch):
    def write(flags):
        path = tmp_path / "cpuinfo"
        path.write_text(f"model name : some\nflags : fpu {flags}\n\n")
        monkeypatch.setattr(device, "CPUINFO", path)

    return write


@pytest.mark.parametrize("flags", ["avx512_bf16", "amx_tile amx_bf16"])
@pytest.mark.parametrize(("width", "bf16"), [(0, False), (64, False), (128, True), (768, True)])
def test_auto_takes_it_for_wide_transformers_alone(announces, monkeypatch, flags, width, bf16):
    announces(flags)
    monkeypatch.setattr(device, "survives_bf16", lambda: True)
    assert in_bf16(CPU, "auto", width) is bf16
    assert not in_bf16(CPU, "fp32", width)


def test_auto_leaves_it_where_it_is_only_emulated_or_deadly(announces, monkeypatch):
    monkeypatch.setattr(device, "survives_bf16", lambda: True)
    announces("avx2 avx512f")
    assert not in_bf16(CPU, "auto", 768)
    monkeypatch.setattr(device, "survives_bf16", lambda: False)
    announces("avx512_bf16")
    assert not in_bf16(CPU, "auto", 768)


def test_a_processor_that_stops_the_process_is_found_out_and_said(monkeypatch):
    monkeypatch.setattr(device, "_try_bf16", lambda: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(InvalidSpec, match=r"training\.precision: .*stops a process"):
        in_bf16(CPU, "bf16", 768)


def test_a_try_that_fails_or_hangs_counts_as_not_there(monkeypatch):
    before = psutil.Process().children()
    monkeypatch.setattr(device, "_try_bf16", lambda: 1 / 0)
    assert not survives_bf16()
    survives_bf16.cache_clear()
    monkeypatch.setattr(device, "_try_bf16", lambda: time.sleep(60))
    assert not survives_bf16(seconds=0.1)
    assert psutil.Process().children() == before, "something is left of it"


def test_another_precision_is_another_way_of_computing():
    assert fingerprint(CPU) != fingerprint(CPU, bf16=True)


@pytest.mark.parametrize("student", [GPT, LSTM], ids=["gpt2", "lstm"])
def test_a_language_model_learns_the_same_in_it_also_piece_by_piece(engine, tmp_path, monkeypatch, student):
    file = write_texts(tmp_path / "texts.jsonl")
    if student is LSTM and not survives_bf16(device._try_lstm):
        with pytest.raises(InvalidSpec, match=r"training\.precision: on this processor torch has no LSTM in bf16"):
            engine.run(language(file, "causal-lm", student, training={"precision": "bf16"}))
        return
    found = {}
    for precision in ("fp32", "bf16", "in pieces"):
        if precision == "in pieces":
            monkeypatch.setattr(objectives, "PIECE", 2**11)
        spec = language(file, "causal-lm", student, training={"precision": precision.replace("in pieces", "bf16")})
        ran = engine.run(spec)
        assert isinstance(ran.outcome, Finished)
        found[precision] = next(point["train/loss"] for _, point in reversed(ran.curve()) if "train/loss" in point)
    assert found["fp32"] != found["bf16"] == pytest.approx(found["fp32"], rel=2e-3)
    assert found["in pieces"] == pytest.approx(found["fp32"], rel=2e-3)


def test_a_teacher_speaks_in_it_too_and_is_measured_without(engine, tmp_path, monkeypatch):
    """Whether it is asked once or at every batch, and whatever its student computes in; what it said in fp32 is not mistaken for that."""
    file = write_texts(tmp_path / "texts.jsonl")
    folder = engine.run(texts(file, student={**BERT, "dropout": 0.0})).student
    spec = texts(file, folder, student={"arch": "textcnn", "embedding": 8, "channels": 4, "widths": [2]})
    data = load(spec, Inputs.local(spec, tmp_path))
    plain, quick = (Teacher(folder, Cache(tmp_path / "cache"), CPU, pytest.fail, precision) for precision in ("fp32", "bf16"))
    said, rounded = plain.outputs(data.train), quick.outputs(data.train)
    assert (said.built.how, rounded.built.how, quick.outputs(data.train).built.how) == ("built", "built", "hit")
    assert 0 < (said.logits - rounded.logits).abs().max() < 0.05 * said.logits.abs().max()
    assert quick.outputs(data.train, measured=True).logits.equal(said.logits)
    rows = quick.rows(data.train)
    index = torch.arange(len(rows))
    for around in (False, True):
        with autocast(CPU, around):
            torch.testing.assert_close(Live(quick, len(rows), rows).of(index, rows.batch(index).given).logits.float(), rounded.logits)
            assert Live(plain, len(rows), rows).of(index, rows.batch(index).given).logits.dtype == torch.float32


def test_a_job_says_so_to_its_teacher(engine, tmp_path, monkeypatch):
    file = write_texts(tmp_path / "texts.jsonl")
    folder = engine.run(texts(file, student=BERT)).student
    asked = []
    made = Teacher.__init__
    monkeypatch.setattr(Teacher, "__init__", lambda self, *given: (asked.append(given[-1]), made(self, *given))[1])
    for precision in ("auto", "fp32", "bf16"):
        engine.run(texts(file, folder, student=BERT, training={"precision": precision}))
    assert asked == ["auto", "fp32", "bf16"]
