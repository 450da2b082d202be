"""How likely a remote teacher finds the tokens of the training text: the likeliest at each place, and of all others their mass.

Two ways of asking, both by `/completions` with a prompt of token ids: vLLM's `prompt_logprobs`, which answers with ids, and the older
`echo` with `logprobs`, which answers with texts. Both say which tokens they were shown; those must be the student's, or nothing of what
is said would be about the same thing.
"""

from dataclasses import dataclass
from math import exp, isfinite, log
from typing import Any, Literal

import torch
from torch import Tensor

from contract.errors import ErrorCode, JobError
from contract.remote import TOP_K, TeacherRefused
from distill import cache
from distill.data.blocks import CausalBlocks
from distill.networks.reader import Reader
from distill.remote import Remote, unusable
from distill.server import Question
from distill.spellings import Spellings
from distill.teacher_tokens import TokenOutputs, joined, shards

SHARD = 2**15  # tokens of one file
LEAST = 1e-9  # mass of the rest, where rounding leaves none
CURE = "vLLM and SGLang tell them. recipe: seq_kd needs the teacher's text alone."
Style = Literal["prompt_logprobs", "echo"]
Pairs = list[tuple[int, float]]  # the likeliest tokens of a place, and log p of each


class _NotToldError(JobError):
    """The answer lacks what was asked for in this way."""


@dataclass(frozen=True)
class RemoteTokens:
    """kept: as of any teacher. own [M]: log p of the token that stands there; right [M]: which one that is."""

    kept: TokenOutputs
    own: Tensor
    right: Tensor

    @property
    def top(self) -> Tensor:
        """[M]: the likeliest token of each place."""
        return torch.cat([ids[:, 0] for ids in self.kept.ids]).long()


