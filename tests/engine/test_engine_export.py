"""Networks written as ONNX: they say what the originals say, the report tells what a file costs, and the card's lines run without torch."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from engine_rows import write_questions, write_tags
from engine_runs import Engine, digest, small
from engine_texts import STUDENTS, TRANSFORMER, language, texts, write_texts

from api.pages.job import strip
from contract.check import parse_spec
from contract.compare import _of_report
from contract.errors import JobError
from distill.data.rows import TextSplit
from distill.device import threads
from distill.networks import load, said_of
from potstill.cli.report import arms_of

SHALLOW = {**TRANSFORMER, "layers": 1}
TAGGER = {"arch": "bilstm", "embedding": 8, "hidden": 8, "layers": 2}
ASKED = ["one old saw", "a table near the pear today", "apple"]


def jobs(folder):
    """A training of each kind of network and answer."""
    file, pairs = write_texts(folder / "texts.jsonl"), write_texts(folder / "pairs.jsonl", pairs=True)
    tags, questions = write_tags(folder / "tags.jsonl"), write_questions(folder / "questions.jsonl")
    numbers = folder / "table.npz"
    np.savez(numbers, x_train=np.random.default_rng(0).normal(5, 3, (40, 3)), y_train=np.arange(40) % 2)
    table = {"train": {"path": str(numbers)}, "max_train_samples": None, "validation": 0.25}
    return {
        "cnn": small(student={"arch": "cnn", "channels": [2, 3], "hidden": 8}),
        "table": small(task="tabular-classification", data=table),
        "textcnn": texts(file, student=STUDENTS["textcnn"]),
        "gru": texts(file, student=STUDENTS["gru"]),
        "tagger": texts(tags, task="token-classification", student=TAGGER),
        "bert": texts(pairs, student={"arch": "bert", **SHALLOW}),
        "questions": texts(questions, task="question-answering", student={"arch": "distilbert", **SHALLOW}),
        "gpt2": language(file, "causal-lm", {"arch": "gpt2", **SHALLOW}),
    }


NAMES = ("cnn", "table", "textcnn", "gru", "tagger", "bert", "questions", "gpt2")


def export(spec, student, **asked):
    """Of the same rows."""
    told = spec.model_dump(mode="json", exclude_none=True)
    document = {"kind": "export", "task": told["task"], "data": told["data"], "student": {"path": str(student)}}
    return parse_spec({**document, **({"export": asked} if asked else {})})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Of each job its spec and the folder of its network."""
    folder = tmp_path_factory.mktemp("trained")
    engine = Engine(folder / "engine")
    with threads(1):
        return {name: (spec, engine.run(spec).student) for name, spec in jobs(folder).items()}


