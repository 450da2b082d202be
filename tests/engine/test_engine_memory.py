"""What does not fit into memory is refused before the first step, with the figures."""

import pytest
import torch
from engine_runs import Engine, small

from contract.errors import ErrorCode, JobError
from distill import device, loop

CPU = torch.device("cpu")


def test_a_network_larger_than_the_machine_is_refused_with_both_figures(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = small(student={"arch": "mlp", "hidden": [16]})
    held = 4 * 4 * (64 * 16 + 16 + 16 * 10 + 10)  # fp32; weights, gradients and two moments
    monkeypatch.setattr(loop, "capacity", lambda _: held)
    engine.run(spec)
    monkeypatch.setattr(loop, "capacity", lambda _: held - 1)
    with pytest.raises(JobError, match=r"weights, gradients and moments take 19\.4 kB, and there are 19\.4 kB here in all") as refused:
        engine.run(spec)
    assert (refused.value.code, refused.value.param) == (ErrorCode.OUT_OF_MEMORY, "student")


def test_what_there_is_is_the_machines_or_what_its_group_may_have(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "GROUP", tmp_path / "none")
    machine = device.capacity(CPU)
    assert machine is not None and machine > 2**28
    for said, there in (("max\n", machine), (f"{2**27}\n", 2**27), (f"{2**70}\n", machine)):
        (tmp_path / "none").write_text(said)
        assert device.capacity(CPU) == there
