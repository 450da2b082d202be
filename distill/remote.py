"""A teacher behind an endpoint: asked once for each row, each answer kept as soon as it is there, and what it cost counted.

The key of what is kept names the endpoint, the model and what the spec calls its revision: nobody can hash weights that are elsewhere.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any

import torch

from contract.errors import ErrorCode, JobError
from contract.events import LogLine, PhaseChanged, RunEvent
from contract.remote import RemoteTeacher
from contract.status import Phase
from distill import cache
from distill.journal import Answer, Journal
from distill.server import Question, Server

Read = Callable[[int, Any], Any]  # a question's number and the JSON of its answer → what is kept of it, as JSON; JobError for nonsense
Made = Callable[[list[Any]], cache.Tensors]
TOLD_SECONDS = 10.0  # between two lines of how far it has come


class LeavingError(Exception):
    """Asked to stop before all answers were there; those that were are kept."""


class Remote:
    """`spent` counts what this run caused; what the answers cost, whoever asked for them, is kept with them (`usage`)."""

    bf16 = False

    def __init__(
        self,
        asked: RemoteTeacher,
        server: Server,
        outputs: cache.Cache,
        emit: Callable[[RunEvent], None],
        stop: Callable[[], bool],
    ) -> None:
        self.asked, self.server, self.cache, self.tell, self._stop = asked, server, outputs, emit, stop
        self.sha256 = sha256("\n".join([asked.endpoint, asked.model, asked.revision or ""]).encode()).hexdigest()
        self.usage = {"requests": 0, "prompt_tokens": 0, "completion_tokens": 0}
        self._prompts = self._completions = 0  # of this run
        self._told_at = 0.0
        self._heard = False

    def warn(self, message: str) -> None:
        self.tell(LogLine(level="warning", message=message))

    def key(self, what: str, content: str, bf16: bool = False) -> str:
        """Of what this teacher says of such content."""
        return sha256(f"{what}/{self.sha256}/{content}".encode()).hexdigest()

    def begins(self, what: str) -> None:
        self.tell(PhaseChanged(phase=Phase.TEACHER_INFERENCE, message=f"{what}, of {self.asked.model} at {self.asked.endpoint}"))

    def kept(
        self,
        key: str,
        shapes: cache.Shapes,
        path: str,
        questions: Sequence[Question],
        read: Read,
        made: Callable[[list[Any]], cache.Tensors],
    ) -> tuple[cache.Tensors, cache.How]:
        """The tensors under `key`, which `made` makes of the answers to the questions in their order; questions that were answered before
        this process began are not asked again. LeavingError, JobError."""
        journal = cache.place(self.cache, key).with_suffix(".answers")

        def build() -> cache.Tensors:
            found = self._answered(Journal(journal), path, questions, read)
            usage = [len(found), sum(one.prompt_tokens for one in found), sum(one.completion_tokens for one in found)]
            return {**made([one.value for one in found]), "usage": torch.tensor(usage)}

        try:
            found, how = cache.kept(self.cache, key, {**shapes, "usage": (3,)}, build, self.warn)
        except (JobError, LeavingError):
            self.tell_spent()  # there may be no report to say it
            raise
        if cache.place(self.cache, key).exists():
            journal.unlink(missing_ok=True)
        if how == "hit":
            self._count(found["usage"].tolist())
        return found, how

    @property
    def spent(self) -> dict[str, int]:
        return {"requests": self.server.requests, "prompt_tokens": self._prompts, "completion_tokens": self._completions}

    def summary(self) -> dict[str, object]:
        """For the report: whom was asked, what the answers cost in all, and what of that this run caused."""
        about = {"endpoint": self.asked.endpoint, "model": self.asked.model, "revision": self.asked.revision}
        return {**about, **self.usage, "spent": self.spent}

    def _answered(self, journal: Journal, path: str, questions: Sequence[Question], read: Read) -> list[Answer]:
        for answer in journal.answers.values():
            self._count([1, answer.prompt_tokens, answer.completion_tokens])
        left = [question for question in questions if question[0] not in journal.answers]

        def due(some: Sequence[Question]) -> Iterator[Question]:
            for question in some:
                if self._beyond:  # those on their way are paid for: they are waited for
                    return
                yield question

        def hear(number: int, raw: Any) -> None:
            cost = self._cost(raw)
            self._prompts, self._completions = self._prompts + cost[0], self._completions + cost[1]
            journal.add(number, Answer(read(number, raw), *cost))
            self._count([1, *cost])
            self._tell_now_and_then()

        # The first of all goes alone: what every question would be refused for, or would say in vain, is paid for once.
        for some in [left[:1], left[1:]] if not self._heard else [left]:
            if some and not self.server.ask(f"/{path}", due(some), hear, self._stop):
                raise LeavingError
            self._heard = True
        if len(journal.answers) < len(questions):
            raise JobError(
                f"teacher.max_tokens_total: {self._tokens:,} tokens are used of {self.asked.max_tokens_total:,}, and there are more rows "
                "to ask about.",
                code=ErrorCode.TEACHER_TOKENS_SPENT,
                param="teacher.max_tokens_total",
                hint="Allow more, or take fewer rows by data.max_train_samples. What was answered is kept and not asked again.",
            )
        return [journal.answers[number] for number, _ in questions]

    def _cost(self, raw: Any) -> tuple[int, int]:
        """Tokens of the question and of the answer, as the endpoint counts them."""
        usage = raw.get("usage") if isinstance(raw, dict) else None
        found = [usage.get(name) if isinstance(usage, dict) else None for name in ("prompt_tokens", "completion_tokens")]
        prompt, completion = (count if isinstance(count, int) and 0 <= count < 10**9 else None for count in found)
        if prompt is None and self.asked.max_tokens_total is not None:
            raise unusable("it does not say how many tokens it used, so teacher.max_tokens_total cannot be kept", "Leave that out.")
        return prompt or 0, completion or 0

    def _count(self, cost: Sequence[int]) -> None:
        for name, more in zip(self.usage, cost, strict=True):
            self.usage[name] += int(more)

    @property
    def _tokens(self) -> int:
        return self.usage["prompt_tokens"] + self.usage["completion_tokens"]

    @property
    def _beyond(self) -> bool:
        return self.asked.max_tokens_total is not None and self._tokens >= self.asked.max_tokens_total

    def _tell_now_and_then(self) -> None:
        if time.monotonic() - self._told_at < TOLD_SECONDS:
            return
        self._told_at = time.monotonic()
        self.tell_spent()

    def tell_spent(self) -> None:
        tokens = self._prompts + self._completions
        said = f"{self.usage['requests']:,} answers are there; this run asked {self.server.requests:,} times, for {tokens:,} tokens"
        self.tell(LogLine(message=said, data=self.spent))


def unusable(why: str, hint: str) -> JobError:
    """An answer that is not what was asked for."""
    return JobError(f"The teacher's answer cannot be used: {why}.", code=ErrorCode.TEACHER_ANSWER_INVALID, param="teacher", hint=hint)
