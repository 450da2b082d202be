"""Questions with the texts their answers stand in: asked for are the first and the last token of the answer (Devlin et al. 2018, section
4.2)."""

from dataclasses import dataclass
from hashlib import sha256

from torch import Tensor

from distill.data.batch import IGNORED, Batch
from distill.data.tokens import Tokens


@dataclass(frozen=True, kw_only=True)
class SpanTokens(Tokens):
    """spans [N, 2]: first and last token of each answer in its row, −100 where it lies behind the cut; inside [sum of lengths]: whether a
    token is of the text in which the answer stands; characters [sum of lengths, 2]: of that text, which it is made of. contexts and
    answers: the texts themselves, to compare words with."""

    spans: Tensor
    inside: Tensor
    characters: Tensor
    contexts: tuple[str, ...]
    answers: tuple[str, ...]

    def batch(self, index: Tensor) -> Batch:
        where = self.padded(self.inside, index, 0)[0].bool()
        labels = self.spans[index].flatten()
        return Batch(self.tokens(index)._replace(where=where), labels, int((labels != IGNORED).sum()))

    def digest(self) -> str:
        """Of the tokens, and of which may be an answer's."""
        return sha256((super().digest() + sha256(self.inside.cpu().numpy().tobytes()).hexdigest()).encode()).hexdigest()

    def said(self, row: int, first: int, last: int) -> str:
        """The words of a row from one token to another."""
        start = int(self.starts[row])
        return self.contexts[row][int(self.characters[start + first, 0]) : int(self.characters[start + last, 1])]
