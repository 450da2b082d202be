"""How a network reads: its tokenizer, and where it cuts. Kept as tokenizer.json, the format of the tokenizers library, which transformers
opens as well."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Encoding, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from contract.errors import ErrorCode, JobError
from contract.model import Reading
from contract.spec import NewTokenizer
from distill.data.batch import IGNORED
from distill.data.blocks import CausalBlocks, MaskedBlocks
from distill.data.rows import TextSplit
from distill.data.spans import SpanTokens
from distill.data.targets import TargetTokens
from distill.data.tokens import TaggedTokens, Tokens
from distill.data.words import SPELLED, spans

FILE, SETTINGS = "tokenizer.json", "tokenizer_config.json"
PAD, UNKNOWN, FIRST, BETWEEN, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
NAMES = {"pad_token": PAD, "unk_token": UNKNOWN, "cls_token": FIRST, "sep_token": BETWEEN, "mask_token": MASK}


class Reader:
    """A tokenizer with the names of its special tokens as transformers writes them."""

    def __init__(self, tokenizer: Tokenizer, settings: dict[str, Any]) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer, self.settings = tokenizer, settings
        self.padding: int | None = None  # what its network's config says, where it says so: some find the end of a text by it

    @property
    def vocabulary(self) -> int:
        """Ids it may give out: one more than the largest."""
        return max(self.tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    @property
    def pad(self) -> int:
        if self.padding is not None:
            return self.padding
        return next((id_ for id_ in map(self._id, ("pad_token", "eos_token")) if id_ is not None), 0)

    @property
    def end(self) -> int:
        """What stands between two texts."""
        return next((id_ for id_ in map(self._id, ("eos_token", "sep_token")) if id_ is not None), self.pad)

    @property
    def mask(self) -> int:
        """What stands for a hidden token. JobError where there is none."""
        found = self._id("mask_token")
        if found is None:
            raise JobError("The tokenizer has no mask token.", code=ErrorCode.INVALID_MODEL, hint="Use one of a masked language model.")
        return found

    def _id(self, name: str) -> int | None:
        said = self.settings.get(name)
        text = said.get("content") if isinstance(said, dict) else said
        return self.tokenizer.token_to_id(text) if isinstance(text, str) else None

    def read(self, split: TextSplit, reading: Reading) -> Tokens:
        """Every row as tokens, special ones included; of pairs that are too long the longer text is cut first. Rows of several tasks are
        read as those of each alone."""
        if split.parts:
            return _joined([self.read(part, reading) for part in split.parts], split)
        return self._tokens(self._encoded(split, reading, self.tokenizer.encode_batch_fast), split)

    def _encoded(self, split: TextSplit, reading: Reading, encode: Callable[[Any], list[Encoding]]) -> list[Encoding]:
        """encode: `encode_batch_fast` of the tokenizer, or `encode_batch`, which knows besides which characters a token is made of."""
        self.tokenizer.enable_truncation(reading.max_length)
        found = encode(split.texts[0] if len(split.texts) == 1 else list(zip(*split.texts, strict=True)))
        self.tokenizer.no_truncation()
        return found

    def _tokens(self, found: list[Encoding], split: TextSplit) -> Tokens:
        ids = [row.ids or [self.pad] for row in found]  # a tokenizer without special tokens makes nothing of an empty text
        lengths = torch.tensor([len(row) for row in ids])
        second = torch.tensor([_second(row.type_ids) if len(split.texts) > 1 else len(row.ids) for row in found])
        flat = torch.tensor([id_ for row in ids for id_ in row], dtype=torch.int32)
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        return Tokens(flat, starts, second, split.labels, self.pad, sum(bool(row.overflowing) for row in found))

    def tagged(self, split: TextSplit, reading: Reading) -> TaggedTokens:
        """Every row as tokens; each word is known by the characters its tokens come from, so that any tokenizer will do."""
        found = self._encoded(split, reading, self.tokenizer.encode_batch)
        tags: list[int] = []
        for row, text, of_row in zip(found, split.texts[0], split.tags or [], strict=True):
            tags += _tags_of_tokens(row, text, of_row) or [IGNORED]
        return TaggedTokens(**vars(self._tokens(found, split)), tags=torch.tensor(tags))

    def questions(self, split: TextSplit, reading: Reading) -> SpanTokens:
        """Every question with its text; what is too long loses the end of the longer one."""
        found = self._encoded(split, reading, self.tokenizer.encode_batch)
        inside = torch.tensor([part == 1 for row in found for part in row.sequence_ids])
        characters = torch.tensor([place for row in found for place in row.offsets], dtype=torch.int32)
        spans = torch.tensor([_span_of_tokens(row, *span) for row, span in zip(found, split.spans or [], strict=True)])
        contexts = split.texts[1]
        answers = tuple(text[first:last] for text, (first, last) in zip(contexts, split.spans or [], strict=True))
        rows = vars(self._tokens(found, split))
        return SpanTokens(**rows, spans=spans, inside=inside, characters=characters, contexts=tuple(contexts), answers=answers)

    def targets(self, split: TextSplit, reading: Reading, first: int) -> TargetTokens:
        """Every text with what it is to become; of both what is too long is cut."""
        rows = self.read(replace(split, targets=None), reading)
        written = split.targets or [""] * len(split)
        goals = self.read(TextSplit((written,), split.labels), reading)
        both = {**vars(rows), "cut": rows.cut + goals.cut}
        return TargetTokens(**both, goal=goals.flat, goal_starts=goals.starts, first=first, written=tuple(written))

    def text(self, ids: list[int]) -> str:
        """What they spell, special tokens left out."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()

    def continued(self, ids: list[int]) -> str:
        """The same of tokens that stand behind others, up to the end token: with the space they begin with."""
        return str(self.tokenizer.decode(ids[: ids.index(self.end)] if self.end in ids else ids, skip_special_tokens=True))

    def beginnings(self, split: TextSplit, reading: Reading) -> Tokens:
        """Texts for a language model to go on from: no special tokens, which would end them; of what is too long the beginning is cut, and
        half of the room is left for what is to be written."""
        found: list[Encoding] = self.tokenizer.encode_batch_fast(split.texts[0], add_special_tokens=False)
        ids = [row.ids[-max(1, reading.max_length // 2) :] or [self.end] for row in found]
        flat = torch.tensor([id_ for row in ids for id_ in row], dtype=torch.int32)
        lengths = torch.tensor([len(row) for row in ids])
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        return Tokens(flat, starts, lengths, split.labels, self.pad)

    def blocks(self, split: TextSplit, reading: Reading, task: str, share: float) -> CausalBlocks | MaskedBlocks:
        """All texts as one row of tokens, an end token after each, in blocks of `reading.max_length`. Of texts with targets these stand
        behind them, and only they are to be learned."""
        found: list[Encoding] = self.tokenizer.encode_batch_fast(split.texts[0], add_special_tokens=False)
        told = None
        if split.targets is None:
            flat = torch.tensor([id_ for row in found for id_ in (*row.ids, self.end)], dtype=torch.int32)
        else:
            goals: list[Encoding] = self.tokenizer.encode_batch_fast(split.targets, add_special_tokens=False)
            rows = [(row.ids, [*goal.ids, self.end]) for row, goal in zip(found, goals, strict=True)]
            flat = torch.tensor([id_ for begun, goal in rows for id_ in (*begun, *goal)], dtype=torch.int32)
            told = torch.tensor([kind for begun, goal in rows for kind in (*[False] * len(begun), *[True] * len(goal))])
        starts = torch.arange(0, len(flat), reading.max_length)
        if len(starts) > 1 and len(flat) - int(starts[-1]) < 2:  # nothing could be told of a single token
            flat, starts = flat[: int(starts[-1])], starts[:-1]
            told = told[: len(flat)] if told is not None else None
        nothing = torch.zeros(len(starts), dtype=torch.int64)
        starts = torch.cat([starts, torch.tensor([len(flat)])])
        given: dict[str, Any] = {"flat": flat, "starts": starts, "second": starts.diff(), "labels": nothing, "pad": self.pad}
        if task == "causal-lm":
            return CausalBlocks(**given, told=told)
        special = {id_ for id_ in (*map(self._id, NAMES), self._id("eos_token"), self._id("bos_token")) if id_ is not None}
        return MaskedBlocks(**given, mask_id=self.mask, special=tuple(sorted(special)), vocabulary=self.vocabulary, share=share)

    def whole_words(self, split: TextSplit, reading: Reading) -> tuple[Tokens, list[tuple[int, int, int]]]:
        """Every text as tokens, and (row, word, token), each counted from 0, of every word that is a single token."""
        found = self._encoded(split, reading, self.tokenizer.encode_batch)
        texts = zip(found, split.texts[0], strict=True)
        whole = [(number, word, token) for number, (row, text) in enumerate(texts) for word, token in _whole_words(row, text)]
        return self._tokens(found, split), whole

    def spelled_alone(self) -> dict[int, str]:
        """The tokens that are words by themselves, as they are spelled: read alone, the word is that token and no other."""
        ids = sorted(self.tokenizer.get_vocab(with_added_tokens=True).values())
        said = {id_: text.strip() for id_, text in zip(ids, self.tokenizer.decode_batch([[id_] for id_ in ids]), strict=True)}
        words = {id_: text for id_, text in said.items() if SPELLED.fullmatch(text)}
        alone = self.tokenizer.encode_batch_fast([f" {text}" for text in words.values()], add_special_tokens=False)
        return {id_: text for (id_, text), row in zip(words.items(), alone, strict=True) if row.ids == [id_]}

    def differs(self, other: "Reader") -> str | None:
        """In which ids the two vocabularies differ; None when they are one."""
        mine, theirs = (each.tokenizer.get_vocab(with_added_tokens=True) for each in (self, other))
        if mine == theirs:
            return None
        odd = sorted(token for token in mine.keys() | theirs.keys() if mine.get(token) != theirs.get(token))
        shown = ", ".join(f"{token!r} is {mine.get(token, 'missing')} and {theirs.get(token, 'missing')}" for token in odd[:3])
        return f"{len(odd):,} of {len(mine.keys() | theirs.keys()):,} tokens differ ({shown})"

    def save(self, folder: Path, **more: Any) -> None:
        """With a token to pad with, also where there is none of that name: other programs pad whole batches."""
        self.tokenizer.save(str(folder / FILE))
        padding = {} if self._id("pad_token") is not None else {"pad_token": self.tokenizer.id_to_token(self.pad)}
        (folder / SETTINGS).write_text(json.dumps({**self.settings, **padding, **more}, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Reader":
        """Raises JobError where the folder holds no tokenizer."""
        settings = json.loads((folder / SETTINGS).read_text()) if (folder / SETTINGS).exists() else {}
        more = folder / "special_tokens_map.json"
        if more.exists():
            settings = {**json.loads(more.read_text()), **settings}
        try:
            tokenizer = Tokenizer.from_file(str(folder / FILE)) if (folder / FILE).exists() else _converted(folder)
        except Exception as error:  # noqa: BLE001 - the library raises plain Exception
            raise JobError(
                f"{folder.name} has no tokenizer that can be used: {str(error).splitlines()[0][:300]}.",
                code=ErrorCode.INVALID_MODEL,
                hint=f"Add {FILE}, as save_pretrained writes it.",
            ) from None
        if not any(name in settings for name in (*NAMES, "eos_token", "bos_token")):
            settings = {**_names_of_kind(folder), **settings}
        return cls(tokenizer, settings)

    @classmethod
    def train(cls, texts: Iterable[str], spec: NewTokenizer) -> "Reader":
        """A byte-level BPE tokenizer of these texts (Sennrich et al. 2016; Radford et al. 2019), with BERT's special tokens and template.

        The same texts give the same tokenizer, which is why it is no WordPiece: the library's trainer numbers the beginnings of its
        word pieces by chance.
        """
        tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
        if spec.lowercase:
            tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=spec.vocabulary,
            special_tokens=[PAD, UNKNOWN, FIRST, BETWEEN, MASK],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        ends = [(token, tokenizer.token_to_id(token)) for token in (FIRST, BETWEEN)]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{FIRST} $A {BETWEEN}", pair=f"{FIRST} $A {BETWEEN} $B:1 {BETWEEN}:1", special_tokens=ends
        )
        return cls(tokenizer, {"tokenizer_class": "PreTrainedTokenizerFast", **NAMES})


def _joined(parts: list[Tokens], split: TextSplit) -> Tokens:
    """The rows of several tasks, one task after the other."""
    lengths = torch.cat([part.lengths for part in parts])
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    flat, second = (torch.cat([getattr(part, name) for part in parts]) for name in ("flat", "second"))
    return Tokens(flat, starts, second, split.labels, parts[0].pad, sum(part.cut for part in parts), split.tasks)


def _tags_of_tokens(row: Encoding, text: str, tags: list[int]) -> list[int]:
    """For each token the class of the word that begins with it, −100 where none does. Words stand in `text` with a space between them."""
    word, word_at = 0, []
    for character in text:
        word += character == " "
        word_at.append(word)
    found, last = [], -1
    for (start, end), sequence in zip(row.offsets, row.sequence_ids, strict=True):
        word = word_at[end - 1] if sequence is not None and end > start else last  # a token may begin with the space before its word
        found.append(tags[word] if word != last else IGNORED)
        last = word
    return found


def _whole_words(row: Encoding, text: str) -> list[tuple[int, int]]:
    """(word, token) of the words of letters and digits that are one token, which is of no other word."""
    words = spans(text)
    word_at = {place: number for number, span in enumerate(words) for place in range(*span)}
    tokens: list[list[int]] = [[] for _ in words]
    several: set[int] = set()
    for token, ((start, end), sequence) in enumerate(zip(row.offsets, row.sequence_ids, strict=True)):
        inside = {word_at[place] for place in range(start, end) if place in word_at} if sequence is not None else set()
        for word in inside:
            tokens[word].append(token)
        several |= inside if len(inside) > 1 else set()
    spelled = (SPELLED.fullmatch(text, *span) for span in words)
    return [(n, of[0]) for n, (of, word) in enumerate(zip(tokens, spelled, strict=True)) if word and len(of) == 1 and n not in several]


def _span_of_tokens(row: Encoding, first: int, last: int) -> tuple[int, int]:
    """The tokens of the second text that hold its characters [first, last); −100 where they do not all stand in the row."""
    holding = [
        place
        for place, (part, (start, end)) in enumerate(zip(row.sequence_ids, row.offsets, strict=True))
        if part == 1 and start < last and end > first
    ]
    whole = holding and row.offsets[holding[-1]][1] >= last and row.offsets[holding[0]][0] <= first
    return (holding[0], holding[-1]) if whole else (IGNORED, IGNORED)


def _second(types: list[int]) -> int:
    return types.index(1) if 1 in types else len(types)


def _names_of_kind(folder: Path) -> dict[str, str]:
    """The special tokens that every tokenizer of such a network has: older folders leave them to the library."""
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False).special_tokens_map
    except Exception:  # noqa: BLE001 - the library raises all kinds; without names it may do all the same
        return {}
    return {name: str(token) for name, token in found.items() if not isinstance(token, list)}


def _converted(folder: Path) -> Tokenizer:
    """Of a folder that has only the older files (vocab.txt, merges.txt, …)."""
    from transformers import AutoTokenizer

    found: Tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False).backend_tokenizer
    return found
