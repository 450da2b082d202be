"""A teacher made of several. Each member's outputs are kept under its own key, as if it taught alone: jobs where it does share them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import torch
from torch import Tensor

from contract.errors import ErrorCode, InvalidSpec
from contract.model import Scaling
from contract.networks import Ensemble
from distill.cache import Built
from distill.data import Rows, Split, TextSplit
from distill.data.batch import Given
from distill.networks import TextNetwork
from distill.networks.joint import Joint
from distill.objectives import Said
from distill.teacher import Outputs, Teacher


@dataclass(frozen=True)
class JointOutputs(Outputs):
    """each [K, N, C]: of every member; `logits` are those they say together."""

    each: Tensor = field(kw_only=True)
    joint: Joint = field(kw_only=True)

    def of(self, index: Tensor, given: Given) -> Said:
        return self.joint.said(self.each[:, index])

    def summary(self) -> dict[str, object]:
        more = {} if self.joint.by_entropy else {"weights": [round(float(w), 4) for w in self.joint.weights]}
        return {**super().summary(), "members": len(self.each), "bytes": self.each.numel() * self.each.element_size(), **more}


class JointTeacher(Teacher):
    """Members that know the same classes and, where they read, the same tokens."""

    def __init__(self, members: Sequence[Teacher], spec: Ensemble, place: str = "teacher") -> None:
        """place: the field that names it."""
        first = members[0]
        for number, member in enumerate(members[1:], 1):
            _refuse_unlike(first, member, place, number)
        self.parts = list(members)
        self.network = Joint([(member.network, member.config) for member in members], spec)
        self.config = first.config.model_copy(update={"input": Scaling()})  # each scales for itself
        self.device, self.cache, self.warn, self.bf16 = first.device, first.cache, first.warn, first.bf16
        self.sha256 = sha256("/".join(member.sha256 for member in members).encode()).hexdigest()
        self.size_bytes = sum(member.size_bytes for member in members)
        self.learns = spec.weights == "learned"

    @property
    def joint(self) -> Joint:
        assert isinstance(self.network, Joint)
        return self.network

    def rows(self, split: Split | TextSplit) -> Rows:
        return self.parts[0].rows(split)

    def outputs(self, split: Split | TextSplit, measured: bool = False) -> JointOutputs:
        found = [member.outputs(split, measured) for member in self.parts]
        each = torch.stack([outputs.logits for outputs in found])
        if self.learns:  # of the first rows it is asked of, which are those to train on
            self.joint.learn(each, split.labels.to(self.device))
            self.learns = False
        built = Built.mean([outputs.built for outputs in found])
        return JointOutputs(self.joint.together(each, 1.0), built, each=each, joint=self.joint)


def _refuse_unlike(first: Teacher, other: Teacher, field: str, number: int) -> None:
    why, place = None, f"{field}.ensemble.{number}"
    if other.config.classes != first.config.classes:
        why = f"it knows the classes {', '.join(other.config.classes[:5])}, the first member {', '.join(first.config.classes[:5])}"
    elif isinstance(first.network, TextNetwork) != isinstance(other.network, TextNetwork):
        why = "one reads text, the other does not"
    elif isinstance(first.network, TextNetwork) and isinstance(other.network, TextNetwork):
        odd = first.network.reader.differs(other.network.reader)
        why = f"its tokenizer is not the first member's: {odd}" if odd is not None else None
        shorter, longest = other.network.positions, first.network.reading.max_length
        if why is None and shorter is not None and shorter < longest:
            why = f"it reads {shorter} tokens, the first member {longest}; name the one that reads fewest first"
    if why is None and first.config.multi_label:
        place, why = f"{field}.ensemble", "members tell one class of each row; these tell any number"
    if why is not None:
        raise InvalidSpec(f"{place}: {why}.", code=ErrorCode.DOES_NOT_FIT, param=place, hint="Members must be alike in what they tell.")
