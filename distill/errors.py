"""Errors of a run. JobError: repeating would not help. Everything else that escapes counts as a crash and is tried again."""

import torch

from contract.errors import ErrorCode, JobError
from contract.units import size
from distill.sharding import here

WEIGHTS = "weights, gradients and moments"


def diverged(step: int, what: str, how: str = "became NaN or infinite") -> JobError:
    return JobError(
        f"The {what} {how} at step {step}.",
        code=ErrorCode.DIVERGED,
        param="training.optimizer.lr",
        hint="Lower training.optimizer.lr, add training.schedule.warmup or training.clip_norm; checkpoints before this step are kept.",
    )


def out_of_memory(error: BaseException) -> bool:
    """Whether an allocation was refused: torch has an error of its own for GPUs alone."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def refuse_too_large(optimizer: torch.optim.Optimizer, most: int | None) -> None:
    """Before the first step; most: bytes there are in all, None where nobody knows. It would not end in an error else: a system that
    has promised more memory than it has kills the process, or another one."""
    if most is not None and (needed := _held(optimizer)) > most:
        raise JobError(
            f"Memory would run out: {WEIGHTS} take {size(needed)}, and there are {size(most)} here in all.",
            code=ErrorCode.OUT_OF_MEMORY,
            param="student",
            hint="Use a smaller student, or a worker with more memory.",
        )


def memory_needed(optimizer: torch.optim.Optimizer, rows: int) -> str:
    """What a step takes whatever its rows, and how many did not fit beside that."""
    return f"{WEIGHTS} take {size(_held(optimizer))}, and {rows} row{'s' * (rows > 1)} at a time did not fit beside them"


def _held(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of what a step needs whatever its rows."""
    every = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    moments = 2 if not isinstance(optimizer, torch.optim.SGD) else 1 if optimizer.defaults["momentum"] else 0
    return sum(int(here(parameter).nbytes) for parameter in every) * (2 + moments)


class CheckpointInvalidError(Exception):
    """A checkpoint whose files do not match its manifest; the one before it may still do."""
