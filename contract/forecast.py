"""How long a job takes, and how much memory and disk: from the sizes of its parts and what a worker measured of its machine.

A step is a fixed part, a part for each kernel, the multiplications at the speed of a large product times the network's PACE, and the
optimiser's way through memory; a backward pass costs twice a forward pass. `python -m benchmarks.preflight` shows how near that comes.
"""

from dataclasses import dataclass, field
from math import ceil

from contract.machine import Disk, Machine, Memory
from contract.model import ModelConfig
from contract.registry import BUILTINS, TASKS
from contract.registry.tasks import LANGUAGE
from contract.spec import JobKind, JobSpec, RemoteTeacher

CHARACTERS = 4.5  # of a token
AT_ONCE = 1024  # rows that a network is asked for without gradients, and of texts 32 times as many tokens
TOP_K = 64  # tokens kept of each answer
MEASURED = (1, 64)  # rows with which the speed of a network is taken
MEASURING = 0.05  # seconds for each
SETTLING = 0.25  # seconds to fetch inputs and hand in the result
READ = 200e6  # bytes of rows read and hashed in a second
WRITTEN = 200e6  # bytes of checkpoints written in a second
UPDATE = 40  # bytes that the optimiser moves for each parameter, the gradient's among them
SAID = 500  # bytes moved for each logit of a vocabulary in a step; without gradients a quarter
# What Python does takes longer on slower machines: of what `run_seconds` is there.
LIBRARY = 8.0  # to import transformers
FOUND = 6.0  # to find the built-in texts in Python's library
SPLIT = 2e-6  # for each character made to tokens
MERGED = 1.2e-5  # for each character that a new tokenizer is made of
SCORED = 7e-4  # for each row whose answers are scored, of more than MOST_SCORED for these
MOST_SCORED = 2000
LIBRARY_BYTES = 120e6  # in memory
FILES = 6_000  # bytes of a report, a card and configs
STATE = 20_000  # bytes of a checkpoint besides tensors
EXPORTED = 8.0  # to write a network as a graph, of which most is to trace it
WORD = 70  # bytes of a tokenizer's file for each token
WORTH = 128  # hidden states so wide gain more by bf16 than its conversions cost: `python -m benchmarks.precision`
REMEMBERED = {"adam": 2, "adamw": 2, "sgd": 1}  # numbers that an optimiser keeps of each parameter


@dataclass(frozen=True)
class Facts:
    """What is known of a job's parts before it runs."""

    student: ModelConfig
    teachers: list[ModelConfig] = field(default_factory=list)
    rows: int = 0
    held_out: int = 0
    measured: int = 0
    row_bytes: float = 0.0  # in memory; of texts their characters


def asked_live(spec: JobSpec) -> bool:
    """Whether the teacher answers in every step, rather than once for all rows."""
    augment = spec.shown.augment
    inside = any(term.NEEDS_TEACHER and term.SEES != "logits" for term in spec.terms)
    spoken = spec.task in LANGUAGE and spec.hears not in ("cached", "text")
    return inside or spoken or spec.teacher_outputs == "live" or (augment is not None and augment.anew)


