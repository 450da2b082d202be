"""Rows made by changing words (`data.augment.words`), before anyone learns from them or is asked about them."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from contract.errors import ErrorCode, InvalidSpec
from contract.events import LogLine, RunEvent
from contract.fit import rows_with_copies
from contract.spec import JobSpec
from contract.words import TangWords, TinyBertWords
from distill import cache
from distill.data import Data, TextSplit
from distill.data.speech import alike
from distill.data.tokens import Tokens
from distill.data.words import hidden, replaced, with_copies
from distill.ensemble import JointTeacher
from distill.inputs import Inputs
from distill.networks import TextNetwork, digest, load
from distill.teacher import Teacher

BATCH = 128  # texts that the model is asked about at once
Emit = Callable[[RunEvent], None]
Expected = list[dict[int, list[str]]]  # of each text: word → those expected in its place


def with_words(spec: JobSpec, data: Data, inputs: Inputs, device: torch.device, emit: Emit) -> Data:
    """The data with the rows that the spec wants made of its training rows; those held out and to measure on stay as they are."""
    words, train = spec.words, data.train
    if words is None or not isinstance(train, TextSplit):
        return data
    count = rows_with_copies(spec, len(train))
    if isinstance(words, TangWords):
        others = [alike(column, f"{spec.words_field}.pos") for column in train.texts] if words.pos else None
        made = with_copies(
            train,
            words.copies,
            lambda column, row, draw: hidden(train.texts[column][row], words, draw, others[column][row] if others else ()),
        )
    else:
        made = _expected_words(train, words, inputs, device, emit)
    told = f"{len(made) - len(train):,} rows made of {len(train):,} by changing words (rules: {words.rules}); {count:,} to learn from"
    emit(LogLine(message=told, data={"rows": len(train), "made": len(made) - len(train), "rules": words.rules}))
    return replace(data, train=made)


def refuse_unknown_mask(spec: JobSpec, student: nn.Module, teacher: Teacher | None) -> None:
    """InvalidSpec where student or teacher would read a hidden word letter by letter."""
    words = spec.words
    if not isinstance(words, TangWords) or words.mask == 0:
        return
    first = teacher.parts[0] if isinstance(teacher, JointTeacher) else teacher  # members read by one tokenizer
    for called, network in {"student": student, "teacher": first.network if first is not None else student}.items():
        assert isinstance(network, TextNetwork)
        if network.reader.tokenizer.token_to_id(words.mask_token) is None:
            field = f"{spec.words_field}.mask_token"
            raise InvalidSpec(
                f"{field}: the tokenizer of the {called} has no token {words.mask_token!r}.",
                code=ErrorCode.DOES_NOT_FIT,
                param=field,
                hint="Name one that teacher and student both have, such as <mask> or <unk>, or set mask: 0.",
            )


def _expected_words(train: TextSplit, words: TinyBertWords, inputs: Inputs, device: torch.device, emit: Emit) -> TextSplit:
    folder = next(folder for field, folder in inputs.models.items() if field.endswith("words.model"))

    def warn(message: str) -> None:
        emit(LogLine(level="warning", message=message))

    def change(column: int, row: int, draw: np.random.Generator) -> str:
        return replaced(train.texts[column][row], expected[column][row], words.replace, draw)

    expected = [likeliest(folder, column, words.candidates, inputs.kept, device, warn) for column in train.texts]
    return with_copies(train, words.copies, change)


def likeliest(folder: Path, texts: list[str], k: int, kept: cache.Cache, device: torch.device, warn: Callable[[str], None]) -> Expected:
    """Of each text's words that are one token of the masked language model in `folder`, the `k` likeliest words in their place, the word
    itself perhaps among them. Kept like a teacher's outputs: other seeds and arms need the same."""
    network, _ = load(folder)
    assert isinstance(network, TextNetwork)
    network.requires_grad_(False).to(device)
    split = TextSplit((texts,), torch.zeros(len(texts), dtype=torch.int64))
    rows, whole = network.reader.whole_words(split, network.reading)
    spelled = network.reader.spelled_alone()
    k = min(k, len(spelled))
    key = sha256(f"expected/1/{digest(folder)}/{rows.digest()}/{split.digest()}/{k}".encode()).hexdigest()

    def build() -> cache.Tensors:
        return {"ids": _ids(network, rows, whole, torch.tensor(sorted(spelled)), k, device)}

    ids = cache.kept(kept, key, {"ids": (len(whole), k)}, build, warn)[0]["ids"]
    found: Expected = [{} for _ in texts]
    for (row, word, _), of_word in zip(whole, ids.tolist(), strict=True):
        found[row][word] = [spelled[id_] for id_ in of_word]
    return found


def _ids(network: TextNetwork, rows: Tokens, whole: list[tuple[int, int, int]], words: Tensor, k: int, device: torch.device) -> Tensor:
    """[N, k]: with each of the N tokens masked, one at a time, the likeliest of the ids `words` in its place."""
    found = torch.empty(len(whole), k, dtype=torch.int32)
    if not whole:
        return found
    row, _, token = torch.tensor(whole, device=device).T
    rows, words = rows.to(device), words.to(device)
    with torch.inference_mode():
        for index in torch.split(rows.lengths[row].argsort(stable=True), BATCH):
            given = rows.tokens(row[index])
            here = torch.arange(len(index), device=device)
            ids = given.ids.clone()
            ids[here, token[index]] = network.reader.mask
            said = network.told(given._replace(ids=ids, asked=here * ids.shape[1] + token[index]))
            found[index.cpu()] = words[said.logits[:, words].topk(k).indices].to("cpu", torch.int32)
    return found
