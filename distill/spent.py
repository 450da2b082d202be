"""What training takes: time, and the most memory that its process held."""

import time
from pathlib import Path

import torch

from distill.device import peak

FORGET = Path("/proc/self/clear_refs")


class Spent:
    """From the first step of an attempt on."""

    def __init__(self, device: torch.device, step: int) -> None:
        self.device, self.step = device, step
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            _forget_peak()
        self.began = time.monotonic()

    def told(self, step: int) -> dict[str, float | int | None] | None:
        """Seconds of all steps up to this one, at the pace of this attempt's; None where it made none. Memory: on a GPU what the allocator
        gave, on a CPU what the whole process held, libraries included; None where the system does not tell."""
        if step <= self.step:
            return None
        seconds = (time.monotonic() - self.began) / (step - self.step) * step
        most = torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else peak()
        return {"seconds": round(seconds, 3), "peak_memory": most}


def _forget_peak() -> None:
    """A process that has held more before, for another run say, is not to be blamed for it."""
    try:
        FORGET.write_text("5")
    except OSError:
        return  # then it is the most it ever held