@dataclass(frozen=True)
class Forecast:
    """Of one run."""

    spec: JobSpec
    facts: Facts
    machine: Machine

    @property
    def learns(self) -> bool:
        return self.spec.kind.trains

    @property
    def teachers(self) -> list[ModelConfig]:
        return self.facts.teachers if self.spec.kind is JobKind.DISTILL else []

    @property
    def seconds(self) -> float:
        """From its start to its end, without the teacher's one pass."""
        facts, student = self.facts, self.facts.student
        read = (facts.rows + facts.held_out + facts.measured) * facts.row_bytes
        found = self.machine.run_seconds + SETTLING + read / READ
        if student.text is not None:
            found += self.machine.run_seconds * self._preparing(read)
        if self.spec.written_as is not None:
            found += self.machine.run_seconds * EXPORTED * len(self._written) + self._pass(student, len(self._written) * facts.measured)
        found += self.machine.run_seconds * SCORED * self._scored()
        for network in (student, *self.teachers):
            found += self._pass(network, facts.measured)
            found += sum(max(MEASURING, 6 * self._asked(network, units)) for units in MEASURED)
        found -= len(MEASURED) * MEASURING  # of one network it is in `run_seconds`
        if self.learns:
            found += self.steps * self.step + self.spec.training.epochs * self._pass(student, facts.held_out)
            found += self._checkpoints() * self._checkpoint / WRITTEN
        return found

    @property
    def steps(self) -> int:
        return self.spec.training.epochs * ceil(self._shown(self.facts.student, self.facts.rows)[0] / self.spec.training.batch_size)

    @property
    def tokens(self) -> int | None:
        """Of a row, as the student reads."""
        return self._shown(self.facts.student, 1)[1] or None

    @property
    def step(self) -> float:
        """Seconds of a step."""
        training, network, machine = self.spec.training, self.facts.student, self.machine
        rows, tokens = self._shown(network, self.facts.rows)
        batch = min(training.batch_size, rows)
        parts = ceil(batch / (training.micro_batch_size or batch))
        again = 4 / 3 if training.gradient_checkpointing else 1.0
        work = network.work(tokens)
        found = machine.step_seconds + machine.kernel_seconds * work.kernels * parts * again
        found += again * 6 * work.multiply_adds * batch / self._training_speed(network)
        found += (UPDATE * network.parameters + SAID * self._logits(network, batch)) / machine.bytes_per_second
        if asked_live(self.spec):
            found += sum(self._asked(teacher, batch) for teacher in self.teachers)
        return found

    @property
    def teacher(self) -> float:
        """Seconds to ask the teachers once for all rows; 0 where they are asked in every step."""
        return 0.0 if asked_live(self.spec) else sum(self._pass(teacher, self.facts.rows) for teacher in self.teachers)

    @property
    def memory(self) -> Memory:
        facts, training, student = self.facts, self.spec.training, self.facts.student
        tokens = self._shown(student, 1)[1]
        batch = min(training.micro_batch_size or training.batch_size, facts.rows)
        kept = 4 * batch * student.work(tokens).values if self.learns else 0
        networks = (student, *self.teachers)
        at_once = [4 * self._at_once(network)[0] * network.work(self._shown(network, 1)[1]).widest for network in networks]
        said = [4 * 4 * self._logits(network, max(MEASURED)) for network in networks]  # as they are, in float32, and their softmax
        library = LIBRARY_BYTES if any(_of_library(network) for network in networks) else 0
        weights = 4 * student.parameters
        best = weights if training.early_stopping is not None else 0
        outputs = 0 if asked_live(self.spec) else self._outputs(facts.rows)
        parts = {
            "process": self.machine.memory_bytes + round(library),
            "weights": weights + best,
            "gradients": weights if self.learns else 0,
            "optimizer": weights * self._remembered if self.learns else 0,
            "activations": max(kept, *at_once, *said),
            "rows": round(2 * (facts.rows + facts.held_out + facts.measured) * facts.row_bytes),  # as read, and as kept
            "teacher": sum(4 * teacher.parameters for teacher in self.teachers) + outputs,
        }
        return Memory(total=sum(parts.values()), **parts)

    @property
    def disk(self) -> Disk:
        """Of all its runs nothing is shared but the teacher's outputs, which stand in each one's figure."""
        text = self.facts.student.text
        bytes_each = (4 if self.learns or self._written else 0) + sum(self._written)
        student = bytes_each * self.facts.student.parameters + (WORD * text.vocabulary if text and bytes_each else 0)
        checkpoints = self._kept() * self._checkpoint if self.learns else 0
        outputs = self._outputs((0 if asked_live(self.spec) else self.facts.rows) + self.facts.measured) if self.teachers else 0
        return Disk(
            total=student + FILES + checkpoints + outputs, students=student + FILES, checkpoints=checkpoints, teacher_outputs=outputs
        )

    # ---- parts

    @property
    def _written(self) -> list[int]:
        """Of each file that an `export` job writes, the bytes of a parameter."""
        asked = self.spec.written_as
        return [] if asked is None else [4, 1] if asked.quantize == "int8" else [4]

    def _shown(self, network: ModelConfig, rows: int) -> tuple[int, int]:
        """Rows or blocks, and the tokens of each; 0 for what is no text."""
        if network.text is None:
            return rows, 0
        tokens = self.facts.row_bytes / CHARACTERS
        longest = min(self.spec.data.max_length or network.text.max_length, network.text.max_length)
        if TASKS[self.spec.task].answers == "tokens":  # texts one after the other, cut into blocks
            return max(1, ceil(rows * tokens / longest)), longest
        return rows, min(longest, ceil(tokens) + 2)

    def _logits(self, network: ModelConfig, units: int) -> int:
        """Numbers of a vocabulary that a network says of so many rows or blocks."""
        if network.text is None or not network.made_for.speaks:
            return 0
        return units * self._shown(network, 1)[1] * network.text.vocabulary

    def _preparing(self, characters: float) -> float:
        """Of `run_seconds`: until texts and the networks that read them are there."""
        found = SPLIT * characters * (1 + len(self.teachers))
        if self.spec.new_tokenizer is not None:
            found += MERGED * self.facts.rows * self.facts.row_bytes
        found += LIBRARY * any(_of_library(network) for network in (self.facts.student, *self.teachers))
        return found + FOUND * any(source.dataset in BUILTINS for source in self.spec.sources().values())

    def _scored(self) -> int:
        """Rows: those measured, of student and teacher, and of a teacher asked once those trained on."""
        sets = [self.facts.measured, *([self.facts.measured, 0 if asked_live(self.spec) else self.facts.rows] if self.teachers else [])]
        return sum(min(rows, MOST_SCORED) for rows in sets)

    def _training_speed(self, network: ModelConfig) -> float:
        """Of products in a step; they may be in bf16, all others are in fp32."""
        wide = (network.model_extra or {}).get("hidden", 0)
        short = self.machine.bf16_flops if self.spec.training.precision != "fp32" and _of_library(network) and wide >= WORTH else None
        return (short or self.machine.flops) * network.pace

    def _at_once(self, network: ModelConfig) -> tuple[int, int]:
        """Rows or blocks that it is asked for at a time, and the tokens of each."""
        tokens = self._shown(network, 1)[1]
        return (max(1, min(AT_ONCE, 32 * AT_ONCE // tokens)) if tokens else AT_ONCE), tokens

    def _pass(self, network: ModelConfig, rows: int) -> float:
        """Seconds of a forward pass over these rows, without gradients."""
        return self._asked(network, self._shown(network, rows)[0]) if rows else 0.0

    def _asked(self, network: ModelConfig, units: int) -> float:
        """The same, of rows or blocks."""
        at_once, tokens = self._at_once(network)
        work = network.work(tokens)
        found = ceil(units / at_once) * work.kernels * self.machine.kernel_seconds / 3
        found += SAID / 4 * self._logits(network, units) / self.machine.bytes_per_second
        return found + 2 * work.multiply_adds * units / (self.machine.flops * network.pace)

    def _outputs(self, rows: int) -> int:
        """Bytes of what the teachers say of these rows."""
        found = 0
        for teacher in self.teachers:
            units, tokens = self._shown(teacher, rows)
            if self.spec.task in LANGUAGE:
                found += units * tokens * (6 * (self.spec.teacher_top_k or TOP_K) + 4) if self.spec.teacher_outputs == "cached" else 0
            else:
                found += 4 * units * max(1, len(teacher.classes)) * (tokens if teacher.by_token else 1)
        return found

    @property
    def _remembered(self) -> int:
        optimizer = self.spec.training.optimizer
        return 0 if optimizer.momentum == 0 else REMEMBERED[optimizer.name]

    @property
    def _checkpoint(self) -> int:
        best = self.spec.training.early_stopping is not None
        return 4 * self.facts.student.parameters * (1 + self._remembered + best) + STATE

    def _checkpoints(self) -> int:
        """How many are written."""
        every, trains = self.spec.training.checkpoint_every_seconds, self.steps * self.step
        return self.steps if every == 0 else 1 + int(trains / every)

    def _kept(self) -> int:
        keep = self.spec.training.keep
        return min(self._checkpoints(), keep.last + (keep.best if self.facts.held_out else 0))


def _of_library(network: ModelConfig) -> bool:
    """Whether transformers builds it."""
    return network.of_library or network.architecture.LAYERED


def teacher_requests(spec: JobSpec, rows: int | None, measured: int | None, row_bytes: float | None, longest: int | None) -> int | None:
    """To a remote teacher, when nothing is kept of what it says: one for each row, or of causal-lm's probabilities for each block of
    `longest` tokens; None where nobody knows. rows: trained on; measured: test rows."""
    if not isinstance(spec.teacher, RemoteTeacher) or rows is None or measured is None:
        return None
    if spec.hears == "text":
        return rows + (min(measured, MOST_SCORED) if spec.task == "seq2seq" else 0)
    if row_bytes is None or longest is None:
        return None
    return sum(max(1, ceil(some * row_bytes / CHARACTERS / longest)) for some in (rows, measured))


def wall(runs: list[float], slots: int) -> float:
    """Seconds until runs have ended that start in this order, each on the first of the slots that is free."""
    busy = [0.0] * max(1, min(slots, len(runs)))
    for seconds in runs:
        busy[busy.index(min(busy))] += seconds
    return max(busy)
