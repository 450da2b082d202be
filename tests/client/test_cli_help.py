"""Every command's help ends with examples, and each of them is a line that the command line takes."""

import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from potstill.cli.app import COMMANDS, _load
from potstill.cli.examples import EXAMPLES


def leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", {})
    if not inner:
        yield name, command
    for one, below in inner.items():
        yield from leaves(below, f"{name} {one}")


TREE = dict(leaf for name in COMMANDS for leaf in leaves(_load(name), name))


def test_examples_are_of_commands_there_are() -> None:
    assert set(EXAMPLES) == set(TREE)


@pytest.mark.parametrize("name", TREE)
def test_help_ends_with_examples_that_can_be_typed(name: str) -> None:
    command = TREE[name]
    context = command.context_class(command, info_name=name)
    said, lines = command.get_help(context), EXAMPLES[name]
    assert 1 <= len(lines) <= 3
    assert said.rstrip().endswith("\n".join(["  Examples:", *(f"    potstill {line}" for line in lines)]))
    for line in lines:
        typed = shlex.split(line.split(" > ")[0].split(" < ")[0])
        words = name.split()
        assert typed[: len(words)] == words
        command.make_context(name, typed[len(words) :])


def test_an_example_with_a_misspelt_option_would_be_seen() -> None:
    with pytest.raises(Exception, match="No such option"):
        TREE["submit"].make_context("submit", ["spec.yaml", "--wach"])


@pytest.mark.parametrize("name", TREE)
def test_help_says_what_every_option_is_for(name: str) -> None:
    for parameter in TREE[name].params:
        assert getattr(parameter, "help", None), f"{name}: {parameter.name} says nothing"
