"""Images as networks get them: channels first, pixels as they are in memory and scaled by what the config says."""

import numpy as np
import pytest
import torch
from engine_runs import small

from contract.errors import InvalidSpec
from contract.model import Scaling
from distill.data import load
from distill.inputs import Inputs
from distill.networks import scaled

DRAW = np.random.default_rng(0)


def read(path, **data):
    spec = small(data={"train": {"path": path}, "max_train_samples": None, "validation": 0.25} | data)
    return load(spec, Inputs.local(spec, "/nonexistent"))


def pixels(*shape):
    return DRAW.integers(0, 256, shape).astype(np.uint8)


def both(data):
    """All rows in the order of the file, where row i has the label i."""
    labels = torch.cat([data.train.labels, data.validation.labels])
    return torch.cat([data.train.features, data.validation.features])[labels.argsort()].numpy()


@pytest.mark.parametrize(
    ("shape", "wanted", "moved"),
    [
        ((5, 7), (1, 5, 7), lambda x: x[:, None]),
        ((5, 7, 3), (3, 5, 7), lambda x: x.transpose(0, 3, 1, 2)),
        ((5, 7, 1), (1, 5, 7), lambda x: x.transpose(0, 3, 1, 2)),
        ((3, 5, 7), (3, 5, 7), lambda x: x),
        ((4, 6, 6), (4, 6, 6), lambda x: x),
        ((12,), (12,), lambda x: x),
    ],
    ids=["grey", "channels last", "one channel last", "channels first", "four channels first", "flat"],
)
def test_images_become_channels_first_without_mixing_pixels(npz, shape, wanted, moved):
    """A reshape where a transpose is due keeps the shape and scrambles every image."""
    x = pixels(8, *shape)
    data = read(npz(x_train=x, y_train=np.arange(8)))
    assert data.shape.shape == wanted
    assert np.array_equal(both(data), moved(x))


def test_channels_last_and_channels_first_are_the_same_data_and_the_same_cache_key(npz):
    x = pixels(8, 5, 7, 3)
    last, first = (read(npz(f"{i}.npz", x_train=y, y_train=np.arange(8))) for i, y in enumerate([x, x.transpose(0, 3, 1, 2)]))
    assert last.train.digest() == first.train.digest()


def test_shapes_that_are_no_images_are_refused(npz):
    with pytest.raises(InvalidSpec, match="are not images"):
        read(npz(x_train=pixels(4, 5, 6, 7), y_train=np.arange(4)))


def test_uint8_stays_bytes_in_memory_and_is_divided_by_255(npz):
    """Four times less memory; and the network sees 0 … 1."""
    data = read(npz(x_train=pixels(8, 4, 4), y_train=np.arange(8)))
    assert data.train.features.dtype == torch.uint8
    assert data.scaling == Scaling(subtract=0.0, divide=255.0)


def test_scaling_is_subtract_then_divide_in_float32():
    found = scaled(torch.tensor([[0, 51, 255]], dtype=torch.uint8), Scaling(divide=255.0))
    assert found.dtype == torch.float32
    assert found[0].tolist() == pytest.approx([0.0, 0.2, 1.0])
    assert scaled(torch.tensor([[1.0, 2.0]]), Scaling(subtract=[3.0, 0.0], divide=[2.0, 4.0])).tolist() == [[-1.0, 0.5]]


@pytest.mark.parametrize("kind", [np.int64, np.int16, np.uint16])
def test_pixels_in_wider_integers_are_pixels(npz, kind):
    """Every .csv and many an .npz holds 0 … 255 as int64: divided by 1 such inputs make training explode."""
    x = pixels(8, 4, 4)
    wide, narrow = (read(npz(f"{i}.npz", x_train=y, y_train=np.arange(8))) for i, y in enumerate([x.astype(kind), x]))
    assert wide.scaling == narrow.scaling
    assert wide.train.digest() == narrow.train.digest()


@pytest.mark.parametrize("x", [np.linspace(0, 1, 128), np.arange(128) * 3, np.arange(128) - 5], ids=["fractions", "beyond 255", "negative"])
def test_other_numbers_are_taken_as_they_are(npz, x):
    data = read(npz(x_train=x.reshape(8, 4, 4), y_train=np.arange(8)))
    assert data.train.features.dtype == torch.float32
    assert data.scaling == Scaling()
    assert np.array_equal(both(data), x.reshape(8, 1, 4, 4).astype(np.float32))


@pytest.mark.parametrize("brightest", [0, 255, 300])
def test_test_images_are_scaled_like_the_training_images(engine, npz, brightest):
    """By the training rows' divisor, whatever range the test rows happen to have: the saved student knows only one."""
    train = npz("a.npz", x_train=pixels(40, 4, 4), y_train=np.arange(40) % 2)
    test = npz("b.npz", x_train=np.full((4, 4, 4), brightest), y_train=[0, 1, 0, 1])
    data = {"train": {"path": train}, "test": {"path": test, "split": "train"}, "max_train_samples": None, "validation": None}
    spec = small(data=data)
    found = load(spec, Inputs.local(spec, engine.cache))
    assert found.scaling.divide == 255.0
    assert scaled(found.test.features, found.scaling).max().item() == pytest.approx(brightest / 255)
    assert engine.run(spec).outcome.type == "finished"


def test_one_number_for_each_pixel_in_a_csv_is_a_flat_image(text):
    rows = pixels(8, 6)
    lines = ["label,a,b,c,d,e,f", *(",".join(map(str, [i, *row])) for i, row in enumerate(rows))]
    data = read(text("pixels.csv", "\n".join(lines) + "\n"))
    assert data.shape.shape == (6,)
    assert data.scaling.divide == 255.0
    assert np.array_equal(both(data), rows)


def test_images_in_jsonl_are_lists_of_lists(text):
    rows = pixels(4, 2, 3)
    lines = [f'{{"x": {row.tolist()}, "y": {i}}}' for i, row in enumerate(rows)]
    data = read(text("images.jsonl", "\n".join(lines) + "\n"))
    assert data.shape.shape == (1, 2, 3)
    assert np.array_equal(both(data)[:, 0], rows)


def test_builtin_digits_are_divided_by_their_largest_value_and_not_by_255():
    spec = small()
    data = load(spec, Inputs.local(spec, "/nonexistent"))
    assert data.scaling.divide == 16.0
    assert data.train.features.max() == 16
