"""A process that wants the outputs of a teacher while another wants the same. A module, so that spawn can import it."""

import time
from pathlib import Path
from typing import Any

import torch

from contract.check import parse_spec
from distill import teacher as teacher_module
from distill.cache import Cache
from distill.data import load
from distill.inputs import Inputs


def build(document: dict[str, Any], folder: Path, cache: Path, ready: Any, answers: Any, part: int = 0) -> None:
    """Puts (share that was built here, parts asked for here, logits as bytes) into `answers`. Each part takes so long that the other
    asks in the middle of it. part: rows of one, all when 0."""
    torch.set_num_threads(1)
    real, asked = teacher_module.infer, 0
    if part:
        teacher_module.BATCH, teacher_module.PART = part, 0

    def infer(*given: Any) -> torch.Tensor:
        nonlocal asked
        asked += 1
        time.sleep(0.2 if part else 1)
        return real(*given)

    teacher_module.infer = infer  # type: ignore[assignment]
    spec = parse_spec(document)
    rows = load(spec, Inputs.local(spec, cache)).train
    teacher = teacher_module.Teacher(folder, Cache(cache), torch.device("cpu"), print)
    ready.wait(timeout=100)
    found = teacher.outputs(rows)
    answers.put((found.built.share, asked, found.logits.numpy().tobytes()))
