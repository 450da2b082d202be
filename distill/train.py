"""The one loop. `run` takes a spec from data to a student and a report, says what it does through `emit`, asks `should_stop`
at every step boundary, and goes on from a checkpoint as if nothing had happened.
"""

import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from contract.errors import ErrorCode
from contract.events import CheckpointSaved, LogLine, Outcome, PhaseChanged, Resumed, RunEvent, Stopped
from contract.fit import check_fit
from contract.model import ModelConfig
from contract.spec import JobKind, JobSpec, ModelRef
from contract.status import Phase
from distill import checkpoint, evaluate, finish, optim
from distill.curves import Curves, refuse_infinite
from distill.data import Data, Split, load
from distill.data.augment import augmented
from distill.device import autocast, derived_seed, fingerprint, pick_device
from distill.errors import CheckpointInvalidError, diverged
from distill.inputs import Inputs
from distill.networks import build, digest, load_config, scaled
from distill.networks import load as load_network
from distill.objectives import Batch, Objective
from distill.state import Identity, Progress, State, retain
from distill.teacher import Live, Outputs, Teacher

Emit = Callable[[RunEvent], None]


def run(
    spec: JobSpec,
    workdir: Path,
    emit: Emit,
    should_stop: Callable[[], bool],
    *,
    inputs: Inputs,
    resume_from: Sequence[Path] = (),
) -> Outcome:
    """Runs one job of one run to its end or to the step where it is asked to stop.

    spec: any spec; its recipe need not be expanded. workdir: an empty folder of this attempt; checkpoints go to
    `checkpoints/<step>`, the result to `result/`. resume_from: checkpoints to try, newest first.
    Raises JobError for what would fail again. Returns Finished or Stopped.
    """
    emit(PhaseChanged(phase=Phase.PREPARING))
    device = pick_device()
    data = load(spec, inputs)
    teacher = _teacher(inputs, device, emit) if spec.kind is JobKind.DISTILL else None
    check_fit(spec, data.shape, data.test_shape, _made_for(inputs))
    rows = data.train.to(device)
    soft = _soft_targets(spec, teacher, rows, emit) if teacher is not None else None

    torch.manual_seed(derived_seed("weights", spec.training.seed))
    network, config = _student(spec, data, inputs)
    network.to(device)
    if spec.kind is JobKind.EVALUATE:
        return finish.evaluated(spec, workdir, emit, network, config, data)
    validation = data.validation.to(device) if data.validation else None
    loop = _Loop(spec, workdir, emit, network, config, rows, validation, soft, device, _inputs_digest(data, inputs))
    loop.restore(resume_from)
    emit(PhaseChanged(phase=Phase.TRAINING))
    if not loop.train(should_stop):
        return Stopped(step=loop.state.progress.step)
    return finish.trained(spec, workdir, emit, loop.chosen(), config, data, teacher, soft, loop.last_validation())


def _teacher(inputs: Inputs, device: torch.device, emit: Emit) -> Teacher:
    return Teacher(inputs.models["teacher"], inputs.cache, device, lambda message: emit(LogLine(level="warning", message=message)))


def _soft_targets(spec: JobSpec, teacher: Teacher, rows: Split, emit: Emit) -> Outputs | Live:
    """The teacher's outputs for all rows, once; or the teacher itself, where every epoch shows it other images."""
    if spec.data.augment is not None:
        return Live(teacher, len(rows))
    emit(PhaseChanged(phase=Phase.TEACHER_INFERENCE, message=f"{len(rows):,} rows"))
    outputs = teacher.outputs(rows)
    emit(LogLine(message=f"teacher outputs for {len(rows):,} rows, cache: {outputs.cache}", data=outputs.summary()))
    return outputs


def _made_for(inputs: Inputs) -> dict[str, Any]:
    return {field: load_config(folder).made_for for field, folder in inputs.models.items()}


