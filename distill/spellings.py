"""How a tokenizer's tokens are written: servers name tokens by their texts, each in its own way."""

from tokenizers import Tokenizer

BROKEN = "\N{REPLACEMENT CHARACTER}"  # of a token that is a part of a character
MARKS = {"Ġ": " ", "▁": " ", "Ċ": "\n", "ĉ": "\t"}
NUMBERED = "token_id:"  # as vLLM writes them where it is asked to


class Spellings:
    """Each token by its name in the vocabulary, by that name with marks read as what they mean, and as it is decoded alone."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        names = {id_: name for name, id_ in tokenizer.get_vocab(with_added_tokens=True).items()}
        ids = sorted(names)
        decoded = dict(zip(ids, tokenizer.decode_batch([[id_] for id_ in ids], skip_special_tokens=False), strict=True))
        self._forms = {id_: {names[id_], _plain(names[id_]), decoded[id_]} for id_ in ids}
        self._ids: dict[str, int | None] = {}
        for id_, forms in self._forms.items():
            for form in forms:
                self._ids[form] = None if form in self._ids else id_  # what two tokens may mean, neither does

    def id_of(self, text: str) -> int | None:
        """None where no token, or more than one, is written so."""
        if text.startswith(NUMBERED) and text.removeprefix(NUMBERED).isdecimal():
            id_ = int(text.removeprefix(NUMBERED))
            return id_ if id_ in self._forms else None
        return None if BROKEN in text else self._ids.get(text)

    def may_be(self, id_: int, text: str) -> bool:
        """Whether the token may be written so. Spaces around it are not looked at; a token of bytes, or one left out, may be any."""
        if text.startswith(NUMBERED):
            return text == f"{NUMBERED}{id_}"
        if not text or BROKEN in text or text.startswith("bytes:"):
            return True
        forms = self._forms.get(id_, set())
        return text in forms or _plain(text).strip() in {form.strip() for form in forms}

    def shown(self, id_: int) -> str:
        return min(self._forms.get(id_, {"missing"}), key=len)


def _plain(name: str) -> str:
    return "".join(MARKS.get(character, character) for character in name)