class Asking:
    """style: the first of the two ways that the endpoint has answered, once it has."""

    def __init__(self, remote: Remote, reader: Reader, k: int | None) -> None:
        self.remote, self.k, self.vocabulary = remote, min(k or TOP_K, reader.vocabulary), reader.vocabulary
        self.spellings = Spellings(reader.tokenizer)
        self.style: Style | None = None

    def outputs(self, rows: CausalBlocks) -> RemoteTokens:
        """What it says of every token of the blocks. JobError where it reads by other tokens, or tells no probabilities."""
        found = [self._shard(rows, *one) for one in shards(rows, SHARD)]
        own = torch.cat([shard["own"] for shard, _ in found])
        right = torch.cat([rows.flat[int(a) + 1 : int(b)] for a, b in zip(rows.starts[:-1], rows.starts[1:], strict=True)]).long()
        kept = [tensors for tensors, _ in found], cache.Built.of([how for _, how in found])
        return RemoteTokens(joined(*kept, rows, (1.0,), self.vocabulary), own, right)

    def _shard(self, rows: CausalBlocks, blocks: Tensor, content: str) -> tuple[cache.Tensors, cache.How]:
        key = self.remote.key("remote-tokens/1", f"{content}/{self.k}")
        shown = {int(block): rows.flat[int(rows.starts[block]) : int(rows.starts[block + 1])].tolist() for block in blocks}
        tokens = sum(len(ids) - 1 for ids in shown.values())
        shapes = {"ids": (tokens, self.k), "gaps": (tokens, self.k), "rest": (tokens, 1), "own": (tokens,)}
        styles: list[Style] = [self.style] if self.style is not None else ["prompt_logprobs", "echo"]
        for style in styles:
            questions: list[Question] = [(number, self._question(style, ids)) for number, ids in enumerate(shown.values())]
            texts = list(shown.values())

            def read(number: int, raw: Any, style: Style = style, texts: list[list[int]] = texts) -> Any:
                return self._read(style, raw, texts[number])

            try:
                found = self.remote.kept(key, shapes, "completions", questions, read, self._tensors)
            except (_NotToldError, TeacherRefused) as error:
                refused = isinstance(error, TeacherRefused) and error.answered in (401, 403, 404)
                if refused or style == styles[-1]:
                    raise
                continue
            self.style = style if found[1] == "built" else self.style
            return found
        raise AssertionError("the last style raises")

    def _question(self, style: Style, ids: list[int]) -> dict[str, Any]:
        """One token is written and thrown away: vLLM writes no fewer."""
        how = {"prompt_logprobs": self.k} if style == "prompt_logprobs" else {"echo": True, "logprobs": self.k}
        return {"model": self.remote.asked.model, "prompt": ids, "max_tokens": 1, "temperature": 0, **how}

    def _read(self, style: Style, raw: Any, shown: list[int]) -> list[tuple[float, Pairs]]:
        """Of each token but the first, log p of itself, and the likeliest in its place."""
        choice = _choice(raw)
        places = self._by_id(choice, shown) if style == "prompt_logprobs" else self._by_text(choice, shown)
        return [(own, sorted(pairs.items(), key=lambda pair: -pair[1])[: self.k]) for own, pairs in places]

    def _by_id(self, choice: dict[str, Any], shown: list[int]) -> list[tuple[float, dict[int, float]]]:
        told = choice.get("prompt_logprobs")
        if not isinstance(told, list):
            raise _not_told()
        if len(told) != len(shown):
            raise self._other_tokens(f"of {len(shown):,} tokens it reads {len(told):,}")
        found = []
        for place, (entries, token) in enumerate(zip(told[1:], shown[1:], strict=True), 1):
            if not isinstance(entries, dict):
                raise unusable("of a token it tells no probabilities", CURE)
            pairs: dict[int, float] = {}
            for name, entry in entries.items():
                if not (name.isdecimal() and isinstance(entry, dict)):
                    raise unusable(f"{name[:40]!r} is no token with its probability", CURE)
                if (id_ := int(name)) < self.vocabulary:
                    pairs[id_] = _log_p(entry.get("logprob"))
                    self._compare(place, id_, entry.get("decoded_token"))
            if token not in pairs:
                raise self._other_tokens(f"token {place} is {token} here, and not among those it tells of")
            found.append((pairs[token], pairs))
        return found

    def _by_text(self, choice: dict[str, Any], shown: list[int]) -> list[tuple[float, dict[int, float]]]:
        told = choice.get("logprobs")
        parts = [told.get(name) if isinstance(told, dict) else None for name in ("tokens", "token_logprobs", "top_logprobs")]
        tokens, own, likeliest = ([] if not isinstance(part, list) else part for part in parts)
        if len(tokens) <= 1 < len(shown) or not own or not likeliest:
            raise _not_told()
        if not len(shown) <= len(tokens) <= len(shown) + 1 or not len(tokens) == len(own) == len(likeliest):
            raise self._other_tokens(f"of {len(shown):,} tokens it reads {len(tokens):,}")
        found = []
        for place, token in enumerate(shown):
            self._compare(place, token, tokens[place])
            if place == 0:
                continue
            if not isinstance(likeliest[place], dict):
                raise unusable("of a token it tells no probabilities", CURE)
            known = {self.spellings.id_of(text): _log_p(value) for text, value in likeliest[place].items()}
            pairs = {id_: value for id_, value in known.items() if id_ is not None}
            mine = _log_p(own[place])
            found.append((mine, pairs or {token: mine}))
        return found

    def _compare(self, place: int, id_: int, text: Any) -> None:
        if isinstance(text, str) and not self.spellings.may_be(id_, text):
            raise self._other_tokens(f"token {id_} is {self.spellings.shown(id_)!r} here and {text[:40]!r} there")

    def _other_tokens(self, why: str) -> JobError:
        return JobError(
            f"tokenizer: {self.remote.asked.model} reads by other tokens than the student: {why}. Token by token they cannot be compared.",
            code=ErrorCode.DOES_NOT_FIT,
            param="tokenizer",
            hint="Name the tokenizer that the teacher reads by. Or use recipe: seq_kd, which works across tokenizers.",
        )

    def _tensors(self, answers: list[Any]) -> cache.Tensors:
        """ids [M, k], gaps [M, k], rest [M, 1], own [M]. Where fewer than k tokens are known the first stands there again: what is said of
        one token twice is said once."""
        ids, gaps, rest, own = [], [], [], []
        for mine, pairs in (place for answer in answers for place in answer):
            kept = [*pairs, *[pairs[0]] * (self.k - len(pairs))]
            largest = pairs[0][1]
            ids.append([id_ for id_, _ in kept])
            gaps.append([largest - value for _, value in kept])
            rest.append([log(max(1.0 - sum(exp(value) for _, value in pairs), LEAST)) - largest])
            own.append(mine)
        return {
            "ids": torch.tensor(ids, dtype=torch.int32).reshape(-1, self.k),
            "gaps": torch.tensor(gaps).reshape(-1, self.k).bfloat16(),
            "rest": torch.tensor(rest).reshape(-1, 1),
            "own": torch.tensor(own, dtype=torch.float32),
        }


def _choice(raw: Any) -> dict[str, Any]:
    choices = raw.get("choices") if isinstance(raw, dict) else None
    if not (isinstance(choices, list) and choices and isinstance(choices[0], dict)):
        raise unusable("it has no choices, as the OpenAI API has them", "Is it the address of such an API, as https://host/v1?")
    return choices[0]


def _log_p(value: Any) -> float:
    """−∞, for which some say null and some −9999, as a number that can be summed."""
    if value is None or value == float("-inf"):
        return -1e4
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value > 1e-3:
        raise unusable(f"{str(value)[:40]} is no logarithm of a probability", CURE)
    return min(float(value), 0.0)


def _not_told() -> _NotToldError:
    return _NotToldError(
        "The teacher's endpoint tells no probabilities of the tokens it is shown.",
        code=ErrorCode.TEACHER_ANSWER_INVALID,
        param="teacher.endpoint",
        hint=CURE,
    )
