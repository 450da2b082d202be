"""The terms an objective can be made of."""

from typing import Annotated, get_args

from pydantic import Field

from contract.registry.inner import Inner
from contract.registry.losses import Outer
from contract.registry.terms import BaseTerm

Term = Annotated[Outer | Inner, Field(discriminator="loss")]
LOSSES: tuple[type[BaseTerm], ...] = get_args(Outer) + get_args(Inner)
