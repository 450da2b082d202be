"""What a worker measured of its machine, and what a job will take there."""

from pydantic import BaseModel, Field

from contract.units import duration, size

SHOWN = 0.05  # seconds; less is nothing to a reader


class Machine(BaseModel):
    """Measured by a worker once it is idle, by tiny runs of the engine in a process like a trainer's."""

    processor: str
    device: str = Field(description="cpu, or a GPU's name.")
    threads: int = Field(description="Of a trainer: cores ÷ slots.")
    torch: str
    run_seconds: float = Field(description="Of a run without its steps: start, first step, measuring, report.")
    step_seconds: float = Field(description="Of a step, whatever the network.")
    kernel_seconds: float = Field(description="More of a step for each kernel of a forward pass.")
    flops: float = Field(description="Floating-point operations per second of a large matrix product in fp32.")
    bf16_flops: float | None = Field(default=None, description="The same in bf16, where `precision: auto` would choose it.")
    bytes_per_second: float = Field(description="Copied in memory.")
    memory_bytes: int = Field(description="Of a trainer without data, networks and gradients.")
    capacity_bytes: int | None = Field(default=None, description="The most memory a trainer can have: a GPU's, or the machine's.")


class Where(BaseModel):
    """The machine that figures speak of: of the live workers measured, the slowest."""

    worker: str
    host: str
    processor: str
    device: str
    threads: int
    slots: int = Field(description="Of all live workers: so many runs at once.")
    capacity_bytes: int | None = Field(default=None, description="Of all live workers: the most memory a trainer can have on one.")


class Memory(BaseModel):
    """Bytes of one run's process at its largest."""

    total: int
    process: int = Field(description="Python and its libraries.")
    weights: int
    gradients: int
    optimizer: int
    activations: int
    rows: int
    teacher: int = Field(description="Its weights, and its outputs where they are kept.")


class Disk(BaseModel):
    """Bytes in the store when all runs have ended, and beside it those of the cache of teacher outputs."""

    total: int
    students: int
    checkpoints: int
    teacher_outputs: int


class Estimate(BaseModel):
    """What a job comes to. null: `reason` says what is missing; `notes` which figures are bounds."""

    parameters: dict[str, int | None]
    vocabulary: dict[str, int] = Field(default={}, description="Of networks that read text: tokens each knows, or at most knows.")
    tokens_per_row: int | None = Field(default=None, description="As the student reads, by about 4.5 characters a token.")
    train_rows: int | None
    validation_rows: int | None
    test_rows: int | None
    runs: int
    steps: int | None
    step_seconds: float | None = None
    run_seconds: float | None = Field(default=None, description="Of the longest run.")
    teacher_seconds: float | None = Field(
        default=None, description="To ask the teacher once for all rows; none where its outputs are kept."
    )
    teacher_requests: int | None = Field(
        default=None, description="To a remote teacher, when nothing is kept of it; of causal-lm by about 4.5 characters a token."
    )
    seconds: float | None = Field(default=None, description="Until all runs have ended, on all slots, when nothing else runs.")
    memory: Memory | None = None
    disk: Disk | None = None
    machine: Where | None = None
    reason: str | None = None
    notes: list[str] = []

    @property
    def takes(self) -> str | None:
        """`about 12 s · 6 runs of 3.4 s on 2 slots · the teacher's pass 0.2 s`, or why nobody can say."""
        if self.seconds is None or self.run_seconds is None or self.machine is None:
            return f"not known: {self.reason}" if self.reason else None
        said = [f"about {duration(self.seconds)}"]
        if self.runs > 1:
            slots = min(self.runs, self.machine.slots)
            said.append(f"{self.runs} runs of up to {duration(self.run_seconds)} on {slots} slot{'s' * (slots > 1)}")
        if self.teacher_seconds and self.teacher_seconds >= SHOWN:
            said.append(f"the teacher's pass {duration(self.teacher_seconds)}")
        return " · ".join([*said, f"{self.machine.host}, {self.machine.device}"])

    @property
    def needs(self) -> str | None:
        """`420 MB of memory · 1.2 MB of disk`."""
        if self.memory is None or self.disk is None:
            return None
        return f"{size(self.memory.total)} of memory{' for each run' * (self.runs > 1)} · {size(self.disk.total)} of disk"
