"""Anything a person sent → a checked model, or one refusal that names the field, what was wrong and the nearest right word."""

import difflib
import reprlib
import typing
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from contract import refs, sources
from contract.errors import ErrorCode, FieldError, InvalidSpec
from contract.spec import NAME, JobSpec

Model = TypeVar("Model", bound=BaseModel)
MEANT = {  # what a pattern asks for, in words
    refs.JOB: "neither a job's id (job_ and 32 digits of 0-9 and a-f) nor the @name of one that is sent along with it",
    refs.MODEL: "no model's id (mdl_ and 32 digits of 0-9 and a-f)",
    refs.HUB: "no repository of the Hugging Face Hub (org/name)",
    NAME: "no name that can be shown: it has control characters, or marks that turn the direction of writing",
    sources.DATASET: "neither a dataset's id (ds_ and 32 digits of 0-9 and a-f) nor the name of a built-in one",
}
Place = tuple[str | int, ...]


def parse_spec(value: Any) -> JobSpec:
    """The job spec in `value`; raises InvalidSpec with every error found, the first one in `param` and `detail`."""
    return checked(JobSpec, value)


def checked(model: type[Model], value: Any, below: Place = ()) -> Model:
    """`value` as `model`; `below` is put before every place named in an error."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise refusal(error, model, value, below) from None
    except (RecursionError, OverflowError):
        raise InvalidSpec("The spec is nested too deeply or holds a number that is too large.") from None


def refusal(error: ValidationError, model: type[BaseModel], value: Any, below: Place = ()) -> InvalidSpec:
    found = [_one(details, model, value) for details in error.errors()]
    # A misspelt field is also a missing one: what was written explains more than what was not.
    found.sort(key=lambda one: (one.code != ErrorCode.CONFLICTING_FIELDS, one.code != ErrorCode.UNKNOWN_FIELD))
    first = found[0]
    return InvalidSpec(
        f"{dotted(below + first.place) or 'the spec'}: {first.message}",
        code=first.code,
        param=dotted(below + first.place) or None,
        hint=first.hint,
        errors=[FieldError(pointer=pointer(below + one.place), message=one.message) for one in found],
    )


def dotted(place: Place) -> str:
    return ".".join(str(part) for part in place)


def pointer(place: Place) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in place)


class _Found(typing.NamedTuple):
    place: Place
    message: str
    code: str
    hint: str | None


def _one(details: ErrorDetails, model: type[BaseModel], value: Any) -> _Found:
    kind, context = details["type"], details.get("ctx", {})
    place = _place(details["loc"], value, missing=kind == "missing")
    if kind == "rule":
        return _Found(place + tuple(context["at"]), context["said"], context["code"], None)
    if kind == "extra_forbidden":
        known = _known(place[:-1], details["loc"], model)
        return _Found(place, "this field is not known", ErrorCode.UNKNOWN_FIELD, _nearest(str(place[-1]), known))
    if kind == "missing":
        return _Found(place, "this field is required", ErrorCode.INVALID_SPEC, f"Add `{place[-1]}`.")
    if kind == "union_tag_not_found":
        tag = str(context["discriminator"]).strip("'")
        return _Found((*place, tag), "this field is required: it says which one is meant", ErrorCode.INVALID_SPEC, f"Add `{tag}`.")
    if kind in ("union_tag_invalid", "literal_error", "enum"):
        if kind == "union_tag_invalid":
            place = (*place, str(context["discriminator"]).strip("'"))
        options = [o.strip(" '") for o in str(context.get("expected_tags") or context.get("expected")).replace(" or ", ",").split(",")]
        given = context.get("tag", details["input"])
        return _Found(place, f"{_short(given)} is not one of {', '.join(options)}", ErrorCode.INVALID_SPEC, _nearest(given, options))
    if kind == "string_pattern_mismatch" and (meant := MEANT.get(context["pattern"])):
        return _Found(place, f"{_short(details['input'])} is {meant}", ErrorCode.INVALID_SPEC, None)
    message = details["msg"][0].lower() + details["msg"][1:]
    return _Found(place, f"{message} (given: {_short(details['input'])})", ErrorCode.INVALID_SPEC, None)


def _place(loc: Place, value: Any, missing: bool) -> Place:
    """pydantic's location without the names of union branches: only what stands in the document, or is missing there."""
    place: list[str | int] = []
    for i, part in enumerate(loc):
        inside = isinstance(value, dict) and part in value
        if inside or (isinstance(part, int) and isinstance(value, list | tuple) and part < len(value)):
            place.append(part)
            value = value[part]
        elif missing and i == len(loc) - 1:
            place.append(part)
    return tuple(place)


def _known(parent: Place, loc: Place, model: type[BaseModel]) -> list[str]:
    """Field names of the model that holds the unknown field: follow the location through the annotations."""
    candidates = [model]
    for part in loc[:-1]:
        inner: list[type[BaseModel]] = []
        for candidate in candidates:
            field = candidate.model_fields.get(str(part))
            if field is not None:
                inner += _models_in(field.annotation)
        by_tag = [c for c in candidates if part in _tags(c)]
        candidates = inner or by_tag or candidates
    return sorted({name for candidate in candidates for name in candidate.model_fields})


def _tags(model: type[BaseModel]) -> list[Any]:
    key = getattr(model, "KEY", None)
    return [model.model_fields[key].default] if key else ["trained"]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models_in(argument)]


def _nearest(word: Any, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5) if isinstance(word, str) else []
    return f"Did you mean `{close[0]}`?" if close else f"Known here: {', '.join(known)}."


_SHOWN = reprlib.Repr()  # `repr` itself gives up on what is nested deeply
_SHOWN.maxlevel, _SHOWN.maxstring, _SHOWN.maxother = 3, 80, 80


def _short(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > 1000:
        return "a number of more than 300 digits"  # Python refuses to write out very long ones
    shown = _SHOWN.repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "…"
