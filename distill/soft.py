"""What a student hears of its teacher, and what the two must agree in to be compared."""

from collections.abc import Callable
from functools import partial
from math import prod

from torch import nn

from contract.errors import ErrorCode, InvalidSpec
from contract.events import LogLine, PhaseChanged, RunEvent
from contract.model import ModelConfig
from contract.registry.tasks import LANGUAGE
from contract.spec import JobSpec
from contract.status import Phase
from distill import teacher_places, teacher_tokens
from distill.by_task import TaskTeacher
from distill.data import Rows, Split, TextSplit
from distill.data.blocks import CausalBlocks
from distill.data.spans import SpanTokens
from distill.data.targets import TargetTokens
from distill.data.tokens import TaggedTokens
from distill.ensemble import JointTeacher
from distill.networks import TextNetwork, rows_for
from distill.sights import looks, same_tokens
from distill.teacher import Live, Outputs, Teacher
from distill.written import Written

Emit = Callable[[RunEvent], None]
Kept = Outputs | teacher_places.PlaceOutputs | teacher_tokens.TokenOutputs
Soft = Kept | Live
Heard = Soft | Written
TOP_K = 64


def soft_targets(spec: JobSpec, teacher: Teacher, train: Split | TextSplit, network: nn.Module, config: ModelConfig, emit: Emit) -> Soft:
    """The teacher's outputs for all rows, once; or the teacher itself, where every epoch shows it something else."""
    if isinstance(teacher, TaskTeacher):
        return _asked_once(f"{len(train):,} rows of {len(teacher.parts)} tasks", partial(teacher.outputs, train), emit)
    seen, anew = looks(spec), spec.shown.augment is not None and spec.shown.augment.anew
    if isinstance(teacher, JointTeacher) and teacher.learns and (anew or spec.teacher_outputs == "live"):
        teacher.outputs(train)
    if anew:
        if isinstance(train, TextSplit):
            _refuse_other_tokens(teacher.parts[0].network if isinstance(teacher, JointTeacher) else teacher.network, network)
        return Live(teacher, len(train), looks=seen)
    if spec.task in LANGUAGE:
        _refuse_other_tokens(teacher.network, network)
        if spec.teacher_outputs != "cached":
            return Live(teacher, len(train), looks=seen)
        rows, k = rows_for(network, config, train), spec.teacher_top_k or TOP_K
        assert isinstance(rows, (CausalBlocks, TargetTokens))
        heated = tuple(sorted({getattr(term, "temperature", 1.0) for term in spec.terms if term.NEEDS_TEACHER})) or (1.0,)
        units = "blocks" if spec.task == "causal-lm" else "rows"
        told = f"{rows.answers.sum():,} tokens in {len(rows):,} {units}, {teacher_tokens.size(rows, k, len(heated)) / 1e6:,.1f} MB to keep"
        return _asked_once(told, partial(teacher_tokens.outputs, teacher, rows, k, heated), emit)
    if same_tokens(spec):  # both are shown the same
        _refuse_other_tokens(teacher.network, network)
        return Live(teacher, len(train), looks=seen)
    if teacher.config.made_for.answers == "span":
        _refuse_other_tokens(teacher.network, network)
        heard = rows_for(network, config, train).to(teacher.device)
    else:
        heard = teacher.rows(train)
    if isinstance(heard, TaggedTokens):
        refuse_other_words(heard, rows_for(network, config, train))
    if seen or spec.teacher_outputs == "live":
        return Live(teacher, len(train), heard, seen)
    if isinstance(heard, (SpanTokens, TaggedTokens)):
        size = 4 * prod(teacher_places.shape(teacher, heard))
        return _asked_once(f"{len(train):,} rows, {size / 1e6:,.1f} MB to keep", partial(teacher_places.outputs, teacher, heard), emit)
    return _asked_once(f"{len(train):,} rows", partial(teacher.outputs, train), emit)


def _asked_once(told: str, ask: Callable[[], Kept], emit: Emit) -> Kept:
    emit(PhaseChanged(phase=Phase.TEACHER_INFERENCE, message=told))
    outputs = ask()
    emit(LogLine(message=f"teacher outputs for {told}, cache: {outputs.built.how}", data=outputs.summary()))
    return outputs


def _refuse_other_tokens(teacher: nn.Module, student: nn.Module) -> None:
    """Where both are asked of the same tokens, they must know the same ones, and be able to read as many."""
    _refuse_other_vocabulary(teacher, student)
    _refuse_longer_blocks(teacher, student)


def _refuse_other_vocabulary(teacher: nn.Module, student: nn.Module) -> None:
    assert isinstance(teacher, TextNetwork) and isinstance(student, TextNetwork)
    if (odd := teacher.reader.differs(student.reader)) is not None:
        raise InvalidSpec(
            f"tokenizer: teacher and student have different vocabularies: {odd}. Token by token they cannot be compared.",
            code=ErrorCode.DOES_NOT_FIT,
            param="tokenizer",
            hint="Leave `tokenizer` out, so that the student reads by the teacher's. With tokens of its own it can learn by losses without "
            "a teacher (mlm, clm, cross_entropy), or in seq2seq from the texts its teacher writes (seq_kd).",
        )


def refuse_other_words(heard: Rows, read: Rows) -> None:
    """Both may split words as they like, but they must get equally far in each text."""
    assert isinstance(heard, TaggedTokens) and isinstance(read, TaggedTokens)
    differ = heard.words().cpu() != read.words().cpu()
    if differ.any():
        raise InvalidSpec(
            f"data.max_length: of {int(differ.sum()):,} texts teacher and student do not read equally many words; one cuts earlier.",
            code=ErrorCode.DOES_NOT_FIT,
            param="data.max_length",
            hint="Set it so that both read whole texts, or let the student read by the teacher's tokenizer: leave `tokenizer` out.",
        )


def _refuse_longer_blocks(teacher: nn.Module, student: nn.Module) -> None:
    assert isinstance(teacher, TextNetwork) and isinstance(student, TextNetwork)
    if teacher.positions is not None and student.reading.max_length > teacher.positions:
        raise InvalidSpec(
            f"data.max_length: {student.reading.max_length} tokens are more than the teacher's {teacher.positions} positions.",
            code=ErrorCode.DOES_NOT_FIT,
            param="data.max_length",
            hint=f"Set it to {teacher.positions} or less.",
        )
