"""Students that learn by low-rank adapters: what changes is small, what is handed out is whole, and a broken run ends the same."""

import sys

import pytest
import torch
from engine_runs import Engine, digest
from engine_texts import STUDENTS, TRANSFORMER, language, texts, write_texts
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from contract.errors import InvalidSpec, JobError
from distill.device import threads
from distill.networks import load
from distill.networks.lora import adapt

LORA = {"rank": 2, "alpha": 8, "dropout": 0.1}
IDS = torch.tensor([[5, 6, 7, 8], [9, 5, 3, 11]])


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("texts") / "rows.jsonl")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, file):
    engine = Engine(tmp_path_factory.mktemp("trained"))
    with threads(1):
        return {
            "bert": engine.run(texts(file, student=STUDENTS["bert"])).student,
            "gpt2": engine.run(language(file, "causal-lm", {"arch": "gpt2", **TRANSFORMER})).student,
            "bilstm": engine.run(texts(file)).student,
        }


def adapted(file, trained, teacher=None, lora=LORA, **changes):
    return texts(file, teacher, student={"path": str(trained["bert"]), "lora": lora}, **changes)


@pytest.fixture(scope="module")
def ran(tmp_path_factory, file, trained):
    with threads(1):
        return Engine(tmp_path_factory.mktemp("adapted")).run(adapted(file, trained, trained["bert"]))


def test_only_adapters_and_the_head_have_changed(trained, ran):
    before, after = (load_file(folder / "model.safetensors") for folder in (trained["bert"], ran.student))
    assert before.keys() == after.keys()
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    of_layers = {f"bert.encoder.layer.{i}.attention.self.{part}.weight" for i in range(3) for part in ("query", "value")}
    assert changed == {*of_layers, "classifier.weight", "classifier.bias"}
    for name in of_layers:
        assert torch.linalg.matrix_rank((after[name] - before[name]).double(), rtol=1e-4) == LORA["rank"]


def test_the_report_and_the_card_tell_how_much_was_trained(ran):
    arm, hidden = ran.report["arms"]["student"], TRANSFORMER["hidden"]
    assert arm["trainable_parameters"] == 3 * 2 * 2 * hidden * LORA["rank"] + 2 * hidden + 2
    assert arm["parameters"] == ran.report["arms"]["teacher"]["parameters"]
    said = f"{arm['parameters']:,} parameters, of which {arm['trainable_parameters']:,} were trained"
    assert said in (ran.student / "README.md").read_text()


def test_the_merged_network_says_what_the_adapter_says_on_the_one_it_was_made_for(trained, ran):
    """Both as strangers open them."""
    whole = AutoModelForSequenceClassification.from_pretrained(ran.student).eval()
    beside = PeftModel.from_pretrained(AutoModelForSequenceClassification.from_pretrained(trained["bert"]), ran.student / "adapter").eval()
    with torch.no_grad():
        merged, unmerged = whole(IDS).logits, beside(IDS).logits
    torch.testing.assert_close(merged, unmerged, rtol=1e-5, atol=1e-6)
    base = AutoModelForSequenceClassification.from_pretrained(trained["bert"]).eval()
    assert not torch.allclose(merged, base(IDS).logits, atol=1e-3)


def test_a_run_that_was_broken_off_ends_with_the_same_weights_and_keeps_only_what_learns(engine, file, trained, ran):
    spec = adapted(file, trained, trained["bert"], training={"early_stopping": {"patience": 9}})
    whole = engine.run(spec)
    first = engine.run(spec, stop_after=5)
    second = engine.run(spec, resume=first.checkpoints)
    assert second.weights == whole.weights
    for name in ("model", "best"):
        kept = load_file(whole.checkpoints[0] / f"{name}.safetensors")
        assert kept and all("lora_" in tensor or tensor.startswith("inner.classifier.") for tensor in kept)
    assert len({digest(one.student / "adapter" / "adapter_model.safetensors") for one in (whole, second)}) == 1


def test_the_student_alone_is_adapted_too(file, trained):
    spec = adapted(file, trained, trained["bert"], evaluation={"control": True})
    assert [run.spec.lora for run in spec.runs()] == [spec.lora, spec.lora] and spec.lora.rank == 2
    layers = texts(file, trained["bert"], student={"init": "teacher", "layers": [0], "lora": {}}, evaluation={"control": True})
    assert [run.spec.lora.rank for run in layers.runs()] == [8, 8]


def test_a_language_model_keeps_its_head_and_its_embeddings(engine, file, trained):
    student = {"path": str(trained["gpt2"]), "lora": {"rank": 2, "targets": ["c_attn", "mlp.c_fc"]}}
    done = engine.run(language(file, "causal-lm", student))
    before, after = (load_file(folder / "model.safetensors") for folder in (trained["gpt2"], done.student))
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == {f"transformer.h.{i}.{part}.weight" for i in range(3) for part in ("attn.c_attn", "mlp.c_fc")}
    beside = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(trained["gpt2"]), done.student / "adapter").eval()
    with torch.no_grad():
        torch.testing.assert_close(AutoModelForCausalLM.from_pretrained(done.student).eval()(IDS).logits, beside(IDS).logits)


def test_layers_that_are_not_there_and_ranks_that_are_none_are_refused(engine, file, trained):
    for lora, place, said in (
        ({"targets": ["query", "q_proj"]}, "targets", r"no layer called q_proj"),
        ({"rank": 17}, "rank", r"is 16 wide, and a rank of 17"),
    ):
        with pytest.raises(InvalidSpec, match=said) as caught:
            engine.run(adapted(file, trained, lora=lora))
        assert (caught.value.code, caught.value.param) == ("does_not_fit", f"student.lora.{place}")
        assert place != "targets" or caught.value.hint == "Its layers are called classifier, dense, key, query, value."
    with pytest.raises(InvalidSpec, match=r"student\.lora: .* of kind bilstm"):
        engine.run(texts(file, student={"path": str(trained["bilstm"]), "lora": {}}))


def test_without_the_library_a_job_says_what_to_install(engine, file, trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)  # as Python has it where an import fails
    with pytest.raises(JobError, match="peft") as caught:
        engine.run(adapted(file, trained))
    assert caught.value.code == "package_missing" and "pip install 'potstill[lora]'" in caught.value.hint


def test_before_the_first_step_an_adapted_network_says_what_it_said(file, trained):
    spec = adapted(file, trained)
    network, config = load(trained["bert"])
    with torch.no_grad():
        before = network.inner(IDS).logits
        adapt(network, spec.lora, config.task)
        assert torch.equal(network.eval().inner(IDS).logits, before)
