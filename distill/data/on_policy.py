"""Blocks whose second half the student has written itself: what it is asked about is then what it would say.

Agarwal et al. 2023 (GKD), https://arxiv.org/abs/2306.13649; with a teacher that writes along, and what is then known of each token:
Gu et al. 2023 (MiniLLM), https://arxiv.org/abs/2306.08543
"""

from collections.abc import Callable
from dataclasses import replace
from math import log, log1p
from typing import Any

import torch
from torch import Tensor, nn

from contract.errors import ErrorCode, InvalidSpec
from distill.data.batch import IGNORED, Batch, Drawn, TokenBatch
from distill.networks import LibraryNetwork

Draw = Callable[[Tensor, Tensor], Tensor]  # ids [B, L] so far, logits [B, V] → those that the next token is drawn from


def written(network: nn.Module, batch: Batch, draw: Draw | None = None) -> Batch:
    """The first half of each block, the prompt, and as many tokens as the block had behind it, drawn from the network's own distribution
    (or what `draw` makes of it) by torch's global generator. Asked for are the tokens that were drawn; none has a label."""
    assert isinstance(network, LibraryNetwork) and isinstance(batch.given, TokenBatch)
    given = batch.given
    length, prompt = given.ids.shape[1], max(1, int(given.mask.sum(1).min()) // 2)
    training = network.training
    network.eval()  # no dropout while it writes
    from transformers import GenerationConfig

    inner: Any = network.inner
    # Nothing but its own distribution, to the last token. An end is a token like any other: not said, it would be the folder's, behind
    # which the library pads; so it is an id that no token has.
    end = network.inner.get_output_embeddings().weight.shape[0]  # type: ignore[operator]
    how = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=True, top_k=0, top_p=1.0, max_new_tokens=length - prompt, eos_token_id=end, pad_token_id=network.reader.pad
    )
    its_own, inner.generation_config = inner.generation_config, GenerationConfig()  # type: ignore[no-untyped-call]
    try:  # what `how` does not say the library takes from there: temperatures, penalties
        with torch.no_grad():
            ids = inner.generate(
                input_ids=given.ids[:, :prompt],
                attention_mask=given.mask[:, :prompt].long(),
                generation_config=how,
                logits_processor=[draw] if draw is not None else None,
            )
    finally:
        inner.generation_config = its_own
    network.train(training)
    ids = ids.clamp_(max=network.reader.vocabulary - 1)  # ids with which vocabularies are padded mean nothing
    drawn = torch.zeros_like(ids, dtype=torch.bool)
    drawn[:, prompt - 1 : -1] = True  # at each token the next one is told
    asked = drawn.flatten().nonzero()[:, 0]
    shown = given._replace(ids=ids, mask=torch.ones_like(drawn), segments=torch.zeros_like(ids), asked=asked)
    return Batch(shown, torch.full((len(asked),), IGNORED, device=ids.device), 0)


def written_together(network: nn.Module, batch: Batch, teacher: nn.Module, share: float) -> Batch:
    """As `written`, each token drawn from share·p_t + (1 − share)·p_s; with what is then known of it."""
    assert isinstance(network, LibraryNetwork) and isinstance(teacher, LibraryNetwork) and isinstance(batch.given, TokenBatch)
    together = _Together(teacher, share, network.reader.vocabulary)
    made = written(network, batch, together)
    assert isinstance(made.given, TokenBatch)
    log_p_s, log_p_t = together.said_of(made.given.ids)
    weights = (log_p_s - mixed(log_p_s, log_p_t, share)).exp()
    ahead, left = to_come(log_p_t - log_p_s)
    drawn = Drawn(made.given.ids[:, -log_p_s.shape[1] :], weights, ahead, left)
    return replace(made, drawn=Drawn(*(part.flatten() for part in drawn)))


def mixed(log_p_s: Tensor, log_p_t: Tensor, share: float) -> Tensor:
    """log(share·p_t + (1 − share)·p_s)."""
    return torch.logaddexp(log_p_t + log(share), log_p_s + log1p(-share)) if share else log_p_s


def to_come(rewards: Tensor) -> tuple[Tensor, Tensor]:
    """Of rewards [B, M] for each place the sum of those behind it, and how many they are; both [B, M]."""
    ahead = rewards.flip(1).cumsum(1).flip(1) - rewards
    left = torch.arange(rewards.shape[1] - 1, -1, -1, device=rewards.device).expand_as(rewards)
    return ahead, left


def beside(own: Batch, data: Batch) -> Batch:
    """What was written and the rows of the data, one below the other: drawn tokens without labels, the data's with theirs."""
    assert isinstance(own.given, TokenBatch) and isinstance(data.given, TokenBatch) and own.drawn is not None
    mine, theirs = own.given, data.given
    ids, mask, segments = (torch.cat([getattr(one, name) for one in (mine, theirs)]) for name in ("ids", "mask", "segments"))
    asked = torch.cat([mine.places, theirs.places + mine.ids.numel()])
    none = [torch.full_like(data.labels, IGNORED), *(part.new_zeros(len(data.labels)) for part in own.drawn[1:])]
    drawn = Drawn(*(torch.cat(parts) for parts in zip(own.drawn, none, strict=True)))
    return Batch(TokenBatch(ids, mask, segments, asked), torch.cat([own.labels, data.labels]), len(data.labels), drawn)


class _Together:
    """Makes of the student's logits those of the mixture, and keeps what both said of the tokens that were drawn. The teacher reads each
    token once."""

    def __init__(self, teacher: LibraryNetwork, share: float, vocabulary: int) -> None:
        self.teacher, self.share, self.vocabulary = teacher, share, vocabulary
        self.read: Any = None  # the teacher's keys and values of what it has read
        self.last: Tensor | None = None  # log p [2, B, V] of student and teacher for the token that is drawn next
        self.kept: list[Tensor] = []

    def __call__(self, ids: Tensor, logits: Tensor) -> Tensor:
        new = ids
        if self.last is not None:
            self._keep(ids)
            new = ids[:, -1:]
        answer: Any = self.teacher.inner(input_ids=new, attention_mask=torch.ones_like(ids), past_key_values=self.read, use_cache=True)
        self.read = answer.past_key_values
        log_p = [z[:, : self.vocabulary].float().log_softmax(-1) for z in (logits, answer.logits[:, -1])]
        self.last = torch.stack(log_p)
        found = torch.full_like(logits, -torch.inf)
        found[:, : self.vocabulary] = mixed(log_p[0], log_p[1], self.share)
        return found

    def _keep(self, ids: Tensor) -> None:
        assert self.last is not None
        self.kept.append(self.last.gather(2, ids[None, :, -1:].expand(2, -1, 1))[..., 0])

    def said_of(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """log p_s and log p_t [B, M] of the tokens drawn; `ids` are all of them."""
        self._keep(ids)
        found = torch.stack(self.kept, dim=2)
        return found[0], found[1]


def refuse_unable(network: nn.Module, teacher: nn.Module | None = None) -> None:
    """teacher: where it is to write along."""
    if not isinstance(network, LibraryNetwork):
        raise _unable("data.on_policy", "write texts", "or leave it out")
    if teacher is not None and not isinstance(teacher, LibraryNetwork):
        raise _unable("teacher", "say token by token what it would write", "or the recipe gkd")


def _unable(param: str, why: str, cure: str) -> InvalidSpec:
    hint = f"Use a transformer (gpt2, llama, qwen2), {cure}."
    return InvalidSpec(f"{param}: this network cannot {why}.", code=ErrorCode.DOES_NOT_FIT, param=param, hint=hint)
