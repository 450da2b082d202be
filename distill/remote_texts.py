"""What a remote teacher writes: for each row one request, by `/chat/completions` or `/completions`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Literal

import torch

from contract.remote import PLACE
from distill import cache
from distill.data import TextSplit
from distill.remote import Remote, unusable
from distill.server import Question
from distill.written import letters_of, packed, to_go_on, unpacked

SHARD = 256  # rows of one file
IS_IT = "Is it the address of an API like OpenAI's, and teacher.api the way its model is asked?"


WHOLE, CUT, REFUSED = range(3)


@dataclass(frozen=True)
class RemoteTexts:
    """texts: what it has written, for each row; states [N]: whether it is whole, as long as it may be, or nothing, because it would not
    write."""

    texts: list[str]
    states: list[int]
    bytes: int
    cache: Literal["built", "hit"]

    def summary(self) -> dict[str, object]:
        return {"mode": "text", "cache": self.cache, "rows": len(self.texts), "bytes": self.bytes}


def by_teacher(remote: Remote, split: TextSplit, task: str) -> tuple[TextSplit, RemoteTexts]:
    """The same rows, with what the teacher writes as their targets; of causal-lm each begins with its first half. Those for which it would
    not write are left out."""
    asked = to_go_on(split) if task == "causal-lm" else split
    found = outputs(remote, asked.texts[0], task)
    if not any(text.strip() for text in found.texts):
        raise unusable("it has written nothing for any row", "Look at teacher.prompt, and at what teacher.model is for.")
    cut, left = found.states.count(CUT), [row for row, state in enumerate(found.states) if state != REFUSED]
    if cut:
        remote.warn(f"{cut:,} of {len(found.texts):,} answers are as long as teacher.max_tokens lets them be, and may be cut")
    whole = replace(asked, targets=found.texts)
    if len(left) == len(found.texts):
        return whole, found
    remote.warn(f"for {len(found.texts) - len(left):,} of {len(found.texts):,} rows the teacher would not write; they are left out")
    return whole.rows(torch.tensor(left)), found


def outputs(remote: Remote, texts: Sequence[str], task: str) -> RemoteTexts:
    """What it writes for these texts, asked once for each."""
    chat = (remote.asked.api or ("completions" if task == "causal-lm" else "chat")) == "chat"
    found: list[str] = []
    states: list[int] = []
    size, built = 0, False
    for first in range(0, len(texts), SHARD):
        bodies = [_body(remote, text, chat) for text in texts[first : first + SHARD]]
        questions: list[Question] = list(enumerate(bodies))
        key = remote.key("remote-texts/1", sha256(json.dumps([chat, bodies]).encode()).hexdigest())
        shapes = {**letters_of(len(bodies)), "states": (len(bodies),)}
        path = "chat/completions" if chat else "completions"
        kept, how = remote.kept(key, shapes, path, questions, lambda _, raw: _read(raw, chat), _tensors)
        found += unpacked(kept)
        size += sum(tensor.nbytes for tensor in kept.values())
        states += kept["states"].tolist()
        built |= how == "built"
    return RemoteTexts(found, states, size, "built" if built else "hit")


def _body(remote: Remote, text: str, chat: bool) -> dict[str, Any]:
    asked = remote.asked
    prompt = asked.prompt.replace(PLACE, text) if asked.prompt is not None else text
    shown = {"messages": [{"role": "user", "content": prompt}]} if chat else {"prompt": prompt}
    return {"model": asked.model, **shown, "max_tokens": asked.max_tokens, "temperature": asked.temperature}


def _read(raw: Any, chat: bool) -> tuple[str, int]:
    """The text and its state."""
    choices = raw.get("choices") if isinstance(raw, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        raise unusable("it has no choices, as the OpenAI API has them", IS_IT)
    message = choice.get("message") if chat else choice
    text = message.get("content" if chat else "text", 0) if isinstance(message, dict) else 0
    if text is not None and not isinstance(text, str):
        raise unusable("its choice holds no text", IS_IT)
    return text or "", REFUSED if text is None else CUT if choice.get("finish_reason") == "length" else WHOLE


def _tensors(answers: list[Any]) -> cache.Tensors:
    return {**packed([text for text, _ in answers]), "states": torch.tensor([state for _, state in answers], dtype=torch.uint8)}
