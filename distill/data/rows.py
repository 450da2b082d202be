"""Rows as networks take them: whole batches of tensors, looked up by index."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Protocol, Self

import torch
from torch import Tensor

from distill.data.batch import Batch


class Rows(Protocol):
    """labels [N]; lengths [N] in tokens, None where all rows are of one size."""

    @property
    def labels(self) -> Tensor: ...
    @property
    def lengths(self) -> Tensor | None: ...
    def __len__(self) -> int: ...
    def batch(self, index: Tensor) -> Batch: ...
    def chunks(self, size: int) -> Iterator[Tensor]: ...
    def to(self, device: torch.device) -> Self: ...
    def digest(self) -> str: ...


@dataclass(frozen=True)
class Split:
    """features [N, *shape] as uint8 or float32, labels [N] as class indices."""

    features: Tensor
    labels: Tensor

    @property
    def lengths(self) -> None:
        return None

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, index: Tensor) -> "Split":
        return Split(self.features[index], self.labels[index])

    def batch(self, index: Tensor) -> Batch:
        return Batch(self.features[index], self.labels[index])

    def chunks(self, size: int) -> Iterator[Tensor]:
        """Indices of all rows, in their order, at most `size` at a time."""
        yield from torch.split(torch.arange(len(self), device=self.labels.device), size)

    def to(self, device: torch.device) -> "Split":
        return Split(self.features.to(device), self.labels.to(device))

    def answers(self) -> bytes:
        """What is to be learned, as bytes."""
        return self.labels.cpu().numpy().tobytes()

    def digest(self) -> str:
        """Hash of the features' content, type and shape: what a teacher's outputs depend on."""
        head = f"{self.features.dtype}{tuple(self.features.shape)}".encode()
        return sha256(head + self.features.cpu().numpy().tobytes()).hexdigest()


@dataclass(frozen=True)
class TextSplit:
    """Texts as they were written, one or two for each row; every network reads them with a tokenizer of its own.

    labels: class indices [N], or marks [N, C] where a row may have any number of classes. tags: of each row's words, which then
    stand in its text with one space between them, the class. spans: of each row the characters in its second text, [first, last), that
    answer the question in its first. targets: the text each is to become.
    """

    texts: tuple[list[str], ...]
    labels: Tensor
    tags: list[list[int]] | None = None
    spans: list[tuple[int, int]] | None = None
    targets: list[str] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, index: Tensor) -> "TextSplit":
        chosen = index.tolist()
        told = {name: [every[i] for i in chosen] for name in ("tags", "spans", "targets") if (every := getattr(self, name)) is not None}
        return replace(self, texts=tuple([column[i] for i in chosen] for column in self.texts), labels=self.labels[index], **told)

    def to(self, device: torch.device) -> "TextSplit":
        return replace(self, labels=self.labels.to(device))

    def digest(self) -> str:
        """Hash of the texts, each with its length, so that no two splits look alike."""
        found = sha256(f"texts/{len(self.texts)}/{len(self)}".encode())
        for column in self.texts:
            for text in column:
                raw = text.encode()
                found.update(len(raw).to_bytes(8, "big") + raw)
        return found.hexdigest()

    def answers(self) -> bytes:
        """What is to be learned, as bytes."""
        return self.labels.cpu().numpy().tobytes() + repr((self.tags, self.spans, self.targets)).encode()
