"""What a teacher said of words and of answers' ends, kept: the same as asked live, in any order, and shared by jobs that ask the same."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from engine_rows import write_questions, write_tags
from engine_runs import Engine
from engine_texts import TRANSFORMER, texts
from safetensors.torch import load_file

from contract.events import Finished
from distill import teacher_places
from distill.cache import Cache
from distill.data import load
from distill.device import threads
from distill.inputs import Inputs
from distill.networks import rows_for
from distill.teacher import Live, Teacher

SGD = {"name": "sgd", "lr": 0.1}  # Adam makes as much of a gradient that is nothing but rounding as of any other
BERT = {"arch": "bert", **TRANSFORMER}
TASKS = {"tags": ("token-classification", write_tags), "span": ("question-answering", write_questions)}


@pytest.fixture(scope="module", params=list(TASKS))
def taught(request, tmp_path_factory):
    """The job on rows of this task, and a teacher of it."""
    task, write = TASKS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    job = partial(texts, write(folder / "rows.jsonl"), task=task, student=BERT)
    with threads(1):
        return job, Engine(folder / "teacher").run(job()).student


def weights(ran):
    assert isinstance(ran.outcome, Finished)
    return load_file(ran.student / "model.safetensors")


def test_a_student_learns_the_same_as_from_a_live_teacher_and_the_next_finds_it_there(engine, taught):
    job, teacher = taught
    still = {**BERT, "layers": 1, "dropout": 0.0}
    found = {}
    for how in ("cached", "live", "auto"):
        ran = engine.run(job(teacher, student=still, teacher_outputs=how, training={"micro_batch_size": 10, "optimizer": SGD}))
        found[how] = weights(ran)
        told = ran.report["teacher_outputs"]
        assert (told["mode"], told["cache"]) == {"cached": ("cached", "built"), "live": ("live", None), "auto": ("cached", "hit")}[how]
        assert (told["bytes"] > 0) == (how != "live")
    for name, tensor in found["live"].items():
        torch.testing.assert_close(found["cached"][name], tensor, rtol=1e-3, atol=1e-4)
        assert torch.equal(found["cached"][name], found["auto"][name])


def test_any_order_of_texts_is_answered_as_live(engine, taught, tmp_path):
    job, folder = taught
    teacher = Teacher(folder, Cache(tmp_path / "cache"), torch.device("cpu"), pytest.fail)
    data = load(job(), Inputs.local(job(), tmp_path))
    rows = rows_for(teacher.network, teacher.config, data.train)
    kept, live = teacher_places.outputs(teacher, rows), Live(teacher, len(rows), rows)
    index = torch.randperm(len(rows))[:17]
    given = rows.batch(index).given
    torch.testing.assert_close(kept.of(index, given).logits, live.of(index, given).logits, rtol=1e-5, atol=1e-6)


def test_the_same_letters_asked_elsewhere_are_other_outputs(taught, tmp_path):
    job, folder = taught
    teacher = Teacher(folder, Cache(tmp_path / "cache"), torch.device("cpu"), pytest.fail)
    rows = rows_for(teacher.network, teacher.config, load(job(), Inputs.local(job(), tmp_path)).train)
    name = "tags" if hasattr(rows, "tags") else "inside"
    moved = replace(rows, **{name: getattr(rows, name).roll(1)})
    assert moved.digest() != rows.digest()
    other = replace(rows, labels=rows.labels + 1)
    assert other.digest() == rows.digest()
