"""What a teacher is during training: fixed, in evaluation mode, outside every gradient, and read row by row."""

import pytest
import torch
from engine_runs import STEPS, Counted, Seen, digest, small
from torch import nn

from distill import teacher as teacher_module
from distill import train
from distill.networks import load, scaled
from distill.objectives import Objective

DROPOUT = {"arch": "mlp", "hidden": [8], "dropout": 0.5}


class Watch:
    """Looks over the loop's shoulder: the network's mode and input, and the batch the objective saw, at each training step."""

    def __init__(self, monkeypatch):
        self.modes, self.inputs, self.batches, self.teachers = [], [], [], []
        real_student, watch = train.student, self

        def student(*given):
            network, config = real_student(*given)
            network.register_forward_pre_hook(watch.forward)
            return network, config

        class Watched(Objective):
            def forward(self, student, y, teacher, *more):
                watch.batches.append(Seen(student.logits, y, teacher.logits))
                return super().forward(student, y, teacher, *more)

        class Kept(teacher_module.Teacher):
            def __init__(self, *given):
                super().__init__(*given)
                watch.teachers.append(self)

        monkeypatch.setattr(train, "student", student)
        monkeypatch.setattr(train, "Objective", Watched)
        monkeypatch.setattr(train, "Teacher", Kept)

    def forward(self, network, given):
        if torch.is_grad_enabled():  # not the passes that only measure
            self.modes.append([module.training for module in network.modules() if isinstance(module, nn.Dropout)])
            self.inputs.append(given[0])


@pytest.fixture
def watch(monkeypatch):
    return Watch(monkeypatch)


def test_every_row_is_taught_by_its_own_teacher_output(engine, teacher, watch):
    """A cache read by position under shuffling pairs rows with strangers (easydistill#21): in every batch of every epoch,
    what the objective gets must be what the teacher says of these very inputs."""
    engine.run(small(teacher, student=DROPOUT))
    network, _ = load(teacher)
    assert len(watch.batches) == len(watch.inputs) == STEPS
    with torch.no_grad():
        for inputs, batch in zip(watch.inputs, watch.batches, strict=True):
            torch.testing.assert_close(batch.z_t, network(inputs), rtol=1e-5, atol=1e-5)
    orders = [torch.cat([batch.y for batch in watch.batches[epoch * 6 : epoch * 6 + 6]]) for epoch in range(3)]
    assert not orders[0].equal(orders[1])  # or there was no shuffling to survive


def test_the_students_dropout_works_while_the_teachers_does_not(engine, teacher, watch):
    """`.eval()` for the teacher, or for measuring, must not silence the student's dropout for the steps that follow."""
    engine.run(small(teacher, student=DROPOUT))
    assert watch.modes == [[True]] * STEPS
    (kept,) = watch.teachers
    assert not kept.network.training
    assert not any(module.training for module in kept.network.modules())


def test_a_student_that_starts_as_the_teacher_still_drops(engine, teacher, watch):
    """Born-again students start from the teacher's folder: were it one network, evaluation mode would reach the student too."""
    ran = engine.run(small(teacher, student={"path": str(teacher)}))
    assert watch.modes == [[True]] * STEPS
    assert ran.weights != digest(teacher / "model.safetensors")  # it learned
    (kept,) = watch.teachers
    assert_unchanged(kept, teacher)  # and the teacher did not learn with it


def test_no_gradient_reaches_the_teacher(engine, teacher, watch):
    """A teacher trained along with its student moves towards it, and the loss falls for the wrong reason."""
    before = (teacher / "model.safetensors").read_bytes()
    engine.run(small(teacher))
    (kept,) = watch.teachers
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in kept.network.parameters())
    assert not any(batch.z_t.requires_grad for batch in watch.batches)
    assert_unchanged(kept, teacher)
    assert (teacher / "model.safetensors").read_bytes() == before


def test_teacher_outputs_are_those_of_evaluation_mode(engine, teacher, monkeypatch, watch):
    """The fixture's teacher drops half of its units in training mode: outputs drawn so would differ on every call."""
    monkeypatch.setattr(teacher_module, "infer", counted := Counted())
    engine.run(small(teacher))
    assert counted.rows == [90, 360]
    (kept,) = watch.teachers
    assert [type(m) for m in kept.network].count(nn.Dropout) == 1
    kept.network.train()
    x = watch.inputs[0]
    assert not kept.network(x).equal(kept.network(x))
    kept.network.eval()
    torch.testing.assert_close(watch.batches[0].z_t, kept.network(x), rtol=1e-5, atol=1e-5)


def test_the_loop_scales_its_inputs_as_the_saved_student_says(engine, teacher, watch):
    """A student trained on x/16 and handed out with another divisor is wrong in every prediction."""
    ran = engine.run(small(teacher))
    _, config = load(ran.student)
    seen = torch.cat(watch.inputs)
    assert config.input.divide == 16.0
    assert seen.max() == scaled(torch.tensor([16]), config.input).item() == 1.0
    assert seen.min() == 0.0


def assert_unchanged(kept, folder):
    fresh, _ = load(folder)
    for name, value in fresh.state_dict().items():
        assert kept.network.state_dict()[name].equal(value), name
