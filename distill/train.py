"""From a spec to its result. `run` takes a spec from data to a student and a report, says what it does through `emit`, asks `should_stop`
at every step boundary, and goes on from a checkpoint as if nothing had happened.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from contract.events import LogLine, Outcome, PhaseChanged, RunEvent, Stopped
from contract.fit import check_fit
from contract.model import ModelConfig
from contract.networks import members
from contract.spec import Ensemble, JobKind, JobSpec, ModelRef, RemoteTeacher, TaskTeachers
from contract.status import Phase
from distill import export, finish, hub
from distill.by_task import TaskTeacher
from distill.cache import ElsewhereError
from distill.data import Data, Rows, TextSplit, load
from distill.data.tokens import Tokens
from distill.device import derived_seed, pick_device
from distill.ensemble import JointTeacher
from distill.inputs import Inputs
from distill.loop import Loop
from distill.networks import digest, load_config, rows_for, student
from distill.objectives import Objective
from distill.ranks import ALONE, Ranks
from distill.remote import LeavingError, Remote
from distill.remote_heard import RemoteHeard
from distill.remote_heard import heard as of_remote
from distill.sharding import divided_teacher, whole
from distill.sights import comparisons, looks
from distill.soft import Heard, Soft, refuse_other_words, soft_targets
from distill.state import put_weights, weights
from distill.teacher import Live, Teacher
from distill.words import refuse_unknown_mask, with_words
from distill.written import by_teacher

Emit = Callable[[RunEvent], None]


def run(
    spec: JobSpec,
    workdir: Path,
    emit: Emit,
    should_stop: Callable[[], bool],
    *,
    inputs: Inputs,
    resume_from: Sequence[Path] = (),
    ranks: Ranks = ALONE,
) -> Outcome:
    """Runs one job of one run to its end or to the step where it is asked to stop.

    spec: any spec; its recipe need not be expanded. workdir: an empty folder of this attempt; checkpoints go to
    `checkpoints/<step>`, the result to `result/`. resume_from: checkpoints to try, newest first. ranks: of several processes that train
    together only the first speaks, writes and measures; the others have stopped when it has finished.
    Raises JobError for what would fail again. Returns Finished or Stopped.
    """
    emit = emit if ranks.rank == 0 else _silent
    emit(PhaseChanged(phase=Phase.PREPARING))
    if spec.kind is JobKind.EXPORT:
        export.need()
    device = torch.device("cpu") if spec.kind is JobKind.EXPORT else pick_device()  # all its files are measured where they will run
    inputs = hub.with_fetched(spec, inputs, lambda message: emit(LogLine(message=message)))
    configs = {field: load_config(folder) for field, folder in inputs.models.items()}
    found = load(spec, inputs, next((config.features for config in configs.values() if config.features), []))
    check_fit(spec, found.shape, found.test_shape, {field: config.made_for for field, config in configs.items()})
    data = with_words(spec, found, inputs, device, emit)
    teacher = _teacher(spec, found, inputs, device, emit, should_stop) if spec.kind is JobKind.DISTILL else None

    torch.manual_seed(derived_seed("weights", spec.training.seed))
    network, config = student(spec, found, inputs)  # a new tokenizer is made of the rows there were
    network.to(device)
    train = data.train
    soft: Soft | None = None
    heard: Heard | RemoteHeard | None = None
    if isinstance(teacher, Remote):
        try:
            train, heard = of_remote(spec, teacher, train, data, network, config)
        except LeavingError:
            return Stopped(step=max((int(folder.name) for folder in resume_from if folder.name.isdecimal()), default=0))
        soft, teacher = heard.soft, None
    refuse_unknown_mask(spec, network, teacher)
    if teacher is not None and spec.hears == "text":
        assert isinstance(train, TextSplit)
        train, heard = by_teacher(teacher, train, emit)
    elif teacher is not None:
        if config.made_for.answers == "tags":  # on which both are measured in the end, word by word
            refuse_other_words(teacher.rows(data.test), rows_for(network, config, data.test))
        heard = soft = soft_targets(spec, teacher, train, network, config, emit)
    if inputs.helping:
        return Stopped(step=0)
    if spec.kind is JobKind.EVALUATE:
        return finish.evaluated(spec, workdir, emit, network, config, data)
    if spec.kind is JobKind.EXPORT:
        return finish.exported(spec, workdir, emit, network, config, data)
    masked = spec.data.mask_probability
    rows = rows_for(network, config, train, masked).to(device)
    _tell_of_cut_texts(rows, config, emit)
    validation = rows_for(network, config, data.validation, masked, measured=True).to(device) if data.validation else None
    compared = comparisons(spec, network, config, rows, soft) if looks(spec) and isinstance(soft, Live) else {}
    if spec.resources.teacher_sharded and ranks.world > 1:
        assert isinstance(soft, Live)
        emit(LogLine(message=divided_teacher(soft.teacher.network)))
    objective = Objective(spec.terms, compared, 2 if config.multi_label else len(config.classes)).to(device)
    loop = Loop(spec, workdir, emit, network, objective, config, rows, validation, soft, device, _inputs_digest(found, inputs), ranks)
    if data is not found:  # words that a network expects are rounded as its sums are: of other rows a resume is not exact
        loop.identity.fingerprint["rows"] = data.digest()[:16]
    loop.restore(resume_from)
    emit(PhaseChanged(phase=Phase.TRAINING))
    if not loop.train(should_stop):
        return Stopped(step=loop.state.progress.step)
    chosen = loop.chosen()
    if spec.resources.sharded:
        whole_weights = {name: whole(tensor) for name, tensor in weights(chosen).items()}
        chosen, _ = student(spec, found, inputs)
        put_weights(chosen.to(device), whole_weights)
    if ranks.rank:
        return Stopped(step=loop.state.progress.step)
    spent, progress = loop.spent.told(loop.state.progress.step), loop.state.progress
    if spec.resources.teacher_sharded and ranks.world > 1:  # the others are gone, and it is measured whole
        whole_teacher = _teacher(spec, found, inputs, device, emit, should_stop)
        assert not isinstance(whole_teacher, Remote)
        teacher = whole_teacher
    return finish.trained(spec, workdir, emit, chosen, config, data, teacher, heard, loop.last_validation(), progress.felt, spent)


def help_along(spec: JobSpec, workdir: Path, inputs: Inputs) -> None:
    """Makes parts of the teacher's outputs that a run of this spec elsewhere needs, as long as there are some that nobody is making."""
    with contextlib.suppress(ElsewhereError):
        run(spec, workdir, _silent, lambda: False, inputs=replace(inputs, helping=True))


