"""The one loop. `run` takes a spec from data to a student and a report, says what it does through `emit`, asks `should_stop`
at every step boundary, and goes on from a checkpoint as if nothing had happened.
"""

import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from contract.errors import ErrorCode, JobError
from contract.events import CheckpointSaved, LogLine, Outcome, PhaseChanged, Resumed, RunEvent, Step, Stopped
from contract.fit import check_fit
from contract.model import ModelConfig
from contract.spec import JobKind, JobSpec, ModelRef
from contract.status import Phase
from distill import checkpoint, evaluate, finish, optim
from distill.checkpoint import Progress, State
from distill.data import Data, Split, load
from distill.data.augment import augmented
from distill.device import autocast, derived_seed, fingerprint, pick_device
from distill.errors import CheckpointInvalidError, diverged
from distill.inputs import Inputs
from distill.networks import build, digest, load_config, scaled
from distill.networks import load as load_network
from distill.objectives import Batch, Objective
from distill.teacher import Live, Outputs, Teacher

Emit = Callable[[RunEvent], None]
POINTS = 1000  # points of each training curve; more steps than this are averaged between them
EXPLODED = 1000  # a loss this many times its first value has never been seen to come back


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
    teacher = Teacher(inputs.models["teacher"], inputs.cache, device) if spec.kind is JobKind.DISTILL else None
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
        self.state = State(network, optim.build(network.parameters(), self.training.optimizer), Progress())
        self.initial = {name: value.clone() for name, value in network.state_dict().items()}
        job = sha256((spec.resolved().model_dump_json(exclude={"name", "metadata", "priority"}) + inputs_digest).encode()).hexdigest()
        self.identity = {"job": job, "fingerprint": fingerprint(device)}
        self.sums: dict[str, Tensor] = {}

    def restore(self, candidates: Sequence[Path]) -> None:
        """Goes to the newest checkpoint that is whole; one that is not is named and left aside."""
        for folder in candidates:
            try:
                inexact = checkpoint.restore(folder, self.state, self.identity)
            except CheckpointInvalidError as error:
                self.emit(LogLine(level="warning", message=f"checkpoint not used: {error}"))
                continue
            self.sums = {name: torch.tensor(value, device=self.device) for name, value in self.state.progress.sums.items()}
            self.emit(Resumed(step=self.state.progress.step, inexact=inexact))
            return
        self.state.network.load_state_dict(self.initial)
        self.state.optimizer = optim.build(self.state.network.parameters(), self.training.optimizer)
        self.state.progress = Progress()
        torch.manual_seed(derived_seed("training", self.training.seed))  # dropout draws the same with and without a teacher

    def train(self, should_stop: Callable[[], bool]) -> bool:
        """Steps until the end (True) or until asked to stop (False), with a checkpoint either way."""
        progress, every = self.state.progress, self.training.checkpoint_every_seconds
        point = max(1, self.total_steps // POINTS)
        saved_at = spoken_at = time.monotonic()
        spoken_step, saved_step = progress.step, progress.step
        order_of, order = -1, torch.empty(0)
        while progress.step < self.total_steps and not progress.stopped_early:
            epoch, position = divmod(progress.step, self.steps_per_epoch)
            if epoch != order_of:
                order_of, order = epoch, self._order(epoch)
            speaks = progress.step == 0 or (progress.step + 1) % point == 0 or progress.step + 1 == self.total_steps
            norm = self._step(order[position * self.training.batch_size : (position + 1) * self.training.batch_size], speaks)
            progress.step += 1
            if speaks:
                now = time.monotonic()
                rate = (progress.step - spoken_step) / max(now - spoken_at, 1e-9)
                self._speak(epoch, norm, rate)
                spoken_at, spoken_step = now, progress.step
            if position + 1 == self.steps_per_epoch and self.validation is not None:
                self._validate(epoch)
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

    def _step(self, index: Tensor, speaks: bool) -> Tensor | None:
        """One optimisation step on the rows `index`. Returns the gradient's norm where it was needed."""
        training, optimizer, network = self.training, self.state.optimizer, self.state.network
        rate = optim.learning_rate(training.optimizer, training.schedule, self.state.progress.step, self.total_steps)
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
        self._add("train/loss", total.detach())
        if len(parts) > 1:
            for name, part in zip(self.objective.names, parts, strict=True):
                self._add(f"train/loss/{name}", part)
        self.state.progress.summed_steps += 1
        return norm

    def _add(self, name: str, value: Tensor) -> None:
        self.sums[name] = self.sums[name] + value if name in self.sums else value

    def _speak(self, epoch: int, norm: Tensor | None, rate: float) -> None:
        progress = self.state.progress
        metrics = {name: value.item() / progress.summed_steps for name, value in self.sums.items()}
        if norm is not None:
            metrics["gradient_norm"] = norm.item()
        self._refuse_infinite(metrics, "loss or its gradient")
        if progress.first_loss is None:
            progress.first_loss = metrics["train/loss"]
        elif metrics["train/loss"] > EXPLODED * max(progress.first_loss, 1.0):
            raise diverged(progress.step, "loss", f"grew to {metrics['train/loss']:.3g} from {progress.first_loss:.3g}")
        metrics["learning_rate"] = self.state.optimizer.param_groups[0]["lr"]
        self.sums, progress.summed_steps = {}, 0
        if progress.step == 1:  # the first step warms everything up; its speed would promise hours
            self.emit(self._event(epoch, metrics))
            return
        metrics["steps_per_second"] = rate
        eta = (self.total_steps - progress.step) / rate
        self.emit(self._event(epoch, metrics, steps_per_second=rate, eta_seconds=eta))

    def _validate(self, epoch: int) -> None:
        """Measures on the held-out rows, remembers the best weights, decides on early stopping."""
        assert self.validation is not None
        progress, stopping = self.state.progress, self.training.early_stopping
        found = evaluate.quick(self.state.network, self.config, self.validation)
        self._refuse_infinite(found, "validation loss")
        progress.validation = {f"validation/{name}": value for name, value in found.items()}
        self.emit(self._event(epoch, progress.validation))
        value, delta = found[self.watched], stopping.min_delta if stopping else 0.0
        gain = value - (progress.best or 0.0) if self.watched == "accuracy" else (progress.best or 0.0) - value
        if progress.best is None or gain > delta:
            progress.best, progress.best_step, progress.epochs_without_gain = value, progress.step, 0
            progress.best_validation = progress.validation
            if stopping is not None:
                self.state.best_weights = {name: tensor.detach().clone() for name, tensor in self.state.network.state_dict().items()}
            return
        progress.epochs_without_gain += 1
        if stopping is not None and progress.epochs_without_gain >= stopping.patience:
            progress.stopped_early = True
            best = f"best {self.watched} {progress.best:.4f} at step {progress.best_step:,}"
            self.emit(LogLine(message=f"stopped early after {progress.epochs_without_gain} epochs without gain; {best}"))

    def _save(self) -> None:
        """A checkpoint of this step, unless the weights are no good any more."""
        progress = self.state.progress
        progress.sums = {name: value.item() for name, value in self.sums.items()}
        self._refuse_infinite(progress.sums, "loss")
        if not all(torch.isfinite(value).all() for value in self.state.network.state_dict().values()):
            raise diverged(progress.step, "weights")
        progress.saved[str(progress.step)] = progress.validation.get(f"validation/{self.watched}")
        dropped = checkpoint.retain(progress.saved, self.training.keep, self.watched != "loss")
        folder = self.workdir / "checkpoints" / str(progress.step)
        try:
            checkpoint.save(folder, self.state, self.identity)
        except (OSError, SafetensorError) as error:  # safetensors hides the OSError of a full disk in its own
            raise JobError(
                f"The checkpoint of step {progress.step} could not be written: {getattr(error, 'strerror', None) or error}.",
                code=ErrorCode.DISK_FULL,
                hint="Free some space, then `potstill retry`.",
            ) from error
        self.emit(CheckpointSaved(step=progress.step, folder=str(folder), metrics=progress.validation, dropped=dropped))

    def _refuse_infinite(self, values: dict[str, float], what: str) -> None:
        if not all(map(_finite, values.values())):
            raise diverged(self.state.progress.step, what)

    def _event(self, epoch: int, metrics: dict[str, float], **more: Any) -> Step:
        return Step(step=self.state.progress.step, total_steps=self.total_steps, epoch=epoch + 1, metrics=metrics, **more)


def _finite(value: float) -> bool:
    return value - value == 0  # neither NaN nor infinite
