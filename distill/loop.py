"""The one loop: the state of training, and the steps that change it."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import astuple, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import torch
from torch import Tensor, nn

from contract.errors import ErrorCode
from contract.events import CheckpointSaved, LogLine, Resumed, RunEvent
from contract.model import ModelConfig
from contract.registry import TASKS
from contract.spec import JobSpec
from distill import checkpoint, compiling, evaluate, optim
from distill.curves import Curves, refuse_infinite
from distill.data import Rows
from distill.data.augment import augmented
from distill.data.batch import Batch, Given, TokenBatch
from distill.data.mixup import Mix, refuse_several
from distill.data.on_policy import beside, refuse_unable, written, written_together
from distill.data.tokens import bucketed
from distill.device import autocast, capacity, derived_seed, fingerprint, in_bf16, paying_threads, threads
from distill.diagnosis import gradient_shares, looked_at
from distill.errors import CheckpointInvalidError, diverged, memory_needed, out_of_memory, refuse_too_large
from distill.networks import compute_again, dropping, said_of, worth_of
from distill.objectives import Counts, Objective, Said
from distill.ranks import ALONE, Ranks
from distill.sharding import here
from distill.sights import looks
from distill.soft import Soft
from distill.spent import Spent
from distill.state import Identity, Progress, State, put_weights, retain, weights
from distill.tasks import drawn
from distill.teacher import Live

Emit = Callable[[RunEvent], None]


class Loop:
    """The state of training and the steps that change it."""

    def __init__(
        self,
        spec: JobSpec,
        workdir: Path,
        emit: Emit,
        network: nn.Module,
        objective: Objective,
        config: ModelConfig,
        rows: Rows,
        validation: Rows | None,
        soft: Soft | None,
        device: torch.device,
        inputs_digest: str,
        ranks: Ranks = ALONE,
    ) -> None:
        self.spec, self.training, self.workdir, self.emit, self.ranks = spec, spec.training, workdir, emit, ranks
        self.config, self.rows, self.validation, self.soft, self.device = config, rows, validation, soft, device
        self.objective, self.looks = objective, looks(spec)
        stopping = self.training.early_stopping
        self.watched = "accuracy" if TASKS[spec.task].labelled and (stopping is None or stopping.metric != "loss") else "loss"
        self.micro, self.shrunk = self.training.micro_batch_size or self.training.batch_size, False
        self.steps_per_epoch = -(-len(rows) // self.training.batch_size)
        self.total_steps = self.steps_per_epoch * self.training.epochs
        self.together = ranks.together(network, objective, spec.resources.sharded)
        self.learned = [each for each in (*network.parameters(), *objective.parameters()) if each.requires_grad]
        optimizer = optim.build(self.learned, self.training.optimizer)
        refuse_too_large(optimizer, capacity(device))
        self.state = State(network, objective, optimizer, Progress(), self.total_steps, keeps_best=self.training.early_stopping is not None)
        job = sha256((asked(spec) + inputs_digest).encode()).hexdigest()
        if self.training.gradient_checkpointing:
            compute_again(network)
        self.bf16 = in_bf16(device, self.training.precision, *worth_of(network))
        self.threads = paying_threads(device, self.micro * config.work().multiply_adds) if rows.lengths is None else torch.get_num_threads()
        with threads(self.threads):
            self.identity = Identity(job, fingerprint(device, self.bf16) | {"world_size": ranks.world})
        if self.together.sharded:
            self.identity.fingerprint["sharded"] = True
        if compiling.compiles(device, self.training.compile, network, self.total_steps):
            compiling.compiled(network, device, workdir / "compiled")
            self.identity.fingerprint["compiled"] = uuid4().hex[:8]  # other shapes first, other kernels: no two are known to be alike
        elif device.type == "cpu" and dropping.quickened(network):
            self.identity.fingerprint["dropout"] = "four elements of a draw"
        self.curves = Curves(self.state, emit, self.steps_per_epoch)
        self.changes, self.own_texts = spec.shown.augment, spec.shown.on_policy
        own = any(term.OF_DRAWN for term in objective.terms)
        self.mixed = spec.shown.teacher_mixed
        self.co_author = soft.teacher.network if isinstance(soft, Live) and (own or self.mixed) else None
        self.reads_beside = own and not all(term.NEEDS_TEACHER for term in objective.terms)
        if self.own_texts:
            refuse_unable(network, self.co_author)
        if self.changes is not None and self.changes.mixup is not None:
            refuse_several(config)
        self.felt_at = looked_at(self.total_steps, self.curves.every_steps)
        self.shares: dict[str, float] = {}  # of the gradient, at a step where they are measured

    def restore(self, candidates: Sequence[Path]) -> None:
        """Goes to the newest checkpoint that is whole; one that is not is named and left aside."""
        own = (self.ranks.rank,) if self.ranks.rank else ()
        torch.manual_seed(derived_seed("training", self.training.seed, *own))  # dropout draws the same with and without a teacher
        found = self._restored(candidates) if self.ranks.rank == 0 else None
        if self.ranks.world > 1:
            checkpoint.follow(self.state, self.ranks, found)

    def _restored(self, candidates: Sequence[Path]) -> checkpoint.Restored | None:
        for folder in candidates:
            try:
                found = checkpoint.restore(folder, self.state, self.identity)
            except CheckpointInvalidError as error:
                self._warn(f"checkpoint not used: {error}", int(folder.name) if folder.name.isdecimal() else None)
                continue
            self.emit(Resumed(step=self.state.progress.step, inexact=found.inexact))
            return found
        if candidates:
            self._warn("no checkpoint could be used: training starts again at step 0", 0)
        return None

    def train(self, should_stop: Callable[[], bool]) -> bool:
        """Steps until the end (True) or until asked to stop (False), with a checkpoint either way."""
        with threads(self.threads):
            return self._trained(should_stop)

    def _trained(self, should_stop: Callable[[], bool]) -> bool:
        progress, every = self.state.progress, self.training.checkpoint_every_seconds
        self.curves.start(self.device)
        self.spent = Spent(self.device, progress.step)
        saved_at, saved_step = time.monotonic(), progress.step
        order_of, order = -1, torch.empty(0)
        while progress.step < self.total_steps and not progress.stopped_early:
            epoch, position = divmod(progress.step, self.steps_per_epoch)
            if epoch != order_of:
                order_of, order = epoch, self._order(epoch)
            self._step(order[position * self.training.batch_size : (position + 1) * self.training.batch_size])
            if position + 1 == self.steps_per_epoch and self.validation is not None:
                self._validate()
            stop, due = self.ranks.added([should_stop(), time.monotonic() - saved_at >= every])
            if stop:
                self._save()
                return False
            if due:
                self._save()
                saved_at, saved_step = time.monotonic(), progress.step
        if saved_step != progress.step:
            self._save()
        return True

    def chosen(self) -> nn.Module:
        """The network to hand out: the last weights, or with early stopping the best ones."""
        if self.training.early_stopping is not None and self.state.best_weights is not None:
            put_weights(self.state.network, self.state.best_weights)
        compiling.as_written(self.state.network)
        dropping.as_written(self.state.network)
        return self.state.network

    def last_validation(self) -> dict[str, float]:
        """The validation metrics of the network handed out; empty without validation rows."""
        progress = self.state.progress
        found = progress.validation if self.training.early_stopping is None else progress.best_validation
        return {name.removeprefix("validation/"): value for name, value in found.items()}

    def _order(self, epoch: int) -> Tensor:
        """The epoch's row order: a function of seed and epoch alone, so a resume needs no sampler state."""
        generator = torch.Generator().manual_seed(derived_seed("order", self.training.seed, epoch))
        if self.rows.tasks is not None and self.spec.data.sampling < 1:
            order = drawn(self.rows.tasks.cpu(), self.spec.data.sampling, generator)
        else:
            order = torch.randperm(len(self.rows), generator=generator)
        if self.rows.lengths is not None:
            order = bucketed(order, self.rows.lengths.cpu(), self.training.batch_size, generator)
        return order.to(self.device)

    def _step(self, index: Tensor) -> None:
        """One optimisation step on the rows `index`."""
        training, optimizer, network, progress = self.training, self.state.optimizer, self.state.network, self.state.progress
        speaks = self.curves.speaks(progress.step + 1)
        rate = optim.learning_rate(training.optimizer, training.schedule, progress.step, self.total_steps)
        optim.set_learning_rate(optimizer, rate)
        if not network.training:
            network.train()
        optimizer.zero_grad(set_to_none=True)
        loss, *parts = self.ranks.summed(self._gradients_in_memory(index))
        norm = optim.clip(self.learned, training.clip_norm) if training.clip_norm is not None or speaks else None
        optimizer.step()
        named = zip(self.objective.names, parts, strict=True) if len(parts) > 1 else ()
        self.curves.add({"train/loss": loss, **{f"train/loss/{name}": part for name, part in named}})
        progress.step += 1
        if speaks:
            self.curves.speak(norm, rate, self.shares)
            self.shares = {}

    def _gradients_in_memory(self, index: Tensor) -> list[Tensor]:
        """Where they do not fit, once more with a quarter of the rows at a time, and so from then on; several ranks cannot, because the
        others wait for this one's part of the first try."""
        try:
            return self._gradients(index)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if self.shrunk or self.micro == 1 or self.ranks.world > 1:
                error.add_note(memory_needed(self.state.optimizer, self.micro))
                raise
        self.shrunk, self.micro = True, max(1, self.micro // 4)
        self.emit(
            LogLine(
                level="warning",
                message=f"memory ran out: going on with {self.micro} rows at a time; the batch of a step stays what it is",
                data={"code": ErrorCode.OUT_OF_MEMORY, "micro_batch_size": self.micro},
            )
        )
        self.state.optimizer.zero_grad(set_to_none=True)
        return self._gradients_in_memory(index)

    def _gradients(self, index: Tensor) -> list[Tensor]:
        """Of the loss over the rows `index`, part by part where `micro_batch_size` says so; every part counts for its share of the rows
        or tokens of all, other ranks' included. The loss, and each term before its weight."""
        own = self.own_texts > 0 and torch.rand(()).item() < self.own_texts
        parts = self.ranks.parts(index, self.micro)
        shown = [self._shown(part if len(part) else index[:1], own) for part in parts]  # any row, which counts for nothing
        counts = Counts.of([batch for part, (_, batch, _) in zip(parts, shown, strict=True) if len(part)])
        if self.ranks.world > 1:
            counts = Counts(*self.ranks.added(astuple(counts)))
        share = self.state.progress.step / max(1, self.total_steps - 1)
        sums: list[Tensor] = []
        for number, (part, one) in enumerate(zip(parts, shown, strict=True), 1):
            work = partial(self._loss, *one, counts, share, 1.0 if len(part) else 0.0)
            look = partial(self._feel, share) if not sums else _nothing
            found = self.together.part(work, last=number == len(parts), between=look)
            sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else found
        return sums

    def _loss(
        self, part: Tensor, batch: Batch, mix: Mix | None, counts: Counts, share: float, weight: float
    ) -> tuple[Tensor, list[Tensor]]:
        """A part's share of the step's loss and of each term, with their graphs."""
        with autocast(self.device, self.bf16), mix.embedded(self.state.network) if mix else nullcontext():
            said = said_of(self.state.network, self.config, batch.given, self.looks)
        with autocast(self.device, self.bf16):
            of_teacher = self._heard(part, batch.given, mix)
            total, parts = self.objective(said, batch.labels, of_teacher, counts, share, batch.drawn)
            if mix is not None:
                other = self.objective(said, batch.labels[mix.other], of_teacher, counts, share)
                total, *parts = (mix.share * a + (1 - mix.share) * b for a, b in zip((total, *parts), (other[0], *other[1]), strict=True))
        return (total, parts) if weight else (total * 0, [part * 0 for part in parts])

    def _shown(self, part: Tensor, own: bool) -> tuple[Tensor, Batch, Mix | None]:
        """The rows `part` as they are shown this time. own: whether the student goes on with them by itself."""
        batch = self.rows.batch(part)
        if own:
            batch = self._written(batch)
        changes, given = self.changes, batch.given
        if changes is None:
            return part, batch, None
        if isinstance(given, Tensor) and (changes.crop or changes.flip):
            given = augmented(given, changes)
        mix = None
        if changes.mixup is not None:
            mix = Mix.drawn(changes.mixup, len(given.ids if isinstance(given, TokenBatch) else given), self.device)
            given = mix.shown(given)
        return part, replace(batch, given=given), mix

    def _written(self, batch: Batch) -> Batch:
        """What the student makes of the rows; beside it the rows, where terms of what was drawn leave labels to others."""
        if self.co_author is None:
            return written(self.state.network, batch)
        own = written_together(self.state.network, batch, self.co_author, self.mixed)
        return beside(own, batch) if self.reads_beside else own

    def _heard(self, part: Tensor, given: Given, mix: Mix | None) -> Said | None:
        if self.soft is None:
            return None
        if mix is None or not isinstance(self.soft, Live):
            return self.soft.of(part, given)
        with mix.embedded(self.soft.teacher.network):
            return self.soft.of(part, given)

    def _feel(self, share: float, parts: list[Tensor]) -> None:
        """At a few steps: how much of the gradient is each term's; of the first part, where a step comes in several."""
        progress = self.state.progress
        if len(parts) < 2 or progress.step + 1 not in self.felt_at or self.together.sharded:
            return
        weights = [term.at(share).weight for term in self.objective.terms]
        self.shares = gradient_shares(self.objective, parts, weights, [p for p in self.state.network.parameters() if p.requires_grad])
        progress.felt = {name: max(found, progress.felt.get(name, 0.0)) for name, found in self.shares.items()}

    def _validate(self) -> None:
        """Measures on the held-out rows, remembers the best weights, decides on early stopping."""
        assert self.validation is not None
        progress, stopping = self.state.progress, self.training.early_stopping
        found = self.ranks.told(evaluate.quick(self.state.network, self.config, self.validation))
        refuse_infinite(progress.step, found, "validation loss")
        progress.validation = {f"validation/{name}": value for name, value in found.items()}
        value, delta = found[self.watched], stopping.min_delta if stopping else 0.0
        gain = value - (progress.best or 0.0) if self.watched == "accuracy" else (progress.best or 0.0) - value
        if progress.best is None or gain > delta:
            progress.best, progress.best_step, progress.epochs_without_gain = value, progress.step, 0
            progress.best_validation = progress.validation
            if stopping is not None:
                self.state.best_weights = {name: tensor.detach().clone() for name, tensor in weights(self.state.network).items()}
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
        if any(self.ranks.added([not all(here(value).isfinite().all() for value in self.state.network.state_dict().values())])):
            raise diverged(progress.step, "weights")
        progress.saved[str(progress.step)] = progress.validation.get(f"validation/{self.watched}")
        dropped = retain(progress.saved, self.training.keep, self.watched != "loss")
        folder = self.workdir / "checkpoints" / str(progress.step)
        checkpoint.save(folder, self.state, self.identity, self.ranks)
        self.emit(CheckpointSaved(step=progress.step, folder=str(folder), metrics=progress.validation, dropped=dropped))

    def _warn(self, message: str, step: int | None) -> None:
        self.emit(LogLine(level="warning", message=message, data={"code": ErrorCode.CHECKPOINT_INVALID, "step": step}))


def asked(spec: JobSpec) -> str:
    """All of a spec that a run's bits may depend on. Without what is None: a version that knows more fields goes on from the checkpoints of
    one that did not."""
    return spec.resolved().model_dump_json(exclude_none=True, exclude={"name", "metadata", "priority", "report_to", "resources"})


def _nothing(_parts: list[Tensor]) -> None:
    """Only a step's first part is looked at."""
