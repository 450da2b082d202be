"""The contract promises, the engine keeps: two lists that must never drift apart."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import registry
from contract.registry import ARCHITECTURES, BUILTINS, LOSSES, RECIPES, Cnn, CrossEntropy, Hinton, Kl, Logistic, LogitMse, Mlp, Resnet
from contract.registry.recipes import LogitMseRecipe
from distill.data import builtin
from distill.data.batch import Drawn
from distill.inner import INNER, comparison
from distill.inside import Heads, Inside
from distill.networks import library
from distill.networks.build import BUILDERS, build, count_parameters
from distill.objectives import OWN, TERMS, Objective, Said

widths = st.integers(1, 40)
dropout = st.sampled_from([0.0, 0.5])
some = settings(max_examples=60, deadline=None)


@pytest.mark.parametrize(
    ("listed", "union", "code"),
    [
        (LOSSES, registry.Term, [*TERMS, *OWN, *INNER]),
        (ARCHITECTURES, registry.Architecture, [*BUILDERS, *get_args(library.Transformer)]),
        (RECIPES, registry.Recipe, None),
    ],
    ids=["losses", "architectures", "recipes"],
)
def test_what_is_listed_is_what_a_spec_accepts_and_what_the_engine_can_do(listed, union, code):
    """A loss that the API lists and the engine lacks fails hours later, in a worker."""
    accepted = get_args(get_args(union)[0])
    assert set(accepted) == set(listed)
    assert len({choice.key() for choice in listed}) == len(listed)
    if code is not None:
        assert set(code) == set(listed)


def test_builtin_data_is_what_the_contract_says_of_it():
    """The API checks shapes and classes from the contract's entry, without loading anything."""
    assert set(builtin.SOURCES) == set(BUILTINS)
    for name, said in BUILTINS.items():
        found = builtin.SOURCES[name]()
        assert {split: len(labels) for split, (_, labels) in found.items()} == said.rows
        for features, labels in found.values():
            assert (1, *features.shape[1:]) == said.shape or (said.shape, features.ndim) == ((), 1)
            each = (word for label in labels.tolist() for word in (label if isinstance(label, tuple) else (label,)))
            assert said.tasks == ("seq2seq",) or sorted({str(word) for word in each}) == list(said.classes)


def seen(z, term):
    """Eight rows, or four texts of two tokens, with two layers inside that depend on z [8, 3]."""
    if term.ONLY_FOR and "image-classification" in term.ONLY_FOR and "text-classification" not in term.ONLY_FOR:
        states = [z, z[:, :, None, None].expand(8, 3, 2, 2) * torch.rand(8, 3, 2, 2), z * 2]
        return replace(Said.of(z), inside=Inside(states))
    states = [z.reshape(4, 2, 3), z.reshape(4, 2, 3) * 2, z.reshape(4, 2, 3) ** 2]
    tall = states[0][:, None]
    heads = Heads(tall, tall * 2, tall + 1, 0.5, torch.ones(4, 1, 2, 2, dtype=torch.bool))
    inside = Inside(states, [heads] * 2, torch.arange(8), torch.ones(4, 2, dtype=torch.bool))
    return replace(Said.of(z), inside=inside)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.key())
def test_every_loss_with_its_defaults_can_be_learned_from(loss):
    z = torch.randn(8, 3, requires_grad=True)
    teacher = torch.randn(8, 3)
    term = loss()
    mine, theirs = seen(z, term), seen(teacher, term)
    compared = {0: comparison(term, "objective.0", mine.inside, theirs.inside)} if term.SEES != "logits" else {}
    drawn = Drawn(torch.tensor([0, 1, 2, 0] * 2), torch.ones(8), torch.randn(8), torch.ones(8))
    total, _ = Objective([term], compared, classes=3)(mine, torch.tensor([0, 1, 2, 0] * 2), theirs, drawn=drawn)
    total.backward()
    assert total.isfinite()
    assert z.grad is not None
    assert z.grad.abs().sum() > 0


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss.NEEDS_TEACHER], ids=lambda loss: loss.key())
def test_a_loss_that_says_it_needs_a_teacher_does(loss):
    """NEEDS_TEACHER decides which specs are refused; a wrong one would train on nothing."""
    with pytest.raises(AssertionError):
        Objective([loss()], classes=2)(Said.of(torch.zeros(1, 2)), torch.tensor([0]), None)


