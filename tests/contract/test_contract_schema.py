"""The JSON schema that editors check specs with: it takes what the service takes, and refuses what one field can be refused for."""

import math
from typing import Any

import pytest
from contract_specs import DISTILL, TRAIN, base, put
from jsonschema import Draft202012Validator
from test_contract_bad_fields import UNKNOWN
from test_contract_bad_values import OUTSIDE, WRONG_KINDS

from contract import schema
from contract.check import parse_spec
from contract.sweep import SweepSpec

JOB = Draft202012Validator(schema.job())
SWEEP = Draft202012Validator(schema.sweep())


def test_both_are_schemas_with_examples_that_the_service_takes() -> None:
    for make in schema.SCHEMAS.values():
        Draft202012Validator.check_schema(make())
    for example in schema.job()["examples"]:
        JOB.validate(example)
        parse_spec(example)
    for example in schema.sweep()["examples"]:
        SWEEP.validate(example)
        SweepSpec.model_validate(example)


def test_every_field_has_a_description() -> None:
    found = schema.job()
    for name, model in {**found["$defs"], "JobSpec": found}.items():
        for field, part in model.get("properties", {}).items():
            assert part.get("description") or "const" in part, f"{name}.{field}"


@pytest.mark.parametrize(
    "spec",
    [
        DISTILL | {"recipe": "hinton"},
        put(DISTILL, "evaluation.compare", ["logit_mse", {"name": "hinton", "alpha": 0.5}]),
        put(TRAIN, "data.test", {"dataset": "digits", "split": "test"}),
        put(TRAIN, "data.train", {"tasks": {"a": "digits", "b": {"dataset": "digits"}}}),
        put(TRAIN, "tokenizer", {}),
        put(DISTILL, "student", {"init": "teacher", "layers": [0, 2]}),
        TRAIN | {"name": None},
        parse_spec(DISTILL).resolved().model_dump(mode="json"),
    ],
)
def test_short_forms_and_resolved_specs_are_taken(spec: dict[str, Any]) -> None:
    JOB.validate(spec)


def refused_by_both(path: str, value: Any) -> bool:
    """Not: what JSON cannot hold, and characters that pass no door of the service but are text to a schema."""
    return not (isinstance(value, float) and math.isnan(value)) and value != "\ud800"


WRONG = [(put(base(path), path, value), path) for path, value in OUTSIDE]
WRONG += [(put(base(p.values[0]), *p.values), p.values[0]) for p in WRONG_KINDS if refused_by_both(*p.values)]
WRONG += [(put(spec, path, 1), path) for spec, path, _ in UNKNOWN]


def test_what_one_field_is_refused_for_the_schema_refuses_too() -> None:
    assert len(WRONG) > 400
    taken = [(path, repr(spec)[:300]) for spec, path in WRONG if JOB.is_valid(spec)]
    assert taken == []


@pytest.mark.parametrize("missing", ["kind", "task", "data", "student"])
def test_what_is_missing_is_refused(missing: str) -> None:
    assert not JOB.is_valid({name: part for name, part in TRAIN.items() if name != missing})


def test_a_job_in_a_sweep_may_lack_what_varies_and_nothing_may_be_misspelt_in_it() -> None:
    sweep = {"job": {"kind": "train", "student": {"arch": "mlp"}}, "space": {"student.hidden": [[4], [8]]}}
    SWEEP.validate(sweep)
    assert not SWEEP.is_valid(put(sweep, "job.student.hiden", [4]))
    assert not SWEEP.is_valid(put(sweep, "job.training", {"epohcs": 4}))
