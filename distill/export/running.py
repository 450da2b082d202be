"""A file of ONNX as a network among ours, so that it is measured by the same lines as the original."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from contract.model import ModelConfig, Scaling
from distill.networks import LibraryNetwork, TextNetwork


class Session(nn.Module):
    """What onnxruntime makes of a file, on the CPU, with as many threads as torch would use at the time."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.by_threads: dict[int, Any] = {}

    def run(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        session = self._session(torch.get_num_threads())
        found = session.run(None, {name: tensor.numpy() for name, tensor in given.items()})
        return {output.name: torch.from_numpy(value) for output, value in zip(session.get_outputs(), found, strict=True)}

    def _session(self, threads: int) -> Any:
        import onnxruntime

        if threads not in self.by_threads:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            options.log_severity_level = 3
            self.by_threads[threads] = onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
        return self.by_threads[threads]


class _Numbers(Session):
    def forward(self, features: Tensor) -> Tensor:
        """Raw features [B, *shape] → logits [B, C]."""
        return self.run({"features": features})["logits"]


class _Texts(Session):
    """Speaks as a network of transformers does."""

    def __init__(self, path: Path, segments: bool, vocabulary: int | None) -> None:
        super().__init__(path)
        self.segments, self.vocabulary = segments, vocabulary
        self.config = SimpleNamespace(type_vocab_size=2 if segments else 1, model_type="onnx")

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> SimpleNamespace:
        given = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self.segments and token_type_ids is not None:
            given["token_type_ids"] = token_type_ids
        found = self.run(given)
        if self.vocabulary is not None:  # ids beyond the tokenizer's only fill the matrix up
            found["logits"] = found["logits"][..., : self.vocabulary]
        return SimpleNamespace(**found)

    def get_output_embeddings(self) -> None:
        """Its logits come out whole; there is no head to be called by itself."""


def takes_segments(network: nn.Module) -> bool:
    """Whether it is told which of two texts a token is of."""
    return isinstance(network, LibraryNetwork) and network.takes_segments


def running(path: Path, network: nn.Module, config: ModelConfig) -> tuple[nn.Module, ModelConfig]:
    """The network in `path`, and the config by which it is asked; network: the one it was written from."""
    if not isinstance(network, TextNetwork):
        return _Numbers(path), config.model_copy(update={"input": Scaling()})  # it scales by itself
    vocabulary = network.reader.vocabulary if config.made_for.speaks else None
    return LibraryNetwork(_Texts(path, takes_segments(network), vocabulary), network.reader, network.reading), config
