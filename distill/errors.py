"""Errors of a run. JobError: repeating would not help. Everything else that escapes counts as a crash and is tried again."""

import torch

from contract.errors import ErrorCode, JobError


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


def memory_needed(optimizer: torch.optim.Optimizer, rows: int) -> str:
    """What a step takes whatever its rows, and how many did not fit beside that."""
    every = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    moments = 2 if not isinstance(optimizer, torch.optim.SGD) else 1 if optimizer.defaults["momentum"] else 0
    size = sum(parameter.nbytes for parameter in every) * (2 + moments)
    return f"weights, gradients and moments take {size / 1e6:,.0f} MB, and {rows} row{'s' * (rows > 1)} at a time did not fit beside them"


class CheckpointInvalidError(Exception):
    """A checkpoint whose files do not match its manifest; the one before it may still do."""
