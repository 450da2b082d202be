"""Data, student and teacher: what fits is let through, what does not is named before anything is queued."""

import json

import pytest
from contract_specs import DISTILL, EVALUATE, EXPORT, TEACHER, TRAIN, put
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.check import parse_spec
from contract.column import Column
from contract.columns import choose_columns
from contract.errors import InvalidSpec
from contract.export import unwritable
from contract.fit import MAX_PARAMETERS, check_fit
from contract.model import ModelConfig, Scaling
from contract.registry import BUILTINS, Cnn, Logistic, Mlp
from contract.shapes import DataShape, builtin_shape, input_shape
from contract.spec import Columns

IMAGES, TABLES = "image-classification", "tabular-classification"
DIGITS = DataShape(shape=(1, 8, 8), classes=list("0123456789"))


def column(name: str, *shape: int, kind: str = "float64") -> Column:
    return Column(name=name, type=kind, shape=list(shape))


TABLE = [column("age"), column("height"), column("town", kind="string"), column("label", kind="int64")]


def unfit(param: str, said: str, call: object, *arguments: object) -> InvalidSpec:
    with pytest.raises(InvalidSpec) as caught:
        call(*arguments)  # type: ignore[operator]
    error = caught.value
    assert (error.status, error.code, error.param) == (422, "does_not_fit", param)
    assert error.detail.startswith(f"{param}: ")
    assert said in error.detail
    return error


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ((8, 8), (1, 8, 8)),
        ((28, 20), (1, 28, 20)),
        ((1, 28, 28), (1, 28, 28)),
        ((3, 32, 30), (3, 32, 30)),
        ((4, 5, 6), (4, 5, 6)),
        ((28, 28, 1), (1, 28, 28)),
        ((32, 30, 3), (3, 32, 30)),
        ((5, 6, 4), (4, 5, 6)),
        ((784,), (784,)),
    ],
)
def test_images_get_their_channels_first(sent, seen):
    assert input_shape(IMAGES, sent) == seen


def test_between_two_readings_the_channels_come_first():
    """(3, 32, 4) may be either; the one reading that needs no copy is taken, always."""
    assert input_shape(IMAGES, (3, 32, 4)) == (3, 32, 4)


@pytest.mark.parametrize("shape", [(), (2, 8, 8), (8, 8, 5), (1, 1, 8, 8)])
def test_other_shapes_are_no_images(shape):
    error = unfit("data.test", "are not images", input_shape, IMAGES, shape, "data.test")
    assert str(list(shape)) in error.detail


@given(st.lists(st.integers(1, 50), max_size=4))
def test_a_row_of_a_table_is_as_long_as_it_has_numbers(shape):
    length = 1
    for size in shape:
        length *= size
    assert input_shape(TABLES, shape) == (length,)


def test_the_label_is_the_column_called_so_and_the_rest_is_learned_from():
    chosen = choose_columns([column("a"), column("y", kind="int64"), column("b")], Columns(), TABLES, "data.train")
    assert (chosen.label, chosen.features, chosen.shape) == ("y", ["a", "b"], (2,))
    both = choose_columns([column("y"), column("a"), column("label", kind="string")], Columns(), TABLES, "data.train")
    assert (both.label, both.features) == ("label", ["y", "a"])


def test_columns_are_used_in_the_order_they_are_asked_for():
    chosen = choose_columns(TABLE, Columns(label="town", features=["height", "age"]), TABLES, "data.train")
    assert (chosen.label, chosen.features, chosen.shape) == ("town", ["height", "age"], (2,))


def test_a_single_column_of_arrays_is_one_example_a_row():
    columns = [column("image", 8, 8, kind="uint8"), column("y", kind="int64")]
    assert choose_columns(columns, Columns(), IMAGES, "data.train").shape == (1, 8, 8)
    assert choose_columns(columns, Columns(), TABLES, "data.train").shape == (64,)
    assert choose_columns([column("x"), column("y")], Columns(), TABLES, "data.train").shape == (1,)


def test_numbers_and_arrays_stand_side_by_side_in_a_table():
    columns = [column("image", 8, 8), column("age"), column("y")]
    assert choose_columns(columns, Columns(), TABLES, "data.train").shape == (65,)
    pixels = [*[column(f"p{i}") for i in range(4)], column("y")]
    assert choose_columns(pixels, Columns(), IMAGES, "data.train").shape == (4,)


