"""What is no spec at all, or one that was made to hurt."""

from typing import Any

import pytest
from contract_specs import EVALUATE, TRAIN, put, refusal

from contract.check import checked
from contract.errors import InvalidSpec
from contract.spec import Training


@pytest.mark.parametrize("value", [None, [], 5, 0.5, True, "train", [TRAIN]])
def test_what_is_no_mapping_at_all_is_refused_as_a_whole(value):
    error = refusal(value)
    assert error.param is None
    assert error.detail.startswith("the spec: ")


def test_every_error_is_listed_and_the_first_is_the_one_in_param():
    spec = put(put(put(TRAIN, "training.epochs", "many"), "student.hidden", [0, "x"]), "priority", 0.5)
    error = refusal(spec)
    assert sorted(one.pointer for one in error.errors) == ["/priority", "/student/hidden/0", "/student/hidden/1", "/training/epochs"]
    assert "/" + (error.param or "").replace(".", "/") == error.errors[0].pointer


def test_pointers_escape_what_json_pointer_reserves():
    error = refusal({**TRAIN, "a/b~c": 1})
    assert error.param == "a/b~c"
    assert error.errors[0].pointer == "/a~1b~0c"


def test_a_key_called_like_the_branch_of_a_union_is_still_found():
    """pydantic puts branch names into its locations; a field of that name must not be taken for one."""
    assert refusal(put(TRAIN, "student.described", 1)).param == "student.described"
    assert refusal(put(EVALUATE, "student.trained", 1)).param == "student.trained"


def test_keys_that_are_no_words_are_refused():
    assert refusal({**TRAIN, 5: 1}).errors[0].pointer == "/5"
    assert refusal(put(TRAIN, "training", {None: 1})).code == "invalid_spec"
    assert refusal({**TRAIN, "metadata": {1: "x"}}).param == "metadata.1"


@pytest.mark.parametrize("metadata", [{"": "x"}, {"k" * 65: "x"}, {str(i): "x" for i in range(17)}])
def test_metadata_is_sixteen_short_pairs_of_words(metadata):
    assert (refusal({**TRAIN, "metadata": metadata}).param or "").startswith("metadata")


def nested(depth: int, wrap: Any) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize("depth", [50, 900, 5_000, 100_000])
@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {"a": v}], ids=["lists", "mappings"])
@pytest.mark.parametrize("path", ["training", "kind", "task", "version", "metadata.a", "student.hidden", "new"])
def test_what_is_nested_without_end_is_refused_and_not_followed(path, wrap, depth):
    refusal(put(TRAIN, path, nested(depth, wrap)))


@pytest.mark.parametrize("path", ["training.epochs", "training.optimizer.lr", "version", "kind", "name"])
def test_a_number_too_long_to_write_out_is_refused(path):
    """Python refuses to turn integers of more than 4,300 digits into text, the error message included."""
    error = refusal(put(TRAIN, path, 16**5000))
    assert error.param == path
    assert len(error.detail) < 300


def test_long_values_are_shortened_in_what_is_said():
    assert len(refusal(put(TRAIN, "training.epochs", "9" * 100_000)).detail) < 300
    assert len(refusal(put(TRAIN, "training.epochs", list(range(100_000)))).detail) < 300


def test_parts_of_a_spec_can_be_checked_with_the_place_they_will_have():
    """A batch checks each member below its own place."""
    with pytest.raises(InvalidSpec) as caught:
        checked(Training, {"epohcs": 1}, ("jobs", 3, "training"))
    assert caught.value.param == "jobs.3.training.epohcs"
    assert caught.value.errors[0].pointer == "/jobs/3/training/epohcs"
    assert caught.value.hint == "Did you mean `epochs`?"
