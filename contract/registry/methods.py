"""All recipes, and the union a spec chooses from."""

from typing import Annotated, get_args

from pydantic import Field

from contract.registry.chain_recipes import BornAgain, Takd, WellRead
from contract.registry.layer_recipes import (
    AdversarialRecipe,
    AttentionTransferRecipe,
    FitNets,
    MiniLm,
    PatientKd,
    RelationalKd,
    TinyBert,
)  # fmt: skip
from contract.registry.recipe import BaseRecipe
from contract.registry.recipes import DistilBert, Gkd, Hinton, LogitMseRecipe, MixKd, SeqKd, TangBilstm

_Any = (
    Hinton | LogitMseRecipe | DistilBert | TangBilstm | SeqKd | MixKd | Gkd | PatientKd | TinyBert | MiniLm | RelationalKd
    | AttentionTransferRecipe | FitNets | AdversarialRecipe | Takd | BornAgain | WellRead
)  # fmt: skip
Recipe = Annotated[_Any, Field(discriminator="name")]
RECIPES: tuple[type[BaseRecipe], ...] = get_args(_Any)
