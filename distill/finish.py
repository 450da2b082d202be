"""After the last step: measure the arms, write report, model and card."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from contract.events import Finished, PhaseChanged, RunEvent
from contract.model import ModelConfig
from contract.spec import JobSpec
from contract.status import Phase
from distill import card, disk, evaluate, networks, report
from distill.data import Data, Split
from distill.errors import diverged
from distill.networks.files import CARD, WEIGHTS
from distill.teacher import Live, Outputs, Teacher, infer

Emit = Callable[[RunEvent], None]


def trained(
    spec: JobSpec,
    workdir: Path,
    emit: Emit,
    network: nn.Sequential,
    config: ModelConfig,
    data: Data,
    teacher: Teacher | None,
    outputs: Outputs | Live | None,
    validation: dict[str, float],
) -> Finished:
    emit(PhaseChanged(phase=Phase.EVALUATING, message=f"{len(data.test):,} {data.test_name} rows"))
    folder = workdir / "result"
    with disk.writing("The result", folder, sum(tensor.nbytes for tensor in network.state_dict().values())):
        networks.save(network, config, folder / "student")
        size = (folder / "student" / WEIGHTS).stat().st_size
        test = data.test.to(next(network.parameters()).device)
        student = _measured(network, config, test), evaluate.cost(network, config, test, size)
        about = (spec.task, data.test_name, len(test), test.digest(), spec.training.seed)
        if teacher is None or outputs is None:
            found = report.single(*about, student, validation)
        else:
            cost = evaluate.cost(teacher.network, teacher.config, test, teacher.size_bytes)
            measured = evaluate.measure(teacher.outputs(test).logits, test), cost
            found = report.distilled(*about, measured, student, validation, outputs.summary())
        emit(PhaseChanged(phase=Phase.SAVING))
        (folder / "student" / CARD).write_text(card.write(network, config, found))
        return _finished(folder, found, config)


def evaluated(spec: JobSpec, workdir: Path, emit: Emit, network: nn.Sequential, config: ModelConfig, data: Data) -> Finished:
    emit(PhaseChanged(phase=Phase.EVALUATING, message=f"{len(data.test):,} {data.test_name} rows"))
    test = data.test.to(next(network.parameters()).device)
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    model = _measured(network, config, test), evaluate.cost(network, config, test, size)
    found = report.single(spec.task, data.test_name, len(test), test.digest(), spec.training.seed, model, {})
    with disk.writing("The report", workdir / "result", 0):
        return _finished(workdir / "result", found, None)


def _measured(network: nn.Module, config: ModelConfig, rows: Split) -> evaluate.Measured:
    logits: Tensor = infer(network, config, rows)
    if not logits.isfinite().all():
        raise diverged(0, "network's output")
    return evaluate.measure(logits, rows)


def _finished(folder: Path, found: dict[str, Any], config: ModelConfig | None) -> Finished:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(found, indent=2) + "\n")
    disk.settle(folder)
    return Finished(folder=str(folder), report=found, model=config.model_dump(mode="json") if config else None)
