"""Answers found in texts: the likeliest span of each, and how it compares with the right one, as SQuAD compares them (Rajpurkar et al.
2016, https://arxiv.org/abs/1606.05250)."""

import re
import string
from collections import Counter

import numpy as np
import torch
from torch import Tensor, nn

from contract.evidence import statistic
from contract.model import ModelConfig
from distill.data.spans import SpanTokens
from distill.evaluate import TOKEN_BATCH, Measured, Told, bootstrap, wilson
from distill.networks import said_of

LONGEST = 30  # tokens of an answer


def measure(network: nn.Module, config: ModelConfig, rows: SpanTokens, told: Told) -> Measured:
    """Mean F1 over words and share of exact matches, over all rows; the loss is of those whose answer does not lie behind the cut."""
    tokens = likeliest(network, config, rows)
    said = [rows.said(row, first, last) for row, (first, last) in enumerate(tokens.tolist())]
    f1 = np.array([overlap(mine, theirs) for mine, theirs in zip(said, rows.answers, strict=True)])
    exact = sum(plain(mine) == plain(theirs) for mine, theirs in zip(said, rows.answers, strict=True)) / len(said)
    losses = told.losses.cpu().numpy()
    metrics = {
        "f1": statistic([float(f1.mean())], bootstrap(f1)),
        "exact_match": statistic([exact], wilson(exact, len(said))),
        "loss": statistic([float(losses.mean())], bootstrap(losses)),
    }
    return Measured(tokens.flatten(), metrics, None)


def likeliest(network: nn.Module, config: ModelConfig, rows: SpanTokens) -> Tensor:
    """[N, 2]: first and last token of the span that is likeliest, of those that begin before they end and are not longer than an answer."""
    network.eval()
    found = torch.zeros(len(rows), 2, dtype=torch.int64)
    with torch.inference_mode():
        for index in rows.chunks(TOKEN_BATCH):
            z = said_of(network, config, rows.batch(index).given).logits.float()
            first, last = z.reshape(len(index), 2, -1).unbind(1)
            width = first.shape[1]
            possible = torch.ones(width, width, dtype=torch.bool, device=z.device).triu().tril(LONGEST - 1)
            best = (first[:, :, None] + last[:, None, :]).masked_fill(~possible, -torch.inf).flatten(1).argmax(1)
            found[index.cpu()] = torch.stack([best // width, best % width], dim=1).cpu()
    return found


def plain(text: str) -> str:
    """In small letters, without punctuation and articles."""
    bare = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def overlap(said: str, right: str) -> float:
    """F1 over the words of the two."""
    mine, theirs = plain(said).split(), plain(right).split()
    if not mine or not theirs:
        return float(mine == theirs)
    both = sum((Counter(mine) & Counter(theirs)).values())
    return 2 * both / (len(mine) + len(theirs))
