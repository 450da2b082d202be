"""What the terms of a spec want to see inside student and teacher, and whether that can be compared."""

from typing import Any, cast

import torch
from torch import nn

from contract.model import ModelConfig
from contract.sights import places
from contract.spec import JobSpec
from distill.data import Rows
from distill.data.batch import Given
from distill.inner import Comparison, comparison
from distill.inside import Inside, Looks
from distill.networks import LibraryNetwork, heads, said_of
from distill.teacher import Live


def looks(spec: JobSpec) -> Looks:
    return frozenset(cast(Any, term.SEES) for term in spec.terms if term.SEES != "logits")


def same_tokens(spec: JobSpec) -> bool:
    """Whether a term compares token with token."""
    return any(getattr(term, "SAME_TOKENS", False) for term in spec.terms)


def comparisons(spec: JobSpec, student: nn.Module, config: ModelConfig, rows: Rows, live: Live) -> dict[int, Comparison]:
    """Of each term that looks inside, by its place among the terms. InvalidSpec where student and teacher cannot be compared."""
    seen = looks(spec)
    if "heads" in seen:
        for network in (student, live.teacher.network):
            if isinstance(network, LibraryNetwork):
                heads.show(network.inner)
    first = torch.arange(min(2, len(rows)), device=live.teacher.device)
    with torch.random.fork_rng(devices=[]):
        given = rows.batch(first).given
    mine = _glimpse(student, config, given, seen)
    theirs = _glimpse(live.teacher.network, live.teacher.config, live.shown(first, given), seen)
    named = zip(places(spec), spec.terms, strict=True)
    return {i: comparison(term, place, mine, theirs) for i, (place, term) in enumerate(named) if term.SEES != "logits"}


def _glimpse(network: nn.Module, config: ModelConfig, given: Given, seen: Looks) -> Inside:
    """One look that changes nothing, to learn the sizes of what there is."""
    training = network.training
    with torch.no_grad():
        found = said_of(network.eval(), config, given, seen).inside
    network.train(training)
    assert found is not None
    return found
