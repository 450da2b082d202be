"""What a network is called with, and what it is asked for."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


class TokenBatch(NamedTuple):
    """ids [B, L] int64, padded on the right; mask [B, L], true where a token stands; segments [B, L]: 0 in the first text, 1 in the
    second; asked [N]: places in the flattened [B·L] whose tokens are to be told, None where each row has one answer; where [B, L]: tokens
    among which an answer is to be found, None where none is; decoder [B, M]: what stands before each token of another text that is to be
    told; `asked` then counts its places; tasks [B]: the number of each row's task, None where there is but one."""

    ids: Tensor
    mask: Tensor
    segments: Tensor
    asked: Tensor | None = None
    where: Tensor | None = None
    decoder: Tensor | None = None
    tasks: Tensor | None = None

    @property
    def places(self) -> Tensor:
        """[N]: places in the flattened batch of the tokens asked for; of all tokens where rows are asked for as a whole."""
        return self.asked if self.asked is not None else self.mask.flatten().nonzero()[:, 0]


class Drawn(NamedTuple):
    """Of N tokens asked for, those that were drawn from p̃, a mixture of what student and teacher would say: ids [N], −100 where none was;
    weights [N]: p_s/p̃ of the token; ahead [N]: the sum of log p_t − log p_s of the tokens drawn after it in its row; left [N]: how many
    these are. Without gradients."""

    ids: Tensor
    weights: Tensor
    ahead: Tensor
    left: Tensor

    def at(self, places: Tensor | slice) -> "Drawn":
        return Drawn(*(part[places] for part in self))


IGNORED = -100  # the label of a token that is not to be predicted
IMPOSSIBLE = -1e4  # the logit of a place outside of a text: finite, so that nothing times its log is nothing
Given = Tensor | TokenBatch  # features [B, *shape], or tokens


@dataclass(frozen=True)
class Batch:
    """given: the inputs of B rows. labels [N]: class indices of the rows, or ids of the tokens asked for, −100 for those not counted;
    counted: how many are, all when None. drawn: what is known of tokens that were drawn, where terms ask for it."""

    given: Given
    labels: Tensor
    counted: int | None = None
    drawn: Drawn | None = None
