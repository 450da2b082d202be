"""The network a spec wants trained."""

from itertools import chain

from torch import nn

from contract.errors import ErrorCode, InvalidSpec
from contract.lora import unadaptable
from contract.model import LONGEST, ModelConfig, Reading
from contract.networks import members
from contract.spec import FromLayers, JobSpec, ModelRef, NewTokenizer
from distill.data.load import Data
from distill.data.rows import TextSplit
from distill.inputs import Inputs
from distill.networks import library, lora
from distill.networks.build import build
from distill.networks.files import load
from distill.networks.reader import Reader
from distill.networks.reading import TextNetwork


def student(spec: JobSpec, data: Data, inputs: Inputs) -> tuple[nn.Module, ModelConfig]:
    """Built, or opened, with its config, and adapters where the spec asks for them. New weights are drawn from torch's current random
    state."""
    network, config = _student(spec, data, inputs)
    if spec.lora is not None:
        if why := unadaptable(config):
            raise InvalidSpec(f"student.lora: {why}.", code=ErrorCode.DOES_NOT_FIT, param="student.lora")
        lora.adapt(network, spec.lora, spec.task)
    return network, config


def _student(spec: JobSpec, data: Data, inputs: Inputs) -> tuple[nn.Module, ModelConfig]:
    made_for = data.shape
    if isinstance(spec.student, ModelRef):
        return _cut(spec, data, *load(inputs.models["student"], spec.task, made_for))
    if isinstance(spec.student, FromLayers):
        field = "teacher" if spec.student.init == "teacher" else "student.init"
        return _cut(spec, data, *library.from_layers(inputs.models[field], spec.student.layers, spec.task, made_for, spec.student.arch))
    if not isinstance(data.train, TextSplit):
        network = build(spec.student, made_for.shape, len(made_for.classes))
        config = ModelConfig.of(spec.student, spec.task, made_for, data.scaling)
        return network, config.model_copy(update={"features": list(data.columns)})
    reader = _reader(spec, data.train, inputs)
    if isinstance(spec.student, library.Transformer):
        return library.built(spec.student, spec.task, reader, made_for, spec.data.max_length)
    reading = Reading(texts=made_for.texts, vocabulary=reader.vocabulary, max_length=spec.data.max_length or LONGEST)
    inner = build(spec.student, (reader.vocabulary,), len(made_for.classes), made_for.answers == "tags")
    return TextNetwork(inner, reader, reading), ModelConfig.of(spec.student, spec.task, made_for, data.scaling, reading)


def _reader(spec: JobSpec, train: TextSplit, inputs: Inputs) -> Reader:
    """The tokenizer asked for; not said, the teacher's, so that both may share what they read; without a teacher a new one."""
    field = "tokenizer" if isinstance(spec.tokenizer, ModelRef) else None
    if spec.tokenizer is None:
        field = next(iter(members(spec.teacher)), None)
    if field is not None:
        return Reader.load(inputs.models[field])
    return Reader.train(chain(*train.texts), spec.tokenizer if isinstance(spec.tokenizer, NewTokenizer) else NewTokenizer())


def _cut(spec: JobSpec, data: Data, network: nn.Module, config: ModelConfig) -> tuple[nn.Module, ModelConfig]:
    """The same network, reading these rows: so many texts each, and no longer than the spec says."""
    if isinstance(network, TextNetwork) and isinstance(data.train, TextSplit):
        reading = network.reading
        wanted = spec.data.max_length or reading.max_length
        longest = min(wanted, network.positions or wanted)
        network.reading = reading.model_copy(update={"texts": len(data.train.texts), "max_length": longest})
        config = config.model_copy(update={"text": network.reading})
    return network, config
