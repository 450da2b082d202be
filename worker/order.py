"""What passes between a worker and its trainer. Light: the worker itself never loads torch."""

from pathlib import Path

from pydantic import BaseModel, Field

from contract.spec import JobSpec
from outward.access import Access

BEAT, STOP = b"beat", b"stop"  # the lease holds; leave at the next step


class Order(BaseModel):
    """Everything a trainer is told."""

    spec: JobSpec
    attempt: str  # `job/number`
    workdir: Path
    cache: Path
    shelf: str = ""  # URL of the store in which other hosts find what this one keeps
    datasets: dict[str, tuple[Path, str]]  # reference → (file, its original name)
    models: dict[str, Path]
    resume_from: list[Path]
    threads: int
    device: str | None  # CUDA_VISIBLE_DEVICES
    silence_seconds: float  # without a beat for this long, die
    access: Access | None = None  # to the endpoint of a remote teacher
    notes: list[str] = Field(default_factory=list)  # what the job should be told first
