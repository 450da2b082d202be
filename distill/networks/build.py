"""Architectures of contract.registry as plain `nn.Sequential`: what is saved can be rebuilt with torch alone."""

from collections.abc import Callable
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from contract import registry
from contract.model import ModelConfig, Scaling
from distill.data.batch import Given
from distill.networks.residual import Residual
from distill.networks.texts import Recurrent, RecurrentLm, RecurrentTagger, TextCnn
from distill.tasks import within

Shape = tuple[int, ...]


def logistic(arch: registry.Logistic, shape: Shape, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), classes))


def mlp(arch: registry.Mlp, shape: Shape, classes: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise([prod(shape), *arch.hidden]):
        layers += [nn.Linear(before, after), nn.ReLU(), *_dropout(arch.dropout)]
    return nn.Sequential(*layers, nn.Linear(arch.hidden[-1], classes))


def cnn(arch: registry.Cnn, shape: Shape, classes: int) -> nn.Sequential:
    before, height, width = shape
    layers: list[nn.Module] = []
    for channels in arch.channels:
        layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
        if min(height, width) >= 2:
            layers.append(nn.MaxPool2d(2))
            height, width = height // 2, width // 2
        before = channels
    flat = before * height * width
    layers += [nn.Flatten(), nn.Linear(flat, arch.hidden), nn.ReLU(), *_dropout(arch.dropout), nn.Linear(arch.hidden, classes)]
    return nn.Sequential(*layers)


def resnet(arch: registry.Resnet, shape: Shape, classes: int) -> nn.Sequential:
    first = arch.channels[0]
    layers: list[nn.Module] = [nn.Conv2d(shape[0], first, 3, padding=1, bias=False), nn.BatchNorm2d(first), nn.ReLU()]
    before = first
    for stage, after in enumerate(arch.channels):
        for block in range(arch.blocks):
            layers.append(Residual(before, after, 2 if stage > 0 and block == 0 else 1))
            before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


def _dropout(share: float) -> list[nn.Module]:
    return [nn.Dropout(share)] if share > 0 else []


def recurrent(arch: registry.Lstm | registry.Bilstm | registry.Gru, shape: Shape, classes: int, tags: bool = False) -> nn.Module:
    kind = "GRU" if isinstance(arch, registry.Gru) else "LSTM"
    if classes == 0:
        return RecurrentLm(kind, shape[0], arch.embedding, arch.hidden, arch.layers, arch.dropout)
    both = isinstance(arch, registry.Bilstm)
    made = RecurrentTagger if tags else Recurrent
    return made(kind, shape[0], arch.embedding, arch.hidden, arch.layers, both, arch.dropout, classes)


def textcnn(arch: registry.Textcnn, shape: Shape, classes: int) -> TextCnn:
    return TextCnn(shape[0], arch.embedding, arch.channels, arch.widths, arch.dropout, classes)


BUILDERS: dict[type, Callable[..., nn.Module]] = {
    registry.Logistic: logistic,
    registry.Mlp: mlp,
    registry.Cnn: cnn,
    registry.Resnet: resnet,
    registry.Lstm: recurrent,
    registry.Bilstm: recurrent,
    registry.Gru: recurrent,
    registry.Textcnn: textcnn,
}


def build(arch: registry.Architecture, shape: Shape, classes: int, tags: bool = False) -> nn.Module:
    """The network for inputs [B, *shape] and logits [B, classes]; weights drawn from torch's current random state. For texts `shape`
    is (vocabulary,); with no classes it is a language model, and with `tags` it classifies each token. What transformers builds is in
    distill.networks.library."""
    return BUILDERS[type(arch)](arch, shape, classes, **({"tags": True} if tags else {}))


def count_parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def scaled(features: Tensor, scaling: Scaling) -> Tensor:
    """Raw features [B, *shape] → float32 as the network wants them."""
    x = features.float()
    if scaling.subtract != 0:
        x = x - _number(scaling.subtract, x)
    return x / _number(scaling.divide, x) if scaling.divide != 1 else x


def _number(value: float | list[float], like: Tensor) -> Tensor | float:
    return torch.tensor(value, device=like.device).reshape(like.shape[1:]) if isinstance(value, list) else value


def logits_of(network: nn.Module, config: ModelConfig, given: Given) -> Tensor:
    """[B, C], whatever the network reads; of several tasks those of each row's own."""
    found: Tensor = network(scaled(given, config.input) if isinstance(given, Tensor) else given)
    return within(found, config, given)
