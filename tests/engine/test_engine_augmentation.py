"""Crops and flips: what they make of an image, and a teacher that sees what the student sees."""

import numpy as np
import pytest
import torch
from engine_runs import STEPS, Counted, Seen, small

from contract.errors import InvalidSpec
from contract.sources import Augment
from distill import loop, train
from distill import teacher as teacher_module
from distill.data.augment import augmented
from distill.networks import load
from distill.objectives import Objective

RESNET = {"arch": "resnet", "channels": [4], "blocks": 1}
CHANGED = {"augment": {"crop": 2, "flip": True}}


def possible(image, crop, flip):
    """Every image that shifting by up to `crop` pixels, and mirroring, can make of one [C, H, W]: written out, no indexing tricks."""
    found = {}
    _, height, width = image.shape
    for mirrored in (False, True) if flip else (False,):
        padded = np.pad(image[:, :, ::-1] if mirrored else image, [(0, 0), (crop, crop), (crop, crop)])
        for down in range(2 * crop + 1):
            for right in range(2 * crop + 1):
                found[padded[:, down : down + height, right : right + width].tobytes()] = (mirrored, down, right)
    return found


@pytest.mark.parametrize(("crop", "flip"), [(0, True), (1, False), (2, True)])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_each_image_is_shifted_and_mirrored_on_its_own_and_never_mixed_with_another(crop, flip, kind):
    torch.manual_seed(0)
    images = torch.randint(1, 255, (300, 3, 5, 4)).to(kind)
    seen = augmented(images, Augment(crop=crop, flip=flip))
    assert (seen.shape, seen.dtype) == (images.shape, kind)
    how = [possible(before.numpy(), crop, flip)[after.contiguous().numpy().tobytes()] for before, after in zip(images, seen, strict=True)]
    assert set(how) == set(possible(images[0].numpy(), crop, flip).values())  # every change there is, some time


def test_without_crop_and_flip_nothing_changes():
    images = torch.randint(0, 255, (5, 1, 4, 4), dtype=torch.uint8)
    assert augmented(images, Augment()).equal(images)


def test_a_live_teacher_sees_the_changed_images(engine, teacher, monkeypatch):
    """Cached outputs of the unchanged images would teach what the student is not looking at (easydistill#21 again)."""
    inputs, batches, real = [], [], train.student

    def student(*given):
        network, config = real(*given)
        network.register_forward_pre_hook(lambda _, x: inputs.append(x[0]) if torch.is_grad_enabled() else None)
        return network, config

    class Watched(Objective):
        def forward(self, student, y, teacher, *more):
            batches.append(Seen(student.logits, y, teacher.logits))
            return super().forward(student, y, teacher, *more)

    monkeypatch.setattr(train, "student", student)
    monkeypatch.setattr(train, "Objective", Watched)
    monkeypatch.setattr(teacher_module, "infer", counted := Counted())
    ran = engine.run(small(teacher, student=RESNET, data=CHANGED))
    network, _ = load(teacher)
    assert len(inputs) == len(batches) == STEPS
    with torch.no_grad():
        for x, batch in zip(inputs, batches, strict=True):
            torch.testing.assert_close(batch.z_t, network(x), rtol=1e-5, atol=1e-5)
    assert not any(batch.z_t.requires_grad for batch in batches)
    assert counted.rows == [360]  # the test rows are measured as they are, and once
    assert ran.report["teacher_outputs"] == {"mode": "live", "cache": None, "rows": 90, "bytes": 0}
    assert ran.phases == ["preparing", "training", "evaluating", "saving"]


def test_validation_and_test_images_are_never_changed(engine, monkeypatch):
    """They must be the same for every epoch, arm and seed."""
    calls = []
    monkeypatch.setattr(loop, "augmented", lambda images, spec: calls.append(len(images)) or augmented(images, spec))
    ran = engine.run(small(student=RESNET, data=CHANGED))
    assert sum(calls) == 3 * 90
    again = engine.run(small(kind="evaluate", student={"path": str(ran.student)}))
    assert again.report["arms"]["model"]["metrics"] == ran.report["arms"]["model"]["metrics"]


def test_both_arms_see_the_same_images(engine, teacher):
    """The teacher draws nothing: the student alone must be shown exactly what the distilled one was."""
    alone = engine.run(small(student=RESNET, data=CHANGED))
    unheard = engine.run(small(teacher, student=RESNET, data=CHANGED, recipe={"name": "hinton", "alpha": 0.0}))
    assert alone.weights == unheard.weights
    assert alone.weights != engine.run(small(student=RESNET)).weights


def test_rows_without_height_and_width_are_refused(engine, npz):
    """Flat pixels cannot be shifted: a refusal before training, not a crash in the first step."""
    path = npz(x_train=np.zeros((8, 16), dtype=np.uint8), y_train=np.arange(8) % 2)
    with pytest.raises(InvalidSpec, match="crops and flips need images") as caught:
        engine.run(small(data={"train": {"path": path}, "max_train_samples": None, **CHANGED}))
    assert caught.value.param == "data.augment"
