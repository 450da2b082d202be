"""Two trainers with the same new teacher start at once: neither waits for, overwrites half of, or fails because of the other."""

import multiprocessing

from engine_runs import SMALL, outputs_of, small
from engine_two_builders import build

from distill.data import load
from distill.inputs import Inputs


def test_both_build_and_both_are_right(tmp_path, teacher):
    """A barrier between computing and writing makes sure that both really build."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    builders = [context.Process(target=build, args=(SMALL, teacher, tmp_path, barrier, answers)) for _ in range(2)]
    for process in builders:
        process.start()
    found = [answers.get(timeout=100) for _ in builders]
    for process in builders:
        process.join(timeout=30)
        assert process.exitcode == 0
    assert [cache for cache, _ in found] == ["built", "built"]

    spec = small()
    kept = outputs_of(teacher, tmp_path)[1](load(spec, Inputs.local(spec, tmp_path)).train)
    assert kept.cache == "hit"
    assert {logits for _, logits in found} == {kept.logits.numpy().tobytes()}
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1  # no temporary file is left