@pytest.mark.parametrize(
    ("columns", "wanted", "task", "param", "said"),
    [
        (
            [column("a"), column("b")],
            Columns(),
            TABLES,
            "data.train.columns.label",
            "no column is called `label` or `y`; the columns are a, b",
        ),
        (TABLE, Columns(label="class"), TABLES, "data.train.columns.label", "no column 'class'; the columns are age, height, town, label"),
        ([column("a"), column("y", 3)], Columns(), TABLES, "data.train.columns.label", "arrays of shape [3]"),
        (TABLE, Columns(features=["age", "weight"]), TABLES, "data.train.columns.features.1", "no column 'weight'"),
        (TABLE, Columns(features=["age", "label"]), TABLES, "data.train.columns.features.1", "is the label"),
        (TABLE, Columns(features=["town"]), TABLES, "data.train.columns.features.0", "holds text"),
        (TABLE, Columns(), TABLES, "data.train", "'town' holds text"),
        ([column("y")], Columns(), TABLES, "data.train", "no column besides the label"),
        ([column("a", 8, 8), column("b"), column("y")], Columns(), IMAGES, "data.train", "one column of arrays"),
        ([column("a", 2, 2, 2, 2), column("y")], Columns(), IMAGES, "data.train", "are not images"),
    ],
)
def test_columns_that_cannot_be_used_are_named_with_those_there_are(columns, wanted, task, param, said):
    unfit(param, said, choose_columns, columns, wanted, task, "data.train")


@pytest.mark.parametrize("name", BUILTINS)
@pytest.mark.parametrize("task", [IMAGES, TABLES])
def test_built_in_data_has_a_shape_for_its_tasks(name, task):
    builtin = BUILTINS[name]
    if task in builtin.tasks:
        found = builtin_shape(name, task)
        assert found.shape == input_shape(task, builtin.shape)
        assert found.classes == list(builtin.classes)


def test_what_fits_is_let_through():
    same = DataShape(shape=(1, 8, 8), classes=list("0123456789"))
    fewer = DataShape(shape=(1, 8, 8), classes=["3", "1"])  # a test set need not have every class
    check_fit(parse_spec(TRAIN), DIGITS, None, {})
    check_fit(parse_spec(TRAIN), DIGITS, fewer, {})
    check_fit(parse_spec(DISTILL), DIGITS, same, {"teacher": same})
    check_fit(parse_spec(EVALUATE), DIGITS, same, {"student": same})
    check_fit(parse_spec(put(TRAIN, "student", {"arch": "cnn"})), DIGITS, same, {})