def _inputs_digest(data: Data, inputs: Inputs) -> str:
    """Hash of all rows and models the run reads; paths may come to hold others."""
    return "/".join([data.digest(), *(digest(folder) for _, folder in sorted(inputs.models.items()))])


def _student(spec: JobSpec, data: Data, inputs: Inputs) -> tuple[nn.Sequential, ModelConfig]:
    if isinstance(spec.student, ModelRef):
        return load_network(inputs.models["student"])
    network = build(spec.student, data.shape.shape, len(data.shape.classes))
    return network, ModelConfig.of(spec.student, spec.task, data.shape, data.scaling)


class _Loop:
    """The state of training and the steps that change it."""

    def __init__(
        self,
        spec: JobSpec,
        workdir: Path,
        emit: Emit,
        network: nn.Sequential,
        config: ModelConfig,
        rows: Split,
        validation: Split | None,
        soft: Outputs | Live | None,
        device: torch.device,
        inputs_digest: str,
    ) -> None:
        self.spec, self.training, self.workdir, self.emit = spec, spec.training, workdir, emit
        self.config, self.rows, self.validation, self.soft, self.device = config, rows, validation, soft, device
        self.objective = Objective(spec.terms)
        self.watched = self.training.early_stopping.metric if self.training.early_stopping else "accuracy"
        self.steps_per_epoch = -(-len(rows) // self.training.batch_size)
        self.total_steps = self.steps_per_epoch * self.training.epochs
        optimizer = optim.build(network.parameters(), self.training.optimizer)
        self.state = State(network, optimizer, Progress(), self.total_steps, keeps_best=self.training.early_stopping is not None)
        job = sha256((spec.resolved().model_dump_json(exclude={"name", "metadata", "priority"}) + inputs_digest).encode()).hexdigest()
        self.identity = Identity(job, fingerprint(device))
        self.curves = Curves(self.state, emit, self.steps_per_epoch)

    def restore(self, candidates: Sequence[Path]) -> None:
        """Goes to the newest checkpoint that is whole; one that is not is named and left aside."""
        torch.manual_seed(derived_seed("training", self.training.seed))  # dropout draws the same with and without a teacher
        for folder in candidates:
            try:
                inexact = checkpoint.restore(folder, self.state, self.identity)
            except CheckpointInvalidError as error:
                self._warn(f"checkpoint not used: {error}", int(folder.name) if folder.name.isdecimal() else None)
                continue
            self.emit(Resumed(step=self.state.progress.step, inexact=inexact))
            return
        if candidates:
            self._warn("no checkpoint could be used: training starts again at step 0", 0)

    def train(self, should_stop: Callable[[], bool]) -> bool:
        """Steps until the end (True) or until asked to stop (False), with a checkpoint either way."""
        progress, every = self.state.progress, self.training.checkpoint_every_seconds
        self.curves.start(self.device)
        saved_at, saved_step = time.monotonic(), progress.step
        order_of, order = -1, torch.empty(0)
        while progress.step < self.total_steps and not progress.stopped_early:
            epoch, position = divmod(progress.step, self.steps_per_epoch)
            if epoch != order_of:
                order_of, order = epoch, self._order(epoch)
            self._step(order[position * self.training.batch_size : (position + 1) * self.training.batch_size])
            if position + 1 == self.steps_per_epoch and self.validation is not None:
                self._validate()
            if should_stop():
                self._save()
                return False
            if time.monotonic() - saved_at >= every:
                self._save()
                saved_at, saved_step = time.monotonic(), progress.step
        if saved_step != progress.step:
            self._save()
        return True

    def chosen(self) -> nn.Sequential:
        """The network to hand out: the last weights, or with early stopping the best ones."""
        if self.training.early_stopping is not None and self.state.best_weights is not None:
            self.state.network.load_state_dict(self.state.best_weights)
        assert isinstance(self.state.network, nn.Sequential)
        return self.state.network

    def last_validation(self) -> dict[str, float]:
        """The validation metrics of the network handed out; empty without validation rows."""
        progress = self.state.progress
        found = progress.validation if self.training.early_stopping is None else progress.best_validation
        return {name.removeprefix("validation/"): value for name, value in found.items()}

    def _order(self, epoch: int) -> Tensor:
        """The epoch's row order: a function of seed and epoch alone, so a resume needs no sampler state."""
        generator = torch.Generator().manual_seed(derived_seed("order", self.training.seed, epoch))
        return torch.randperm(len(self.rows), generator=generator).to(self.device)

    def _step(self, index: Tensor) -> None:
        """One optimisation step on the rows `index`."""
        training, optimizer, network, progress = self.training, self.state.optimizer, self.state.network, self.state.progress
        speaks = self.curves.speaks(progress.step + 1)
        rate = optim.learning_rate(training.optimizer, training.schedule, progress.step, self.total_steps)
        optim.set_learning_rate(optimizer, rate)
        network.train()
        features = self.rows.features[index]
        if self.spec.data.augment is not None:
            features = augmented(features, self.spec.data.augment)
        with autocast(self.device, training.precision):
            logits = network(scaled(features, self.config.input))
        z_t = self.soft.of(index, features) if self.soft is not None else None
        total, parts = self.objective(Batch(logits, self.rows.labels[index], z_t))
        optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        norm = None
        if training.clip_norm is not None or speaks:
            norm = nn.utils.clip_grad_norm_(network.parameters(), training.clip_norm or float("inf"))
        optimizer.step()
        named = zip(self.objective.names, parts, strict=True) if len(parts) > 1 else ()
        self.curves.add({"train/loss": total.detach(), **{f"train/loss/{name}": part for name, part in named}})
        progress.step += 1
        if speaks:
            self.curves.speak(norm, rate)

    def _validate(self) -> None:
        """Measures on the held-out rows, remembers the best weights, decides on early stopping."""
        assert self.validation is not None
        progress, stopping = self.state.progress, self.training.early_stopping
        found = evaluate.quick(self.state.network, self.config, self.validation)
        refuse_infinite(progress.step, found, "validation loss")
        progress.validation = {f"validation/{name}": value for name, value in found.items()}
        value, delta = found[self.watched], stopping.min_delta if stopping else 0.0
        gain = value - (progress.best or 0.0) if self.watched == "accuracy" else (progress.best or 0.0) - value
        if progress.best is None or gain > delta:
            progress.best, progress.best_step, progress.epochs_without_gain = value, progress.step, 0
            progress.best_validation = progress.validation
            if stopping is not None:
                self.state.best_weights = {name: tensor.detach().clone() for name, tensor in self.state.network.state_dict().items()}
        else:
            progress.epochs_without_gain += 1
            progress.stopped_early = stopping is not None and progress.epochs_without_gain >= stopping.patience
        self.curves.validated()
        if progress.stopped_early:
            best = f"best {self.watched} {progress.best:.4f} at step {progress.best_step:,}"
            self.emit(LogLine(message=f"stopped early after {progress.epochs_without_gain} epochs without gain; {best}"))

    def _save(self) -> None:
        """A checkpoint of this step, unless the weights are no good any more."""
        progress = self.state.progress
        self.curves.settle()
        if not all(torch.isfinite(value).all() for value in self.state.network.state_dict().values()):
            raise diverged(progress.step, "weights")
        progress.saved[str(progress.step)] = progress.validation.get(f"validation/{self.watched}")
        dropped = retain(progress.saved, self.training.keep, self.watched != "loss")
        folder = self.workdir / "checkpoints" / str(progress.step)
        checkpoint.save(folder, self.state, self.identity)
        self.emit(CheckpointSaved(step=progress.step, folder=str(folder), metrics=progress.validation, dropped=dropped))

    def _warn(self, message: str, step: int | None) -> None:
        self.emit(LogLine(level="warning", message=message, data={"code": ErrorCode.CHECKPOINT_INVALID, "step": step}))
