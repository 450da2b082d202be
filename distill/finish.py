"""After the last step: measure the arms, write report, model and card."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from contract.events import Finished, LogLine, PhaseChanged, RunEvent
from contract.model import ModelConfig
from contract.spec import JobSpec
from contract.status import Phase
from distill import answers, card, disk, evaluate, networks, report, written
from distill.data import Data, Rows
from distill.data.spans import SpanTokens
from distill.data.targets import TargetTokens
from distill.diagnosis import diagnose
from distill.errors import diverged
from distill.losses import kl
from distill.networks.files import CARD
from distill.objectives import Said
from distill.soft import Heard
from distill.teacher import Teacher, infer

Emit = Callable[[RunEvent], None]


def trained(
    spec: JobSpec,
    workdir: Path,
    emit: Emit,
    network: nn.Module,
    config: ModelConfig,
    data: Data,
    teacher: Teacher | None,
    outputs: Heard | None,
    validation: dict[str, float],
    felt: dict[str, float],
) -> Finished:
    emit(PhaseChanged(phase=Phase.EVALUATING, message=f"{len(data.test):,} {data.test_name} rows"))
    folder = workdir / "result"
    with disk.writing("The result", folder, sum(tensor.nbytes for tensor in network.state_dict().values())):
        networks.save(network, config, folder / "student")
        size = networks.weight_bytes(folder / "student")
        test = _rows(network, config, data, spec)
        about = (spec.task, data.test_name, len(test), data.test.digest(), spec.training.seed)
        cost = evaluate.cost(network, config, test, size)
        if teacher is None or outputs is None:
            found = report.single(*about, (_measured(network, config, test), cost), validation)
        else:
            teachers_cost = evaluate.cost(teacher.network, teacher.config, teacher.rows(data.test), teacher.size_bytes)
            both = _compared(network, config, teacher, test, data)
            arms = (both.teacher, teachers_cost), (both.student, cost)
            diagnosis = diagnose(spec, outputs, data.train.labels.cpu(), felt)
            for warning in diagnosis["warnings"]:
                emit(LogLine(level="warning", message=warning))
            found = report.distilled(*about, *arms, validation, outputs.summary(), both.mean_kl, both.disagreements, diagnosis)
        emit(PhaseChanged(phase=Phase.SAVING))
        (folder / "student" / CARD).write_text(card.write(network, config, found))
        return _finished(folder, found, config)


def evaluated(spec: JobSpec, workdir: Path, emit: Emit, network: nn.Module, config: ModelConfig, data: Data) -> Finished:
    emit(PhaseChanged(phase=Phase.EVALUATING, message=f"{len(data.test):,} {data.test_name} rows"))
    test = _rows(network, config, data, spec)
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    model = _measured(network, config, test), evaluate.cost(network, config, test, size)
    found = report.single(spec.task, data.test_name, len(test), data.test.digest(), spec.training.seed, model, {})
    with disk.writing("The report", workdir / "result", 0):
        return _finished(workdir / "result", found, None)


def _rows(network: nn.Module, config: ModelConfig, data: Data, spec: JobSpec) -> Rows:
    device = next(network.parameters()).device
    return networks.rows_for(network, config, data.test, spec.data.mask_probability, measured=True).to(device)


def _measured(network: nn.Module, config: ModelConfig, rows: Rows) -> evaluate.Measured:
    if config.by_token:
        return _of_tokens(network, config, rows, evaluate.tell(network, config, rows))
    return evaluate.measure(_finite(infer(network, config, rows)), rows)


def _of_tokens(network: nn.Module, config: ModelConfig, rows: Rows, told: evaluate.Told) -> evaluate.Measured:
    _finite(told.losses)
    if isinstance(rows, SpanTokens):
        return answers.measure(network, config, rows, told)
    found = evaluate.measure_tokens(told, config)
    if isinstance(rows, TargetTokens):
        said = written.texts(network, rows, written.MEASURED)
        return replace(found, metrics={**written.nearness(said, list(rows.written[: len(said)])), **found.metrics})
    return found


class Compared(NamedTuple):
    """Teacher and student on the same rows, the mean divergence of the student's distribution from the teacher's, in nats, and the rows of
    which they say different things."""

    teacher: evaluate.Measured
    student: evaluate.Measured
    mean_kl: float
    disagreements: list[dict[str, Any]] | None = None  # None where no row has one class


def _compared(network: nn.Module, config: ModelConfig, teacher: Teacher, rows: Rows, data: Data) -> Compared:
    if config.by_token:
        # Of tags the teacher is asked as it reads the words itself; else of the very tokens that its student is asked of.
        heard = teacher.rows(data.test) if config.made_for.answers == "tags" else rows
        told = evaluate.tell(network, config, rows, (teacher.network, teacher.config, heard))
        assert told.kl is not None
        return Compared(_measured(teacher.network, teacher.config, heard), _of_tokens(network, config, rows, told), told.kl)
    logits, mine = teacher.outputs(data.test).logits, _finite(infer(network, config, rows))
    a, b = (Said.of(each, config.multi_label).logits for each in (mine, logits))
    differ = None if config.multi_label else evaluate.disagreements(logits, mine, data.test, config.classes)
    return Compared(evaluate.measure(logits, rows), evaluate.measure(mine, rows), kl(a, b, 1.0).item(), differ)


def _finite(logits: Tensor) -> Tensor:
    if not logits.isfinite().all():
        raise diverged(0, "network's output")
    return logits


def _finished(folder: Path, found: dict[str, Any], config: ModelConfig | None) -> Finished:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(found, indent=2) + "\n")
    disk.settle(folder)
    return Finished(folder=str(folder), report=found, model=config.model_dump(mode="json") if config else None)