@pytest.mark.parametrize(
    ("spec", "train", "test", "models", "param", "said"),
    [
        (TRAIN, DataShape(shape=(4,), classes=["only"]), None, {}, "data.train", "only one class (only)"),
        (TRAIN, DataShape(shape=(4,), classes=[]), None, {}, "data.train", "one class"),
        (TRAIN, DIGITS, DataShape(shape=(1, 9, 8), classes=DIGITS.classes), {}, "data.test", "[1, 9, 8]"),
        (TRAIN, DIGITS, DataShape(shape=(1, 8, 8), classes=["1", "x", "z"]), {}, "data.test", "lacks: x, z"),
        (DISTILL, DIGITS, None, {"teacher": DataShape(shape=(64,), classes=DIGITS.classes)}, "teacher", "made for rows of shape [64]"),
        (DISTILL, DIGITS, None, {"teacher": DataShape(shape=(1, 8, 8), classes=["0", "1"])}, "teacher", "2 classes (0, 1)"),
        # The same classes in another order would map every output to a wrong name.
        (DISTILL, DIGITS, None, {"teacher": DataShape(shape=(1, 8, 8), classes=list("1023456789"))}, "teacher", "10 classes (1, 0"),
        (EVALUATE, DIGITS, None, {"student": DataShape(shape=(3, 8, 8), classes=DIGITS.classes)}, "student", "[3, 8, 8]"),
        (put(TRAIN, "student", {"arch": "cnn"}), DataShape(shape=(64,), classes=["a", "b"]), None, {}, "student.arch", "cnn needs images"),
        (put(TRAIN, "student.hidden", [16_384] * 20), DIGITS, None, {}, "student", "at most 2,000,000,000"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_before_anything_is_queued(spec, train, test, models, param, said):
    unfit(param, said, check_fit, parse_spec(spec), train, test, models)


widths = st.lists(st.integers(1, 40), min_size=1, max_size=4)


@given(widths, st.integers(2, 12), st.integers(1, 30))
@settings(deadline=None)
def test_parameters_are_counted_layer_by_layer(hidden, classes, features):
    layers = [features, *hidden, classes]
    by_hand = sum(layers[i] * layers[i + 1] + layers[i + 1] for i in range(len(layers) - 1))
    assert Mlp(hidden=hidden).parameters((features,), classes) == by_hand
    assert Logistic().parameters((features,), classes) == features * classes + classes


def test_the_parameters_of_a_small_cnn_by_hand():
    """8×8 → conv 1→2 (20), pool to 4×4 → conv 2→3 (57), pool to 2×2 → 12·5+5 → 5·10+10."""
    assert Cnn(channels=[2, 3], hidden=5).parameters((1, 8, 8), 10) == 20 + 57 + 65 + 60


def test_the_limit_is_a_limit_and_not_a_crash():
    assert Mlp(hidden=[16_384] * 64).parameters((784,), 10) > MAX_PARAMETERS


@pytest.mark.parametrize("architecture", [Logistic(), Mlp(hidden=[4, 3], dropout=0.1), Cnn(channels=[4], hidden=8)], ids=lambda a: a.key())
def test_the_configuration_of_a_model_rebuilds_its_architecture(architecture):
    config = ModelConfig.of(architecture, IMAGES, DIGITS, Scaling(subtract=0.5, divide=[0.5] * 64))
    back = ModelConfig.model_validate(json.loads(config.model_dump_json()))
    assert back == config
    assert back.architecture == architecture
    assert back.made_for == DIGITS
    assert back.parameters == architecture.parameters(DIGITS.shape, 10)


@pytest.mark.parametrize(
    "wrong",
    [{"arch": "resnet-9000"}, {"hiden": [4]}, {"hidden": []}, {"hidden": ["4"]}],
)
def test_a_configuration_of_no_known_architecture_is_refused(wrong):
    fields = {"arch": "mlp", "hidden": [4], "task": IMAGES, "shape": [1, 8, 8], "classes": ["a", "b"]} | wrong
    with pytest.raises(ValueError, match="validation error"):
        _ = ModelConfig.model_validate(fields).architecture


@pytest.mark.parametrize(
    "wrong", [{"shape": []}, {"shape": [1, 2, 3, 4]}, {"classes": ["a"]}, {"input": {"divide": float("nan")}}, {"input": {"x": 1}}]
)
def test_a_configuration_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="validation error"):
        ModelConfig.model_validate({"arch": "logistic", "task": IMAGES, "shape": [8], "classes": ["a", "b"]} | wrong)


def test_a_student_that_goes_on_from_a_model_is_held_to_what_that_was_made_for():
    spec = parse_spec(put(TRAIN, "student", TEACHER))
    check_fit(spec, DIGITS, None, {"student": DIGITS})
    unfit("student", "made for rows", check_fit, spec, DIGITS, None, {"student": DataShape(shape=(3,), classes=DIGITS.classes)})


@pytest.mark.parametrize("kind", [EVALUATE, EXPORT], ids=["evaluate", "export"])
def test_a_network_that_is_taken_as_it_is_must_have_learned_what_it_is_asked(kind):
    """One that is trained gets a new head; here that would be a random one."""
    texts = {"task": "text-classification", "data": {"train": "docstrings"}}
    rows, encoder = DataShape(classes=["a", "b"], texts=1), {"student": DataShape(classes=[], texts=1)}
    unfit("student", "taught no classes", check_fit, parse_spec({**kind, **texts}), rows, None, encoder)
    check_fit(parse_spec({**TRAIN, **texts, "student": TEACHER}), rows, None, encoder)


def test_what_one_file_cannot_hold_is_not_written():
    assert unwritable("text-classification", 500_000_001) and unwritable("seq2seq", None)
    assert unwritable("text-classification", 500_000_000) is None and unwritable("causal-lm", None) is None
