"""What a job can be."""

from enum import StrEnum


class JobKind(StrEnum):
    TRAIN = "train"
    DISTILL = "distill"
    EVALUATE = "evaluate"
