"""Which words may stand for each other, by their part of speech."""

from collections.abc import Sequence
from typing import Any

from contract.errors import ErrorCode, InvalidSpec
from distill.data.words import SPELLED, spans


def alike(texts: Sequence[str], field: str) -> list[list[Sequence[str]]]:
    """Of each text's words those of the same part of speech in all texts, each as often as it stands there; none of what is no word.

    The tagger is that of Pattern (De Smedt, Daelemans 2012, https://jmlr.org/papers/v13/desmedt12a.html) in TextBlob's wheel, which brings
    its lexicon and rules as text. field: of the spec, that asks for it."""
    tagger = _tagger(field)
    words = [[text[start:end] for start, end in spans(text)] for text in texts]
    tags = [[str(tag) for _, tag, *_ in tagger.find_tags(row)] if row else [] for row in words]
    found: dict[str, list[str]] = {}
    for row, of_row in zip(words, tags, strict=True):
        for word, tag in zip(row, of_row, strict=True):
            if SPELLED.fullmatch(word):
                found.setdefault(tag, []).append(word)
    nothing: list[str] = []
    return [
        [found[tag] if SPELLED.fullmatch(word) else nothing for word, tag in zip(row, of_row, strict=True)]
        for row, of_row in zip(words, tags, strict=True)
    ]


def _tagger(field: str) -> Any:
    try:
        from textblob.en import parser
    except ImportError as error:
        raise InvalidSpec(
            f"{field}: parts of speech are told by TextBlob, which is not installed where the job runs.",
            code=ErrorCode.DOES_NOT_FIT,
            param=field,
            hint="pip install 'potstill[pos]' on the machine of the worker, or leave it out.",
        ) from error
    return parser
