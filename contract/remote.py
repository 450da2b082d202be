"""A teacher behind an endpoint that speaks the OpenAI API (vLLM, SGLang, OpenAI): what a spec says of it, and what can be asked of it.

Nothing of it can be looked into: it gives its text, and where it tells them the likeliest tokens at each place of a text.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from contract.base import Sent
from contract.errors import ErrorCode, JobError
from contract.refs import ModelRef, Revision
from contract.registry import LogitMse
from contract.rules import At, wrong

if TYPE_CHECKING:
    from contract.spec import JobSpec

ENDPOINT = r"^https?://[^\s/?#@\\]+(/[^\s?#\\]*)?$"
PLACE = "{text}"  # where a row's text goes
TOP_K = 20  # likeliest tokens asked for when not said: vLLM's own limit (--max-logprobs)


class TeacherRefused(JobError):
    """Its endpoint answers that it will not; `answered`: with which status code."""

    default_code = ErrorCode.TEACHER_REFUSED
    answered = 0


class RemoteTeacher(Sent):
    """A teacher that is asked over HTTP. The operator says which endpoints may be asked, and keeps their keys."""

    endpoint: Annotated[str, Field(max_length=500, pattern=ENDPOINT)] = Field(
        description="The address below which it answers, https://host/v1. The operator allows it (POTSTILL_TEACHER_ENDPOINTS)."
    )
    model: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x20\x7f]+$")] = Field(
        description="The model's name there."
    )
    revision: Revision | None = Field(
        default=None, description="What you call its present version. Answers are kept under it: change it when the model there changes."
    )
    api: Literal["chat", "completions"] | None = Field(
        default=None, description="How it is asked for text; of seq2seq `chat` when not said, of causal-lm `completions`."
    )
    prompt: Annotated[str, Field(min_length=1, max_length=20_000)] | None = Field(
        default=None, description="What it is asked of each row, with {text} where the row's text goes; the text alone when not said."
    )
    max_tokens: int = Field(default=256, ge=1, le=65_536, description="Tokens that it writes for a row at most.")
    temperature: float = Field(default=0.0, ge=0, le=2, description="At which it writes; 0: always the likeliest token.")
    concurrency: int = Field(
        default=8, ge=1, le=256, description="Requests on their way at once; never more than the operator's POTSTILL_TEACHER_CONCURRENCY."
    )
    max_tokens_total: int | None = Field(
        default=None,
        ge=1,
        description="What all answers may cost, prompts and completions, in tokens as the endpoint counts them. Once so many are used no "
        "request is begun and the job fails; those on their way then still count.",
    )

    @field_validator("endpoint")
    @classmethod
    def _without_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @field_validator("prompt")
    @classmethod
    def _with_text(cls, value: str | None) -> str | None:
        if value is not None and PLACE not in value:
            raise wrong(f"it never shows the row: write {PLACE} where the row's text goes")
        return value


def _remote_teacher(spec: "JobSpec") -> None:
    teacher = spec.teacher
    if not isinstance(teacher, RemoteTeacher):
        return
    if spec.task not in ("causal-lm", "seq2seq"):
        raise wrong(f"a remote teacher is asked for causal-lm and seq2seq, not for {spec.task}; name a trained network", at=("teacher",))
    if getattr(spec.student, "init", None) == "teacher":
        raise wrong("a remote teacher has no layers to take; describe the student, or name the network", at=("student", "init"))
    if spec.shown.on_policy:
        place = ("data", "on_policy") if spec.data.on_policy else ("recipe", "name")
        raise wrong("a remote teacher is asked once, and what the student writes is new every time; use another recipe", at=place)
    if spec.teacher_outputs == "live":
        raise wrong("a remote teacher is asked once, and its answers are kept; leave this out", at=("teacher_outputs",))
    for i, term in enumerate(spec.terms):
        if term.SEES != "logits":
            raise wrong(f"{term.loss} looks inside the teacher, and a remote one cannot be looked into", at=_of_term(spec, i, "loss"))
    if spec.hears != "text":
        _of_probabilities(spec, teacher)


def _of_probabilities(spec: "JobSpec", teacher: RemoteTeacher) -> None:
    if spec.task != "causal-lm":
        raise wrong(f"a remote teacher of {spec.task} gives its text: use recipe: seq_kd", at=("recipe" if spec.recipe else "objective",))
    if not any(term.NEEDS_TEACHER for term in spec.terms):
        raise wrong("no term hears the teacher; use kl, or recipe: seq_kd for its text", at=("objective",))
    for name in ("api", "prompt"):
        if getattr(teacher, name) is not None:
            raise wrong("its probabilities are asked of the training text as it is; leave this out", at=("teacher", name))
    for i, term in enumerate(spec.terms):
        if isinstance(term, LogitMse):
            raise wrong("of a remote teacher only probabilities are known; use kl", at=_of_term(spec, i, "loss"))
        if not term.NEEDS_TEACHER:
            continue
        if getattr(term, "temperature", 1.0) != 1.0 or (term.anneal is not None and term.anneal.temperature is not None):
            said = "a remote teacher tells its probabilities at temperature 1 alone; set it to 1.0"
            raise wrong(said, at=_of_term(spec, i, "temperature"))
    if spec.described is not None and not isinstance(spec.tokenizer, ModelRef):
        raise wrong(
            "a remote teacher is compared token by token: name the tokenizer it reads by, {hub: org/name} or {model: mdl_…}; recipe: "
            "seq_kd works with any tokenizer",
            at=("tokenizer",),
        )


def _of_term(spec: "JobSpec", i: int, field: str) -> At:
    if spec.objective is not None:
        return ("objective", spec.objective.index(spec.terms[i]), field)
    if spec.recipe is None:
        return ("recipe",)
    return ("recipe", field if hasattr(spec.recipe, field) else "name")


REMOTE_RULES: tuple[Callable[["JobSpec"], None], ...] = (_remote_teacher,)
