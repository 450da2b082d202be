"""Blocks whose second half the student has written itself: what it is asked about is then what it would say.

Agarwal et al. 2023 (GKD), https://arxiv.org/abs/2306.13649
"""

from typing import Any

import torch
from torch import nn

from contract.errors import ErrorCode, InvalidSpec
from distill.data.batch import IGNORED, Batch, TokenBatch
from distill.networks import LibraryNetwork


def written(network: nn.Module, batch: Batch) -> Batch:
    """The first half of each block, the prompt, and as many tokens as the block had behind it, drawn from the network's own distribution by
    torch's global generator. Asked for are the tokens that were drawn; none has a label."""
    assert isinstance(network, LibraryNetwork) and isinstance(batch.given, TokenBatch)
    given = batch.given
    length, prompt = given.ids.shape[1], max(1, int(given.mask.sum(1).min()) // 2)
    training = network.training
    network.eval()  # no dropout while it writes
    from transformers import GenerationConfig

    generate: Any = network.inner.generate
    # Nothing but its own distribution: neither what its folder says of generating, nor an end that would be forbidden until the last token.
    how = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=True, top_k=0, top_p=1.0, max_new_tokens=length - prompt, eos_token_id=None, pad_token_id=network.reader.pad
    )
    with torch.no_grad():
        ids = generate(
            input_ids=given.ids[:, :prompt],
            attention_mask=given.mask[:, :prompt].long(),
            generation_config=how,
        )
    network.train(training)
    ids = ids.clamp_(max=network.reader.vocabulary - 1)  # ids with which vocabularies are padded mean nothing
    drawn = torch.zeros_like(ids, dtype=torch.bool)
    drawn[:, prompt - 1 : -1] = True  # at each token the next one is told
    asked = drawn.flatten().nonzero()[:, 0]
    shown = given._replace(ids=ids, mask=torch.ones_like(drawn), segments=torch.zeros_like(ids), asked=asked)
    return Batch(shown, torch.full((len(asked),), IGNORED, device=ids.device), 0)


def refuse_unable(network: nn.Module) -> None:
    if not isinstance(network, LibraryNetwork):
        raise InvalidSpec(
            "data.on_policy: this network cannot write texts.",
            code=ErrorCode.DOES_NOT_FIT,
            param="data.on_policy",
            hint="Use a transformer (gpt2, llama, qwen2), or leave it out.",
        )