@pytest.fixture(scope="module")
def exported(tmp_path_factory, trained):
    engine = Engine(tmp_path_factory.mktemp("exported"))
    with threads(1):
        return {name: engine.run(export(*trained[name])) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_written_network_says_what_the_original_says(trained, exported, name):
    ran, original = exported[name], trained[name][1]
    report, metric = ran.report, ran.report["metric"]
    model, onnx, int8 = (report["arms"][arm] for arm in ("model", "onnx", "int8"))
    told = report["export"]["against_model"]
    assert told["onnx"]["same_top1"] == 1 and told["onnx"]["max_abs_difference"] < 1e-4 < told["int8"]["max_abs_difference"]
    assert told["onnx"]["rows"] == min(256, report["rows"]) or name == "gpt2"  # of which a row is a block
    assert onnx["metrics"][metric]["mean"] == pytest.approx(model["metrics"][metric]["mean"], rel=1e-5)
    assert onnx["parameters"] == int8["parameters"] == model["parameters"]
    assert {onnx["size_bytes"], int8["size_bytes"]} == {(ran.student / f"model{kind}.onnx").stat().st_size for kind in ("", ".int8")}
    assert all(arm["latency_ms"]["p50"] > 0 and arm["rows_per_second"]["value"] > 0 for arm in (model, onnx, int8))
    assert digest(ran.student / "model.safetensors") == digest(original / "model.safetensors")
    assert {path.name for path in original.iterdir()} < {path.name for path in ran.student.iterdir()}
    assert report["verdict"].startswith("int8 is ") and ran.phases == ["preparing", "saving", "evaluating", "saving"]
    assert ran.outcome.model["task"] == trained[name][0].task


def test_the_files_name_no_path_of_the_machine_that_wrote_them(exported):
    """torch's exporter notes for every operator where in the source it stands."""
    for ran in exported.values():
        assert b"/distill/" not in (ran.student / "model.onnx").read_bytes()


# Runs in an empty interpreter: the last block of each card as it stands there, and again with the file that is not quantised.
STRANGER = """
import json, os, re, sys
import numpy as np
for folder in sys.argv[1:]:
    os.chdir(folder)
    given = json.load(open("given.json"))
    code = re.findall("```python\\n(.*?)```", open("README.md").read(), re.S)[-1]
    for file in ("model.int8.onnx", "model.onnx"):
        names = dict(given)
        exec(code.replace("model.int8.onnx", file), names)
        said = [names["logits"]] if "logits" in names else [names["first"], names["last"]]
        np.savez(file + ".npz", *said)
assert "torch" not in sys.modules and "transformers" not in sys.modules
"""


def test_the_lines_on_the_card_run_without_torch_on_rows_of_any_number_and_length(trained, exported):
    given = {name: {"texts": ASKED, "second_texts": ["which is it ?", "why", "an apple or a saw"]} for name in NAMES}
    draw = np.random.default_rng(1)
    for name, shape in (("cnn", (5, 1, 8, 8)), ("table", (5, 3))):
        given[name] = {"x": draw.uniform(0, 10, shape).astype(np.float32).tolist()}
    for name in NAMES:
        (exported[name].student / "given.json").write_text(json.dumps(given[name]))
    folders = [str(exported[name].student) for name in NAMES]
    done = subprocess.run([sys.executable, "-I", "-c", STRANGER, *folders], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for name in NAMES:
        network, config = load(trained[name][1])
        ours = _said(network, config, given[name])
        plain, short = (np.load(exported[name].student / f"model{kind}.onnx.npz") for kind in ("", ".int8"))
        bound = 10 * exported[name].report["export"]["against_model"]["int8"]["max_abs_difference"]
        for expected, right, near in zip(ours, plain.values(), short.values(), strict=True):
            there = expected > -1e4  # the rest is filling
            np.testing.assert_allclose(right[there], expected[there], rtol=1e-4, atol=1e-5, err_msg=name)
            assert 0 < np.abs(near[there] - expected[there]).max() < bound, name


def _said(network, config, given):
    """The original's logits, of tokens −inf where a text has none."""
    with torch.inference_mode():
        if "x" in given:
            return [said_of(network, config, torch.tensor(given["x"])).logits.numpy()]
        columns = (given["texts"], given["second_texts"])[: config.text.texts]
        split = TextSplit(tuple(columns), torch.zeros(len(columns[0]), dtype=torch.int64))
        batch = network.reader.read(split, network.reading).batch(torch.arange(len(columns[0]))).given
        if not config.by_token:
            return [network(batch).numpy()]
        missing = ~batch.mask
        if config.task == "question-answering":
            answer = network.inner(input_ids=batch.ids, attention_mask=batch.mask.long())
            return [z.masked_fill(missing, -torch.inf).numpy() for z in (answer.start_logits, answer.end_logits)]
        return [network(batch).masked_fill(missing[:, :, None], -torch.inf).numpy()]


def test_one_file_alone_where_no_other_is_asked_for(engine, trained):
    ran = engine.run(export(*trained["table"], quantize="none"))
    assert list(ran.report["arms"]) == ["model", "onnx"] and ran.report["verdict"].startswith("onnx is ")
    assert not (ran.student / "model.int8.onnx").exists()
    assert 'InferenceSession("model.onnx")' in (ran.student / "README.md").read_text()


def test_a_file_that_differs_fails_the_job_and_nothing_of_it_stays(engine, trained):
    with pytest.raises(JobError, match=r"model\.onnx differs from the original: its logits by up to .* on 10 rows") as caught:
        engine.run(export(*trained["table"], tolerance=1e-12))
    assert (caught.value.code, caught.value.param) == ("export_differs", "export.tolerance")
    assert not list(engine.home.glob("attempt-*/result"))


def test_without_the_libraries_a_job_says_at_once_what_to_install(engine, trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)  # as Python has it where an import fails
    with pytest.raises(JobError, match="onnxscript") as caught:
        engine.run(export(*trained["table"]))
    assert caught.value.code == "package_missing" and "pip install 'potstill[onnx]'" in caught.value.hint


def test_people_see_the_files_side_by_side(exported):
    report = exported["cnn"].report
    headers, rows = arms_of(report)
    assert [row[0] for row in rows] == ["model", "onnx", "int8"] and len(headers) == len(rows[0])
    figures = {heading: figure for heading, figure, _ in strip(report)}
    assert figures.keys() == {"accuracy", "onnx", "int8"} and figures["int8"] == rows[2][1]
    results = _of_report(report)
    assert results["int8 bytes"] == (exported["cnn"].student / "model.int8.onnx").stat().st_size
    assert "model parameters" in results and "int8 parameters" not in results
