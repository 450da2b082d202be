"""What a job asks of the worker that takes it, and what a worker has."""

from collections.abc import Iterable
from itertools import combinations
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, field_validator

from contract.base import Sent
from contract.rules import wrong
from contract.units import size

MOST_LABELS = 8
MOST_DEVICES = 64
GB = 10**9
LABEL = r"^[a-z0-9][a-z0-9._-]{0,31}$"
Label = Annotated[str, Field(pattern=LABEL)]
Kind = Literal["cpu", "gpu"]


class Resources(Sent):
    """What a worker must have to take the job; without any of it every worker may."""

    kind: Kind | None = Field(default=None, description="`gpu`: a worker with GPUs, `cpu`: one without; any when not said.")
    memory_gb: Annotated[float, Field(gt=0, le=100_000)] | None = Field(
        default=None,
        description="A trainer can have at least so many times 10⁹ bytes of memory there: each GPU's, else the machine's.",
    )
    devices: int = Field(
        default=1,
        ge=1,
        le=MOST_DEVICES,
        description="So many train it together, each on its share of every step's rows: GPUs of one worker, or slots of one without any. "
        "The batch of a step stays what `training.batch_size` says; see [train on several devices](../how-to/several-devices.md).",
    )
    sharded: bool = Field(
        default=False,
        description="The student's weights, gradients and moments are divided among the devices instead of repeated on each: for a "
        "transformer that does not fit on one.",
    )
    teacher_sharded: bool = Field(
        default=False,
        description="The teacher's weights are divided among the devices, too, while the student learns: for a transformer that is asked "
        "live (`teacher_outputs: live`) and does not fit beside the student.",
    )
    labels: Annotated[list[Label], Field(max_length=MOST_LABELS)] = Field(
        default=[], description="All of these are among the worker's (`POTSTILL_LABELS`)."
    )

    @field_validator("labels")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise wrong("a label is there twice", at=())
        return sorted(value)

    @property
    def untaught(self) -> "Resources":
        """For the same student without its teacher."""
        return self.model_copy(update={"teacher_sharded": False})

    @property
    def memory_bytes(self) -> int | None:
        return round(self.memory_gb * GB) if self.memory_gb is not None else None

    @property
    def written(self) -> str | None:
        """Its labels as one word, which is how the database compares them; None where it asks for none."""
        return ",".join(self.labels) or None

    @property
    def told(self) -> str:
        """`2 GPUs, 40.0 GB of memory, labels a100 and eu`."""
        parts = [{"gpu": "a GPU", "cpu": "no GPU"}[self.kind]] if self.kind else []
        if self.devices > 1:
            parts = {"gpu": [f"{self.devices} GPUs"], "cpu": [f"{self.devices} slots and no GPU"]}.get(
                self.kind or "", [f"{self.devices} devices"]
            )
        parts += [f"{size(self.memory_bytes)} of memory"] if self.memory_bytes is not None else []
        parts += [f"label{'s' * (len(self.labels) > 1)} {' and '.join(self.labels)}"] if self.labels else []
        return ", ".join(parts)


class Offer(NamedTuple):
    """What a worker has. memory_bytes: None where its system does not say; devices: that one job can have, GPUs, else slots."""

    kind: Kind
    memory_bytes: int | None = None
    labels: tuple[str, ...] = ()
    devices: int = 1

    @classmethod
    def of(cls, gpus: int, slots: int, memory_bytes: int | None, labels: tuple[str, ...]) -> "Offer":
        return cls("gpu" if gpus else "cpu", memory_bytes, labels, min(gpus, slots) if gpus else slots)

    def meets(self, asked: Resources) -> bool:
        enough = asked.memory_bytes is None or (self.memory_bytes is not None and asked.memory_bytes <= self.memory_bytes)
        return enough and asked.devices <= self.devices and asked.kind in (None, self.kind) and set(asked.labels) <= set(self.labels)

    @property
    def subsets(self) -> list[str]:
        """Every set of its labels, as `Resources.written` writes them."""
        labels = sorted(self.labels)
        return [",".join(chosen) for count in range(1, len(labels) + 1) for chosen in combinations(labels, count)]


def unmet(asked: Resources, offers: Iterable[Offer]) -> list[str]:
    """What to say beforehand of a job that nobody who is there can take."""
    if not asked.told or any(offer.meets(asked) for offer in offers):
        return []
    return [f"resources: no live worker has {asked.told}; the job waits until one comes."]
