"""Runs of one job start together on one machine and want the same teacher pass: each part of it is made by one, and all read it."""

import multiprocessing

import pytest
import torch
from engine_runs import SMALL, outputs_of, small
from engine_two_builders import build

from distill.data import load
from distill.inputs import Inputs


def asked_at_once(teacher, cache, *more):
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(2), context.Queue()
    builders = [context.Process(target=build, args=(SMALL, teacher, cache, ready, answers, *more)) for _ in range(2)]
    for process in builders:
        process.start()
    found = [answers.get(timeout=120) for _ in builders]
    for process in builders:
        process.join(timeout=30)
        assert process.exitcode == 0
    return found


def test_two_processes_that_ask_at_once_make_one_pass_and_are_both_right(tmp_path, teacher):
    """Without a lock both would pay for it; with a careless one the second would read half a file."""
    found = asked_at_once(teacher, tmp_path)
    assert sorted((share, asked) for share, asked, _ in found) == [(0, 0), (1, 1)]

    spec = small()
    kept = outputs_of(teacher, tmp_path)[1](load(spec, Inputs.local(spec, tmp_path)).train)
    assert kept.built.how == "hit"
    assert {logits for _, _, logits in found} == {kept.logits.numpy().tobytes()}
    left = [path.suffix for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == [".lock", ".safetensors"]  # no temporary file


def test_a_long_pass_is_shared_by_those_who_need_it(tmp_path, teacher):
    """Ninety rows in nine parts: whoever finds one taken goes on with the next."""
    found = asked_at_once(teacher, tmp_path / "shared", 10)
    (mine, asked, said), (theirs, others_asked, same) = found
    assert asked + others_asked == 9 and min(asked, others_asked) > 0, "no part was asked for twice"
    assert mine + theirs == pytest.approx(1) and said == same
    whole = outputs_of(teacher, tmp_path / "alone")[1](load(small(), Inputs.local(small(), tmp_path)).train)
    assert torch.frombuffer(bytearray(said), dtype=torch.float32).allclose(whole.logits.flatten())
    assert len(list((tmp_path / "shared").rglob("*.safetensors"))) == 9
