"""All recipes, and the union a spec chooses from."""

from typing import Annotated, get_args

from pydantic import Field, WithJsonSchema
from typing_extensions import TypeAliasType

from contract.registry.chain_recipes import BornAgain, SelfKd, Takd, WellRead
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
from contract.registry.recipes import DistilBert, Gkd, Hinton, LogitMseRecipe, MiniLlm, MixKd, MultiTeacher, SeqKd, TangBilstm
from contract.registry.task_recipes import Bam, MtDnnKd

_Any = (
    Hinton | MultiTeacher | LogitMseRecipe | DistilBert | TangBilstm | SeqKd | MixKd | Gkd | MiniLlm | PatientKd | TinyBert | MiniLm
    | RelationalKd | AttentionTransferRecipe | FitNets | AdversarialRecipe | Bam | MtDnnKd | Takd | BornAgain | SelfKd | WellRead
)  # fmt: skip
Recipe = Annotated[_Any, Field(discriminator="name")]
RECIPES: tuple[type[BaseRecipe], ...] = get_args(_Any)
_BY_NAME = [recipe.key() for recipe in RECIPES if not any(field.is_required() for field in recipe.model_fields.values())]
RecipeName = TypeAliasType("RecipeName", Annotated[str, WithJsonSchema({"type": "string", "enum": _BY_NAME})])  # of what needs nothing else
