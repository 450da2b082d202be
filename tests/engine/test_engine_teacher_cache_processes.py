"""Runs of one job start together on one machine and want the same teacher pass: one makes it, the others wait and read."""

import multiprocessing

from engine_runs import SMALL, outputs_of, small
from engine_two_builders import build

from distill.data import load
from distill.inputs import Inputs


def test_two_processes_that_ask_at_once_make_one_pass_and_are_both_right(tmp_path, teacher):
    """Without a lock both would pay for it; with a careless one the second would read half a file."""
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(2), context.Queue()
    builders = [context.Process(target=build, args=(SMALL, teacher, tmp_path, ready, answers)) for _ in range(2)]
    for process in builders:
        process.start()
    found = [answers.get(timeout=120) for _ in builders]
    for process in builders:
        process.join(timeout=30)
        assert process.exitcode == 0
    assert sorted((cache, passes) for cache, passes, _ in found) == [("built", 1), ("hit", 0)]

    spec = small()
    kept = outputs_of(teacher, tmp_path)[1](load(spec, Inputs.local(spec, tmp_path)).train)
    assert kept.cache == "hit"
    assert {logits for _, _, logits in found} == {kept.logits.numpy().tobytes()}
    left = [path.suffix for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == [".lock", ".safetensors"]  # no temporary file
