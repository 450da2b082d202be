"""The files of an exported network, written by torch's exporter and onnxruntime's quantisation."""

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from contract.errors import ErrorCode, JobError
from contract.model import ModelConfig
from distill.data import Rows
from distill.data.batch import TokenBatch
from distill.export.graphs import graph
from distill.networks import LibraryNetwork

PLAIN, INT8 = "model.onnx", "model.int8.onnx"
CALIBRATING = 128  # rows from which the ranges of activations are learned, where they must be known beforehand
AT_ONCE = 16
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
LIBRARIES = ("onnx", "onnxscript", "onnxruntime")


def need() -> None:
    """JobError where the libraries are not installed here."""
    for name in LIBRARIES:
        try:
            importlib.import_module(name)
        except ImportError:
            raise JobError(
                f"This worker cannot write ONNX: it lacks the package {name}.",
                code=ErrorCode.PACKAGE_MISSING,
                hint="Where the worker runs: pip install 'potstill[onnx]'. Then `potstill retry`.",
            ) from None


def written(network: nn.Module, config: ModelConfig, path: Path) -> None:
    """Writes the network as one file of ONNX. JobError where torch's exporter cannot."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    what = graph(network, config)
    with _quiet():
        try:
            program = torch.onnx.export(
                what.module.eval(),
                tuple(what.given.values()),
                input_names=list(what.given),
                output_names=what.outputs,
                dynamic_shapes=tuple(what.axes for _ in what.given),
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            ClearMetadataAndDocStringPass()(program.model)  # where each operator stands in our source, with the paths of this machine
            program.save(path, external_data=False)
        except torch.onnx.OnnxExporterError as error:
            why = str(error.__cause__ or error).strip().splitlines()[0][:300]
            raise JobError(
                f"A {config.arch} for {config.task} cannot be written as ONNX: {why}",
                code=ErrorCode.EXPORT_FAILED,
                param="student",
                hint="Distil it into a student of another architecture, then export that.",
            ) from None


def quantised(source: Path, path: Path, network: nn.Module, rows: Rows) -> None:
    """The same network with weights of 8 bits, one scale for each channel. Activations are quantised as they come, and in convolutions by
    ranges learned from `rows`, because onnxruntime has fast kernels for those alone.

    Weights keep to 7 of the 8 bits: on processors without VNNI two products of 8 bits run over, so that one file would say different
    things on different machines (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    common: dict[str, Any] = {"per_channel": True, "reduce_range": True, "weight_type": quantization.QuantType.QInt8}
    prepared = path.with_suffix(".prepared")
    try:
        with _quiet():
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            if not isinstance(network, LibraryNetwork) and any(isinstance(layer, CONVOLUTIONS) for layer in network.modules()):
                quantization.quantize_static(prepared, path, _Calibration(rows), **common)
            else:
                quantization.quantize_dynamic(prepared, path, op_types_to_quantize=["MatMul", "LSTM", "Gather"], **common)
    finally:
        prepared.unlink(missing_ok=True)


class _Calibration:
    """onnxruntime's CalibrationDataReader."""

    def __init__(self, rows: Rows) -> None:
        self.left = _given(rows)

    def get_next(self) -> dict[str, Any] | None:
        return next(self.left, None)


def _given(rows: Rows) -> Iterator[dict[str, Any]]:
    """The first rows as the graph takes them, a few at a time."""
    for index in torch.split(torch.arange(min(CALIBRATING, len(rows))), AT_ONCE):
        given = rows.batch(index).given
        if isinstance(given, TokenBatch):
            yield {"input_ids": given.ids.numpy(), "attention_mask": given.mask.long().numpy()}
        else:
            yield {"features": given.float().numpy()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Their advice is for people who write exporters."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "")]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
