"""Does a written network say what the original says?"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from contract.errors import ErrorCode, JobError
from contract.model import ModelConfig
from distill.data import Rows
from distill.data.batch import IMPOSSIBLE
from distill.networks import said_of

ROWS, AT_ONCE = 256, 8
Asked = tuple[nn.Module, ModelConfig]


@dataclass(frozen=True)
class Parity:
    """rows: compared; difference: of logits, at most and in the mean; largest: logit of the original, without sign; same_top1: share of
    rows, or tokens, of which both find the same likeliest."""

    rows: int
    max_difference: float
    mean_difference: float
    largest: float
    same_top1: float

    def told(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "max_abs_difference": self.max_difference,
            "mean_abs_difference": self.mean_difference,
            "largest_abs_logit": self.largest,
            "same_top1": self.same_top1,
        }

    def hold(self, name: str, tolerance: float) -> None:
        """JobError where the file of this name differs by more than `tolerance`, as a share of the largest logit, or of 1."""
        allowed = tolerance * max(1.0, self.largest)
        if not self.max_difference <= allowed:  # NaN, too, is no agreement
            raise JobError(
                f"{name} differs from the original: its logits by up to {self.max_difference:.3g} on {self.rows} rows, where {allowed:.3g} "
                f"is allowed; {100 * self.same_top1:.1f} % have the same likeliest answer.",
                code=ErrorCode.EXPORT_DIFFERS,
                param="export.tolerance",
                hint="If that is near enough, raise export.tolerance.",
            )


def compared(original: Asked, other: Asked, rows: Rows) -> Parity:
    """Of the first rows, and of texts at every token that is asked for."""
    count = min(ROWS, len(rows))
    most, total, numbers, largest, same, answers = 0.0, 0.0, 0, 0.0, 0, 0
    with torch.inference_mode():
        for index in torch.split(torch.arange(count), AT_ONCE):
            batch = rows.batch(index)
            a, b = (said_of(network, config, batch.given).logits.float() for network, config in (original, other))
            possible = a > IMPOSSIBLE  # the rest is set where the networks have spoken
            apart = (a - b).abs()[possible]
            most = max(most, apart.max().item()) if apart.isfinite().all() else float("nan")
            total, numbers = total + apart.sum().item(), numbers + apart.numel()
            largest = max(largest, a[possible].abs().max().item())
            same, answers = same + int((a.argmax(1) == b.argmax(1)).sum()), answers + len(a)
    return Parity(count, most, total / max(1, numbers), largest, same / max(1, answers))
