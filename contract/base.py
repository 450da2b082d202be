"""The two pydantic bases: what people send is checked strictly, what we answer is plain."""

from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class Sent(BaseModel):
    """Something a person wrote: unknown fields, wrong types, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class About(NamedTuple):
    """What the registry says of a choice, besides its parameters: one line of meaning, the formula, where it comes from."""

    meaning: str
    formula: str = ""
    paper: str = ""


class Choice(Sent):
    """A registered choice (loss, recipe, architecture): its fields are its parameters, ABOUT is its entry in the registry."""

    ABOUT: ClassVar[About]
    KEY: ClassVar[str]  # the field that holds the choice's name: loss, name or arch

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The name is required: without it nobody could tell which choice is meant."""
        schema = handler.resolve_ref_schema(handler(core))
        schema["required"] = list(dict.fromkeys([cls.KEY, *schema.get("required", ())]))
        return schema

    @classmethod
    def key(cls) -> str:
        return str(cls.model_fields[cls.KEY].default)

    @classmethod
    def entry(cls) -> dict[str, Any]:
        """The registry's row for `GET /v1/losses` and its sisters: name, meaning, formula, paper and each parameter with its default."""
        parameters = []
        for name, schema in cls.model_json_schema()["properties"].items():
            if name == cls.KEY:
                continue
            limits = {k: v for k, v in schema.items() if k not in ("title", "description", "default")}
            field = cls.model_fields[name]
            parameters.append(
                {
                    "name": name,
                    "required": field.is_required(),
                    "default": schema.get("default"),
                    "meaning": field.description or "",
                    "schema": limits,
                }
            )
        return {"name": cls.key(), **cls.ABOUT._asdict(), "parameters": parameters}


Metadata = Annotated[dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)]
