"""Rows as networks take them: whole batches of tensors, looked up by index."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from distill.data.batch import Batch


class Rows(Protocol):
    """labels [N]; lengths [N] in tokens, None where all rows are of one size; tasks [N]: the number of each row's task, None where there
    is but one."""

    @property
    def labels(self) -> Tensor: ...
    @property
    def lengths(self) -> Tensor | None: ...
    @property
    def tasks(self) -> Tensor | None: ...
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

    @property
    def tasks(self) -> None:
        return None

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, index: Tensor) -> "Split":
        return Split(self.features[index], self.labels[index])

    def batch(self, index: Tensor) -> Batch:
        return Batch(self.features.index_select(0, index), self.labels.index_select(0, index))  # faster than [index], which can more

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
    answer the question in its first. targets: the text each is to become. parts: of several tasks the rows of each, one task after the
    other, with its own texts and classes.
    """

    texts: tuple[list[str], ...]
    labels: Tensor
    tags: list[list[int]] | None = None
    spans: list[tuple[int, int]] | None = None
    targets: list[str] | None = None
    parts: tuple["TextSplit", ...] = ()

    @classmethod
    def of_tasks(cls, parts: "Sequence[TextSplit]", classes: Sequence[int]) -> "TextSplit":
        """The rows of several tasks; classes: how many each has, which are counted on from those of the task before. Where some tasks have
        one text and others two, a second one is empty."""
        width = max(len(part.texts) for part in parts)
        whole = [(*part.texts, *([""] * len(part) for _ in range(width - len(part.texts)))) for part in parts]
        columns = tuple([text for of_part in whole for text in of_part[i]] for i in range(width))
        before = [sum(classes[:number]) for number in range(len(classes))]
        labels = torch.cat([part.labels + first for part, first in zip(parts, before, strict=True)])
        return cls(columns, labels, parts=tuple(parts))

    @property
    def tasks(self) -> Tensor | None:
        """[N]: the number of each row's task; None where there is but one."""
        if not self.parts:
            return None
        return torch.arange(len(self.parts)).repeat_interleave(torch.tensor([len(part) for part in self.parts]))

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, index: Tensor) -> "TextSplit":
        assert not self.parts, "rows are held out of each task by itself"
        chosen = index.tolist()
        told: dict[str, Any] = {}
        for name in ("tags", "spans", "targets"):
            if (every := getattr(self, name)) is not None:
                told[name] = [every[i] for i in chosen]
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
