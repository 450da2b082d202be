"""After the last step: measure the arms, write report, model and card."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from contract.events import Finished, LogLine, PhaseChanged, RunEvent
from contract.model import ModelConfig
from contract.registry.tasks import LANGUAGE
from contract.spec import JobSpec
from contract.status import Phase
from distill import answers, card, disk, evaluate, export, networks, report, written
from distill.by_task import TaskTeacher
from distill.data import Data, Rows, Split, TextSplit
from distill.data.batch import Given
from distill.data.spans import SpanTokens
from distill.data.targets import TargetTokens
from distill.device import versions
from distill.diagnosis import diagnose
from distill.errors import diverged
from distill.losses import kl
from distill.networks import TextNetwork, lora, said_of
from distill.networks.files import CARD
from distill.objectives import Said
from distill.remote_heard import RemoteHeard
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
    outputs: Heard | RemoteHeard | None,
    validation: dict[str, float],
    felt: dict[str, float],
    spent: dict[str, Any] | None,
) -> Finished:
    emit(PhaseChanged(phase=Phase.EVALUATING, message=f"{len(data.test):,} {data.test_name} rows"))
    folder, adapted = workdir / "result", {}
    with disk.writing("The result", folder, sum(tensor.nbytes for tensor in network.state_dict().values())):
        if spec.lora is not None:
            adapted = {"trainable_parameters": networks.count_parameters(network)}
            lora.merge(network, folder / "student" / lora.ADAPTER, spec.task)
        networks.save(network, config, folder / "student")
        size = networks.weight_bytes(folder / "student")
        test = _rows(network, config, data, spec)
        cost = {**evaluate.cost(network, config, test, size), **adapted, "training": spent}
        if outputs is None:
            found = report.single(_on(test, data, spec), (_measured(network, config, test), cost), validation)
        else:
            if isinstance(outputs, RemoteHeard):
                both, teachers_cost = _beside_remote(network, config, outputs, test)
            else:
                assert teacher is not None
                teachers_cost = _cost(teacher, data.test)
                both = _compared(network, config, teacher, test, data)
            arms = (both.teacher, teachers_cost), (both.student, cost)
            diagnosis = diagnose(spec, outputs, data.train.labels.cpu(), felt)
            for warning in diagnosis["warnings"]:
                emit(LogLine(level="warning", message=warning))
            found = report.distilled(
                _on(test, data, spec), *arms, validation, outputs.summary(), both.mean_kl, both.disagreements, diagnosis
            )
        found["made_with"] = versions(next(network.parameters()).device)
        emit(PhaseChanged(phase=Phase.SAVING))
        (folder / "student" / CARD).write_text(card.write(network, config, found))
        return _finished(folder, found, config)


def _cost(teacher: Teacher, split: Split | TextSplit) -> dict[str, Any]:
    """Of teachers that have a task each: parameters and bytes of all; time as a mean over tasks, a row being shown to one of them."""
    if not isinstance(teacher, TaskTeacher):
        return evaluate.cost(teacher.network, teacher.config, teacher.rows(split), teacher.size_bytes)
    assert isinstance(split, TextSplit)
    found = [_cost(part, rows) for part, rows in zip(teacher.parts.values(), split.parts, strict=True)]
    summed = {name: sum(one[name] for one in found) for name in ("parameters", "size_bytes")}
    latency = {**found[0]["latency_ms"], "p50": round(fmean(one["latency_ms"]["p50"] for one in found), 4)}
    speed = {**found[0]["rows_per_second"], "value": round(fmean(one["rows_per_second"]["value"] for one in found), 1)}
    memory = {**found[0]["peak_memory"], "bytes": max(one["peak_memory"]["bytes"] for one in found)}
    return {**summed, "latency_ms": latency, "rows_per_second": speed, "peak_memory": memory}


def evaluated(spec: JobSpec, workdir: Path, emit: Emit, network: nn.Module, config: ModelConfig, data: Data) -> Finished:
    emit(PhaseChanged(phase=Phase.EVALUATING, message=f"{len(data.test):,} {data.test_name} rows"))
    test = _rows(network, config, data, spec)
    size = sum(
        {tensor.data_ptr(): tensor.nbytes for tensor in network.state_dict().values()}.values()
    )  # what is shared stands once in files
    model = _measured(network, config, test), evaluate.cost(network, config, test, size)
    found = report.single(_on(test, data, spec), model, {})
    with disk.writing("The report", workdir / "result", 0):
        return _finished(workdir / "result", found, None)


def exported(spec: JobSpec, workdir: Path, emit: Emit, network: nn.Module, config: ModelConfig, data: Data) -> Finished:
    """Writes the network for other programs beside its own files, and measures each file on the same rows."""
    asked = spec.written_as
    assert asked is not None
    folder, student = workdir / "result", workdir / "result" / "student"
    size = sum(tensor.nbytes for tensor in network.state_dict().values())
    with disk.writing("The result", folder, 4 * size):  # the network, its graph, what quantising keeps meanwhile, the quantised graph
        networks.save(network, config, student)
        emit(PhaseChanged(phase=Phase.SAVING, message="writing " + export.PLAIN))
        export.written(network, config, student / export.PLAIN)
        names = {"onnx": export.PLAIN}
        if asked.quantize == "int8":
            export.quantised(student / export.PLAIN, student / export.INT8, network, networks.rows_for(network, config, data.train))
            names["int8"] = export.INT8
        emit(PhaseChanged(phase=Phase.EVALUATING, message=f"{len(data.test):,} {data.test_name} rows"))
        test = _rows(network, config, data, spec)
        cost = evaluate.cost(network, config, test, networks.weight_bytes(student))
        arms, parity = {"model": (_measured(network, config, test), cost)}, {}
        for arm, name in names.items():
            other = export.running(student / name, network, config)
            parity[arm] = export.compared((network, config), other, test)
            parity[arm].hold(name, asked.tolerance if arm == "onnx" else inf)
            spent = {**evaluate.cost(*other, test, (student / name).stat().st_size), "parameters": cost["parameters"]}
            arms[arm] = _measured(*other, test), spent
        found = report.exported(_on(test, data, spec), arms, asked, names, {arm: one.told() for arm, one in parity.items()})
        found["made_with"] = versions(next(network.parameters()).device)
        emit(PhaseChanged(phase=Phase.SAVING))
        (student / CARD).write_text(card.write(network, config, found) + export.section(network, config, found))
        return _finished(folder, found, config)


def _rows(network: nn.Module, config: ModelConfig, data: Data, spec: JobSpec) -> Rows:
    device = next(network.parameters()).device
    return networks.rows_for(network, config, data.test, spec.data.mask_probability, measured=True).to(device)


def _on(test: Rows, data: Data, spec: JobSpec) -> report.Test:
    return report.Test(spec.task, data.test_name, len(test), data.test.digest(), _majority(data), spec.training.seed)


def _majority(data: Data) -> float | None:
    """Share of the test rows that have the commonest class; None where they have none, or several tasks each its own."""
    labels = data.test.labels
    if not data.shape.classes or data.shape.answers != "class" or data.shape.tasks or labels.ndim != 1:
        return None
    return int(labels.bincount().max()) / len(labels)


def _measured(network: nn.Module, config: ModelConfig, rows: Rows) -> evaluate.Measured:
    if config.by_token:
        return _of_tokens(network, config, rows, evaluate.tell(network, config, rows))
    return evaluate.measure(_finite(infer(network, config, rows)), rows, config)


def _of_tokens(
    network: nn.Module, config: ModelConfig, rows: Rows, told: evaluate.Told, teacher: Teacher | None = None
) -> evaluate.Measured:
    """teacher: where the network is one, so that what it writes is asked once for all students."""
    _finite(told.losses)
    if isinstance(rows, SpanTokens):
        return answers.measure(network, config, rows, told)
    found = evaluate.measure_tokens(told, config)
    if isinstance(rows, TargetTokens):
        most = written.MEASURED
        said = written.texts(network, rows, most) if teacher is None else written.kept(teacher, rows, most)[0]
        return replace(found, metrics={**written.nearness(said, list(rows.written[: len(said)])), **found.metrics})
    return found


class Compared(NamedTuple):
    """Teacher and student on the same rows, the mean divergence of the student's distribution from the teacher's, in nats, and the rows of
    which they say different things."""

    teacher: evaluate.Measured
    student: evaluate.Measured
    mean_kl: float | None
    disagreements: list[dict[str, Any]] | None = None  # None where no row has one class


def _compared(network: nn.Module, config: ModelConfig, teacher: Teacher, rows: Rows, data: Data) -> Compared:
    if config.by_token:
        if _reads_otherwise(teacher, network):
            return Compared(_of_texts(teacher, data), _measured(network, config, rows), None)
        # Of tags the teacher is asked as it reads the words itself; else of the very tokens that its student is asked of.
        heard = teacher.rows(data.test) if config.made_for.answers == "tags" else rows
        told = evaluate.tell(network, config, rows, partial(_heard_of, teacher, None if heard is rows else heard))
        assert told.kl is not None
        theirs = _of_tokens(teacher.network, teacher.config, heard, evaluate.tell(teacher.network, teacher.config, heard), teacher)
        return Compared(theirs, _of_tokens(network, config, rows, told), told.kl)
    logits, mine = teacher.outputs(data.test, measured=True).logits, _finite(infer(network, config, rows))
    a, b = (Said.of(each, config.multi_label).logits for each in (mine, logits))
    differ = None if config.multi_label else evaluate.disagreements(logits, mine, data.test, config.classes)
    return Compared(evaluate.measure(logits, rows, config), evaluate.measure(mine, rows, config), kl(a, b, 1.0).item(), differ)


def _reads_otherwise(teacher: Teacher, network: nn.Module) -> bool:
    """Whether it can only be heard by its texts: token by token both would have to know the same ones."""
    theirs = teacher.network
    if teacher.config.task not in LANGUAGE or not isinstance(theirs, TextNetwork) or not isinstance(network, TextNetwork):
        return False
    return theirs.reader.differs(network.reader) is not None


def _of_texts(teacher: Teacher, data: Data) -> evaluate.Measured:
    """Of a teacher with tokens of its own what its texts tell, where there are texts to hold them against."""
    rows, figures = teacher.rows(data.test), {}
    if isinstance(rows, TargetTokens):
        said, _ = written.kept(teacher, rows, written.MEASURED)
        figures = written.nearness(said, list(rows.written[: len(said)]))
    return evaluate.Measured(torch.empty(0, dtype=torch.int64), figures, None)


def _heard_of(teacher: Teacher, rows: Rows | None, index: Tensor, given: Given) -> Said:
    """rows: its own, where it does not read what the student reads."""
    return said_of(teacher.network, teacher.config, given if rows is None else rows.batch(index).given)


def _beside_remote(network: nn.Module, config: ModelConfig, heard: RemoteHeard, rows: Rows) -> tuple[Compared, dict[str, Any]]:
    """Of a remote teacher what it has said of the test rows; of tokens the likeliest ones, so that the divergence counts all others as
    one."""
    told = evaluate.tell(network, config, rows, heard.said if heard.tokens is not None else None)
    teacher, cost = heard.arm(rows)
    return Compared(teacher, _of_tokens(network, config, rows, told), told.kl), cost


def _finite(logits: Tensor) -> Tensor:
    if not logits.isfinite().all():
        raise diverged(0, "network's output")
    return logits


def _finished(folder: Path, found: dict[str, Any], config: ModelConfig | None) -> Finished:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(found, indent=2) + "\n")
    disk.settle(folder)
    return Finished(folder=str(folder), report=found, model=config.model_dump(mode="json") if config else None)