def counts(architecture, shape, classes):
    """Parameters as the contract says them, after checking that the network takes the shape and gives the classes."""
    network = build(architecture, shape, classes)
    assert network(torch.zeros(2, *shape)).shape == (2, classes)
    assert architecture.parameters(shape, classes) == count_parameters(network) == sum(p.numel() for p in network.parameters())


@some
@given(st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple), st.integers(2, 12))
def test_logistic_has_the_parameters_the_api_quotes(shape, classes):
    counts(Logistic(), shape, classes)


@some
@given(
    st.lists(widths, min_size=1, max_size=5), dropout, st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple), st.integers(2, 12)
)
def test_mlp_has_the_parameters_the_api_quotes(hidden, share, shape, classes):
    counts(Mlp(hidden=hidden, dropout=share), shape, classes)


@some
@given(
    st.lists(st.integers(1, 8), min_size=1, max_size=6),
    widths,
    dropout,
    st.tuples(st.sampled_from([1, 3]), st.integers(1, 17), st.integers(1, 17)),
)
def test_cnn_has_the_parameters_the_api_quotes_down_to_images_of_one_pixel(channels, hidden, share, shape):
    """Pooling stops when a side would vanish: more convolutions than an image can be halved are no error."""
    counts(Cnn(channels=channels, hidden=hidden, dropout=share), shape, 5)


@some
@given(
    st.lists(st.integers(1, 8), min_size=1, max_size=4),
    st.integers(1, 3),
    st.integers(1, 3),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_resnet_has_the_parameters_the_api_quotes_down_to_its_smallest_image(channels, blocks, colours, more):
    smallest = 2 ** len(channels)
    architecture, shape = Resnet(channels=channels, blocks=blocks), (colours, smallest + more[0], smallest + more[1])
    assert architecture.refuses(shape) is None
    counts(architecture, shape, 5)
    build(architecture, shape, 5).train()(torch.rand(1, *shape))  # the last batch of an epoch may be one row
    assert architecture.refuses((colours, smallest - 1, 99)) is not None


@pytest.mark.parametrize("arch", [Cnn(), Resnet()], ids=lambda arch: arch.key())
@pytest.mark.parametrize("shape", [(64,), (8, 8)])
def test_architectures_for_images_refuse_what_is_none(arch, shape):
    assert "needs images" in (arch.refuses(shape) or "")


def test_the_published_mnist_pair_has_its_published_size():
    assert Mlp(hidden=[16]).parameters((784,), 10) == 12_730
    assert Mlp(hidden=[4]).parameters((1, 28, 28), 10) == 3_190


@pytest.mark.parametrize(
    ("recipe", "terms"),
    [
        (Hinton(), [Kl(temperature=4.0, weight=0.7), CrossEntropy(weight=1 - 0.7)]),
        (Hinton(temperature=20.0, alpha=0.8), [Kl(temperature=20.0, weight=0.8), CrossEntropy(weight=1 - 0.8)]),
        (Hinton(alpha=0.0), [CrossEntropy(weight=1.0)]),
        (Hinton(alpha=1.0), [Kl(temperature=4.0, weight=1.0)]),
        (LogitMseRecipe(), [LogitMse(weight=1.0)]),
        (LogitMseRecipe(alpha=0.25), [LogitMse(weight=0.25), CrossEntropy(weight=0.75)]),
        (LogitMseRecipe(alpha=0.0), [CrossEntropy(weight=1.0)]),
    ],
    ids=str,
)
def test_a_recipe_is_its_expansion(recipe, terms):
    """alpha weighs the teacher, 1 − alpha the labels, as in the articles; a term of weight zero costs nothing because it is not there."""
    assert recipe.expand() == terms


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.key())
def test_every_recipe_names_its_paper_and_shows_its_terms(recipe):
    entry = recipe.entry()
    assert entry["paper"].startswith(tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    assert "https://" in entry["paper"]
    assert [term["loss"] for term in entry["expands_to"]] == [term.loss for term in recipe.example().expand()]