def _silent(_event: RunEvent) -> None:
    pass


def _teacher(
    spec: JobSpec, data: Data, inputs: Inputs, device: torch.device, emit: Emit, should_stop: Callable[[], bool]
) -> Teacher | Remote:
    def warn(message: str) -> None:
        emit(LogLine(level="warning", message=message))

    def one(asked: ModelRef | Ensemble | None, place: str) -> Teacher:
        found = [Teacher(inputs.models[field], inputs.kept, device, warn, spec.training.precision) for field in members(asked, place)]
        return JointTeacher(found, asked, place) if isinstance(asked, Ensemble) else found[0]

    if isinstance(spec.teacher, RemoteTeacher):
        assert inputs.server is not None, "whoever starts a run with a remote teacher brings somebody who speaks to it"
        return Remote(spec.teacher, inputs.server(spec.teacher), inputs.kept, emit, should_stop)
    if isinstance(spec.teacher, TaskTeachers):
        return TaskTeacher({name: one(asked, f"teacher.tasks.{name}") for name, asked in spec.teacher.tasks.items()}, data.shape)
    return one(spec.teacher, "teacher")


def _tell_of_cut_texts(rows: Rows, config: ModelConfig, emit: Emit) -> None:
    if isinstance(rows, Tokens) and rows.cut and config.text is not None:
        emit(
            LogLine(
                level="warning",
                message=f"{rows.cut:,} of {len(rows):,} training texts are longer than {config.text.max_length} tokens and were cut",
            )
        )


def _inputs_digest(data: Data, inputs: Inputs) -> str:
    """Hash of all rows and models the run reads; paths may come to hold others."""
    return "/".join([data.digest(), *(digest(folder) for _, folder in sorted(inputs.models.items()))])
