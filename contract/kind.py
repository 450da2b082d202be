"""What a job can be."""

from enum import StrEnum


class JobKind(StrEnum):
    TRAIN = "train"
    DISTILL = "distill"
    EVALUATE = "evaluate"
    EXPORT = "export"

    @property
    def trains(self) -> bool:
        """Whether a network comes out of it that was not there before."""
        return self in (JobKind.TRAIN, JobKind.DISTILL)

    @property
    def a(self) -> str:
        """With its article."""
        return f"{'an' if self[0] in 'aeiou' else 'a'} {self}"
