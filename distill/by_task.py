"""A teacher, or several that speak as one, for each of several tasks. Each is asked of its own task's rows alone, and its outputs are kept
under its own key, as if it taught alone: a job of that task shares them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

import torch
from torch import Tensor

from contract.model import ModelConfig, Scaling
from contract.shapes import DataShape
from distill.cache import Built
from distill.data import Rows, Split, TextSplit
from distill.data.batch import Given
from distill.objectives import Said
from distill.tasks import OUTSIDE, slices
from distill.teacher import Outputs, Teacher


@dataclass(frozen=True)
class TaskOutputs(Outputs):
    """parts: the outputs of each task's teacher for its rows, which stand one task after the other; own: which logits are each task's.
    `logits` [N, C] are those of all, and as good as impossible outside a row's task."""

    parts: Mapping[str, Outputs] = field(kw_only=True)
    own: list[slice] = field(kw_only=True)

    def of(self, index: Tensor, given: Given) -> Said:
        """Of teachers that are several, what is softened is each one's answer: their common logits are made for a temperature."""

        def at(rows: Tensor, _z_s: Tensor | None = None, temperature: float = 1.0) -> Tensor:
            found = self.logits.new_full((len(rows), self.logits.shape[1]), OUTSIDE)
            first = 0
            for part, own in zip(self.parts.values(), self.own, strict=True):
                mine = (rows >= first) & (rows < first + len(part.logits))
                said = part.of(rows[mine] - first, given)
                z_t = said.logits if said.beside is None else said.beside(said.features, said.features, temperature)
                found[mine, own] = z_t
                first += len(part.logits)
            return found

        if all(type(part) is Outputs for part in self.parts.values()):
            return super().of(index, given)
        return Said(index, at, self.logits.shape[1], beside=at)

    def summary(self) -> dict[str, object]:
        kept = {name: part.summary() for name, part in self.parts.items()}
        return {**super().summary(), "tasks": {name: {"cache": one["cache"], "rows": one["rows"]} for name, one in kept.items()}}


class TaskTeacher(Teacher):
    """Teachers by the names of their tasks, in the order of the student's logits. They may read by tokenizers of their own."""

    def __init__(self, parts: Mapping[str, Teacher], made_for: DataShape) -> None:
        first = next(iter(parts.values()))
        self.parts = dict(parts)
        self.network = torch.nn.ModuleDict({f"task_{name}": part.network for name, part in parts.items()})
        told = {"classes": made_for.classes, "tasks": list(made_for.tasks), "input": Scaling()}
        self.config: ModelConfig = first.config.model_copy(update=told)
        self.device, self.cache, self.warn = first.device, first.cache, first.warn
        self.sha256 = sha256("/".join(f"{name} {part.sha256}" for name, part in parts.items()).encode()).hexdigest()
        self.size_bytes = sum(part.size_bytes for part in parts.values())

    def rows(self, split: Split | TextSplit) -> Rows:
        raise TypeError("each task's teacher reads its own rows: ask those in `parts`")

    def outputs(self, split: Split | TextSplit, measured: bool = False) -> TaskOutputs:
        assert isinstance(split, TextSplit)
        parts = {name: part.outputs(rows, measured) for (name, part), rows in zip(self.parts.items(), split.parts, strict=True)}
        own = slices(self.config)
        logits = torch.full((len(split), len(self.config.classes)), OUTSIDE, device=self.device)
        first = 0
        for part, place in zip(parts.values(), own, strict=True):
            logits[first : first + len(part.logits), place] = part.logits
            first += len(part.logits)
        built = Built.mean([part.built for part in parts.values()])
        return TaskOutputs(logits, built, parts=parts, own=own)
