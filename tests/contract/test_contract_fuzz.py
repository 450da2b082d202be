"""Whatever is sent as a spec, the outcome is a spec or an InvalidSpec that can be written down as an answer."""

import json
import math
from typing import Any, get_args

from contract_specs import DISTILL, EVALUATE, TRAIN
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from contract.check import parse_spec
from contract.errors import ErrorCode, InvalidSpec
from contract.registry import ARCHITECTURES, LOSSES, RECIPES
from contract.spec import JobSpec

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text()
    | st.text(st.characters(categories=["Cs", "Cc", "Lu"]), max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=15,
)


def names_in(model: type[BaseModel], seen: set[type]) -> set[str]:
    """Every field name of the model and of the models below it."""
    found = set(model.model_fields)
    for field in model.model_fields.values():
        for inner in models_in(field.annotation):
            if inner not in seen:
                seen.add(inner)
                found |= names_in(inner, seen)
    return found


def models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_in(argument)]


NAMES = sorted(names_in(JobSpec, set()) | {"described", "trained", *(choice.key() for choice in (*ARCHITECTURES, *LOSSES, *RECIPES))})
WORDS = [*NAMES, "digits", "train", "distill", "evaluate", "image-classification", "adam", "sgd", "@a", "job_" + "0" * 32]
alike = st.recursive(
    st.sampled_from(WORDS) | st.integers(-2, 70) | st.floats(-1, 2) | st.booleans() | st.none() | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)


def outcome(value: Any) -> JobSpec | None:
    try:
        spec = parse_spec(value)
    except InvalidSpec as error:
        answer = error.problem("/v1/jobs", "req_1")
        assert json.loads(answer.model_dump_json())["status"] == 422
        assert error.code in {ErrorCode.INVALID_SPEC, ErrorCode.UNKNOWN_FIELD, ErrorCode.CONFLICTING_FIELDS}
        assert len(error.detail) < 2_000
        return None
    resolved = spec.resolved()
    text = json.dumps(resolved.model_dump(mode="json"), allow_nan=False)
    assert parse_spec(json.loads(text)) == resolved
    return spec


@given(anything)
@settings(max_examples=200, deadline=None)
def test_arbitrary_values(value):
    outcome(value)


@given(st.dictionaries(st.sampled_from([*JobSpec.model_fields, "x"]), alike))
@settings(max_examples=120, deadline=None)
def test_mappings_of_known_words_in_wrong_places(value):
    outcome(value)


def spoiled(value: Any, place: list[int], new: Any) -> Any:
    """A copy with `new` somewhere inside: each number of `place` chooses a member one level down."""
    if not place or not isinstance(value, dict | list) or not value:
        return new
    if isinstance(value, dict):
        chosen = sorted(value)[place[0] % len(value)]
        return {key: spoiled(inner, place[1:], new) if key == chosen else inner for key, inner in value.items()}
    at = place[0] % len(value)
    return [spoiled(inner, place[1:], new) if i == at else inner for i, inner in enumerate(value)]


FULL = [
    json.loads(json.dumps(parse_spec(spec).resolved().model_dump(mode="json")))
    for spec in (TRAIN, EVALUATE, {**DISTILL, "evaluation": {"control": True}}, {**DISTILL, "recipe": "logit_mse"})
]


@given(st.sampled_from(FULL), st.lists(st.integers(0, 20), min_size=1, max_size=5), alike)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_good_specs_with_one_thing_changed(spec, place, new):
    """Most survive the first checks this way and reach the rules between fields."""
    event("accepted" if outcome(spoiled(spec, place, new)) else "refused")


def test_no_number_that_is_not_finite_survives():
    def finite(value: Any) -> bool:
        if isinstance(value, dict):
            return all(finite(inner) for inner in value.values())
        if isinstance(value, list):
            return all(finite(inner) for inner in value)
        return not isinstance(value, float) or math.isfinite(value)

    def with_each_number_replaced(value: Any, new: float) -> list[Any]:
        if isinstance(value, dict):
            return [{**value, key: other} for key, inner in value.items() for other in with_each_number_replaced(inner, new)]
        if isinstance(value, list):
            return [
                [*value[:i], other, *value[i + 1 :]] for i, inner in enumerate(value) for other in with_each_number_replaced(inner, new)
            ]
        return [new] if isinstance(value, int | float) and not isinstance(value, bool) else []

    tried = 0
    for spec in FULL:
        for new in (math.nan, math.inf, -math.inf):
            for changed in with_each_number_replaced(spec, new):
                tried += 1
                assert not finite(changed)
                assert outcome(changed) is None, changed
    assert tried > 100
