"""Errors cross the wire and come back as themselves."""

import json
from typing import Any

import pytest

from contract import errors
from contract.errors import ErrorBody, ErrorCode, FieldError, PotstillError, Refused


def subclasses(of: type[PotstillError]) -> list[type[PotstillError]]:
    return [one for direct in of.__subclasses__() for one in (direct, *subclasses(direct)) if one.__module__ == errors.__name__]


TREE = [PotstillError, *subclasses(PotstillError)]
# A JobError becomes the `error` of a job instead; where Exposed is raised nobody is listening yet.
ON_THE_WIRE = [one for one in TREE if one not in (errors.JobError, errors.Exposed)]


def sent(error: PotstillError) -> dict[str, Any]:
    """The body as the client reads it."""
    body: dict[str, Any] = json.loads(error.problem("/v1/jobs", "req_7").model_dump_json())
    return body


@pytest.mark.parametrize("kind", ON_THE_WIRE, ids=lambda kind: kind.__name__)
def test_an_error_comes_back_as_the_class_it_was_with_all_it_said(kind):
    error = kind("No good.", param="training.epochs", hint="Try 5.", errors=[FieldError(pointer="/training/epochs", message="no")])
    back = PotstillError.from_problem(sent(error))
    assert type(back) is kind
    for name in ("detail", "code", "param", "hint", "errors", "status"):
        assert getattr(back, name) == getattr(error, name), name
    assert back.request_id == "req_7"
    assert str(back) == "No good."


@pytest.mark.parametrize("code", [ErrorCode.INVALID_DATA, ErrorCode.INVALID_MODEL])
def test_a_refused_upload_is_invalid_data_though_specs_share_its_status(code):
    assert type(PotstillError.from_problem(sent(errors.InvalidData("rows", code=code)))) is errors.InvalidData
    assert type(PotstillError.from_problem(sent(errors.InvalidSpec("spec")))) is errors.InvalidSpec


@pytest.mark.parametrize("kind", ON_THE_WIRE, ids=lambda kind: kind.__name__)
def test_the_problem_has_the_fields_of_rfc_9457_and_ours(kind):
    body = sent(kind("No good."))
    assert set(body) == {"type", "title", "status", "detail", "instance", "code", "param", "errors", "hint", "request_id"}
    assert body["type"] == f"https://potstill.example/docs/errors#{body['code']}"
    assert body["status"] == kind.status
    assert body["title"] == kind.title
    assert body["code"] == kind.default_code
    assert body["instance"] == "/v1/jobs"
    assert body["errors"] == []


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_survives_the_wire(code):
    back = PotstillError.from_problem(sent(Refused("no", code=code, status=418)))
    assert back.code == code
    assert back.status == 418
    assert isinstance(back, Refused) or code == ErrorCode.STORE_REFUSED
    assert code.value == code.name.lower()


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, Refused), (401, errors.Unauthorized), (403, errors.Forbidden), (404, errors.NotFound), (405, Refused), (409, errors.Conflict),
     (413, errors.TooLarge), (415, Refused), (416, Refused), (422, errors.InvalidSpec), (429, errors.RateLimited), (500, PotstillError),
     (502, PotstillError), (503, errors.Unavailable)],
)  # fmt: skip
def test_the_class_follows_the_status_where_the_code_is_new(status, kind):
    """A client of today understands tomorrow's codes well enough."""
    back = PotstillError.from_problem({"status": status, "detail": "no", "code": "from_the_future"})
    assert type(back) is kind
    assert (back.code, back.status) == ("from_the_future", status)


def test_a_body_with_next_to_nothing_in_it_is_an_error_all_the_same():
    """A proxy's answer, say."""
    back = PotstillError.from_problem({})
    assert type(back) is PotstillError
    assert back.status == 500
    assert back.detail


def test_the_tree_in_the_docstring_is_the_tree():
    drawn = [line.strip("│├└─ ").split()[0] for line in (errors.__doc__ or "").splitlines() if line.startswith("    ") and line.strip()]
    assert sorted(drawn) == sorted(one.__name__ for one in TREE)


def test_what_a_job_failed_of_is_code_message_and_hint():
    error = errors.JobError("The loss is NaN.", code=ErrorCode.DIVERGED, hint="Lower training.optimizer.lr.")
    assert error.body() == ErrorBody(code="diverged", message="The loss is NaN.", hint="Lower training.optimizer.lr.")
    assert ErrorBody.model_validate(json.loads(error.body().model_dump_json())) == error.body()


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_defaults_are_known_codes_and_the_title_is_a_phrase(kind):
    assert kind.default_code in set(ErrorCode)
    assert kind.title.strip()
    assert 400 <= kind.status < 600
